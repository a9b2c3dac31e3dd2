"""The local Discord behaves like the real one where the bot depends on it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.local_discord import CHANNEL, Fault, LocalDiscord, local_discord

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\2\0\0\0\3"


class Api:
    """Discord's REST API, as a bot uses it."""

    def __init__(self, discord: LocalDiscord, session: aiohttp.ClientSession) -> None:
        self.discord = discord
        self.session = session

    async def __call__(self, method: str, path: str, body: Any = None, **files: bytes) -> tuple[int, Any]:
        """The status and the JSON of the answer."""
        form: Any = None
        if files:
            form = aiohttp.FormData({"payload_json": json.dumps(body)})
            for number, (name, data) in enumerate(files.items()):
                form.add_field(f"files[{number}]", data, filename=f"{name}.png")
        sent = {"data": form} if files else {"json": body}
        async with self.session.request(method, self.discord.addresses()[0] + path, **sent) as response:
            return response.status, await response.json() if response.status != 204 else None


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with local_discord() as discord, aiohttp.ClientSession() as session:
        yield Api(discord, session)


async def test_a_post_with_a_known_nonce_gives_the_first_message(api: Api) -> None:
    posts = f"/channels/{CHANNEL}/messages"
    _, first = await api("POST", posts, {"content": "one", "nonce": "a1", "enforce_nonce": True})
    _, again = await api("POST", posts, {"content": "two", "nonce": "a1", "enforce_nonce": True})
    _, other = await api("POST", posts, {"content": "three", "nonce": "a2", "enforce_nonce": True})
    assert (first["id"], first["content"]) == (again["id"], again["content"])
    _, history = await api("GET", posts)
    assert [message["id"] for message in history] == [other["id"], first["id"]]
    _, newer = await api("GET", f"{posts}?after={first['id']}")
    assert [message["id"] for message in newer] == [other["id"]]


async def test_an_edit_keeps_the_attachments_it_names_and_a_deleted_message_is_unknown(api: Api) -> None:
    posts = f"/channels/{CHANNEL}/messages"
    numbered = [{"id": 0, "filename": "a.png"}, {"id": 1, "filename": "b.png"}]
    _, message = await api("POST", posts, {"attachments": numbered}, a=PNG, b=PNG + b"b")
    kept = message["attachments"][1]
    _, edited = await api("PATCH", f"{posts}/{message['id']}", {"attachments": [{"id": kept["id"]}]})
    assert edited["attachments"] == [kept]
    assert (kept["width"], kept["height"], kept["size"]) == (2, 3, len(PNG) + 1)
    assert api.discord.files[kept["id"]] == PNG + b"b"
    assert await api("DELETE", f"{posts}/{message['id']}") == (204, None)
    status, error = await api("PATCH", f"{posts}/{message['id']}", {"content": "late"})
    assert (status, error["code"]) == (404, 10008)


async def test_an_interaction_is_answered_once_and_its_first_words_take_a_deferral_s_place(api: Api) -> None:
    interaction = await api.discord.type("imagine", prompt="a red apple")
    hook = f"/webhooks/100/token{interaction.id}"
    callback = f"/interactions/{interaction.id}/token{interaction.id}/callback"
    status, error = await api("GET", f"{hook}/messages/@original")
    assert (status, error["code"]) == (404, 10015)
    assert await api("POST", callback, {"type": 5}) == (204, None)
    assert interaction.answer is None
    status, error = await api("POST", callback, {"type": 4, "data": {"content": "again"}})
    assert (status, error["code"]) == (400, 40060)
    await api("POST", hook, {"content": "for the person alone?", "flags": 64})
    assert interaction.answer is not None
    assert interaction.answer.public
    await api("POST", hook, {"content": "yes", "flags": 64})
    assert [message.public for message in api.discord.messages.values()] == [True, False]


@pytest.mark.parametrize("after", [False, True])
async def test_an_ordered_fault_comes_before_or_after_the_request_took_effect(api: Api, after: bool) -> None:
    posts = f"/channels/{CHANNEL}/messages"
    api.discord.faults = [Fault("^POST .*/messages$", after=after), Fault("^POST", status=503)]
    with pytest.raises(aiohttp.ClientError):
        await api("POST", posts, {"content": "one"})
    assert len(api.discord.messages) == after
    status, _ = await api("POST", posts, {"content": "two"})
    assert status == 503
    status, _ = await api("POST", posts, {"content": "three"})
    assert (status, len(api.discord.messages)) == (200, 1 + after)


async def test_words_ping_whom_they_name_unless_told_otherwise(api: Api) -> None:
    posts = f"/channels/{CHANNEL}/messages"
    words = "@everyone <@200> <@201>"
    for allowed in (None, {"parse": []}, {"parse": [], "users": [201]}):
        await api("POST", posts, {"content": words, "allowed_mentions": allowed})
    assert [message.pinged for message in api.discord.messages.values()] == [
        {"everyone", "200", "201"},
        set(),
        {"201"},
    ]
    assert [message.loose for message in api.discord.messages.values()] == [True, False, False]


async def test_a_resumed_session_brings_what_was_missed_and_a_forgotten_one_is_invalid(api: Api) -> None:
    discord, gateway = api.discord, api.discord.addresses()[1]

    async def connect(command: dict[str, Any]) -> list[tuple[Any, Any]]:
        """Connect, and return the events that come at once."""
        async with api.session.ws_connect(gateway) as socket:
            await socket.receive_json()
            await socket.send_json(command)
            await socket.send_json({"op": 1})
            heard: list[tuple[Any, Any]] = []
            while (event := await socket.receive_json())["op"] != 11:
                heard.append((event.get("t") or event["op"], event.get("s")))
        await discord.until(lambda: not discord.connected)
        return heard

    assert await connect({"op": 2}) == [("READY", 1)]
    await discord.type("queue")
    resume = {"op": 6, "d": {"session_id": "session1", "seq": 1}}
    assert await connect(resume) == [("INTERACTION_CREATE", 2), ("RESUMED", 3)]
    resume["d"] = {"session_id": "session0", "seq": 1}
    assert await connect(resume) == [(9, None)]
    assert (discord.identified, discord.resumed) == (1, 1)
