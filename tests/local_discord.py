"""A Discord on this machine: one server, its channels and people, on real sockets.

simcord replaces discord.py's transport inside the process; this one is reached over HTTP and a WebSocket, so that
`atelier run` can be started, watched and killed as a process. It keeps its state: a bot that is started again finds
every message unchanged. It behaves as docs.discord.com promises, also where that is awkward.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import re
import struct
import sys
import time
from collections.abc import Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from aiohttp import ClientConnectionError, WSMsgType, web

BOT = {"id": "100", "username": "Atelier", "discriminator": "0", "avatar": None, "bot": True}
GUILD, CHANNEL = "300", "400"
EVERYTHING = str((1 << 50) - 1)
HEARTBEAT_MS = 500
NONCE_SECONDS = 120.0
"""How long a nonce is known; the reference says "the past few minutes"."""

EPHEMERAL, LOADING = 1 << 6, 1 << 7

# What `atelier run` is, with Discord's two addresses replaced.
RUN = """
import sys, yarl, discord.http, discord.gateway
discord.http.Route.BASE = sys.argv.pop(1)
discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(sys.argv.pop(1))
import bot.queue.dispatcher
# Progress is shown also of what takes less than five seconds, because tests wait for it.
bot.queue.dispatcher.SHORT_SECONDS = 0.0
from bot.__main__ import main
main()
"""

_OPTION_TYPES = {str: 3, int: 4, bool: 5, float: 10}
_ATTACHMENT = 11
_INVALID_FORM = 50035
_EPOCH_MS = 1420070400000


class Person(NamedTuple):
    """A member, without any rights unless they are named."""

    id: str
    name: str
    permissions: str = "0"

    def payload(self) -> dict[str, Any]:
        """The user, as Discord sends it."""
        return {
            "id": self.id,
            "username": self.name.lower(),
            "discriminator": "0",
            "avatar": None,
            "global_name": self.name,
        }

    def member(self) -> dict[str, Any]:
        """The member, as Discord sends it."""
        return {
            "user": self.payload(),
            "roles": [],
            "joined_at": _now(),
            "permissions": self.permissions,
            "deaf": False,
            "mute": False,
            "flags": 0,
        }


ADA, BOB, CLEO = Person("200", "Ada"), Person("201", "Bob"), Person("202", "Cleo")
MODERATOR = Person("203", "Mod", str(1 << 5 | 1 << 13))
"""A member who may manage the server and its messages."""
DIRECT = "9"
"""The id of a channel of direct messages begins with this, and ends with the person's."""


@dataclass
class Message:
    """One message and its history."""

    id: str
    channel: str
    interaction: Interaction | None = None
    content: str = ""
    attachments: list[dict[str, Any]] = field(default_factory=list)
    components: list[Any] = field(default_factory=list)
    flags: int = 0
    reactions: set[tuple[str, str]] = field(default_factory=set)
    """The emoji, and the id of the person who added it."""
    pinged: set[str] = field(default_factory=set)
    """The people it notified: ids, or "everyone"."""
    loose: bool = False
    """Whether it was ever sent without a limit on the people it may ping."""
    deleted: bool = False
    edited: bool = False

    @property
    def public(self) -> bool:
        """Whether it is public."""
        return not self.deleted and not self.flags & EPHEMERAL

    def buttons(self) -> list[str]:
        """The custom ids of its buttons."""
        return [button["custom_id"] for row in self.components for button in row["components"]]

    def cancels(self) -> list[str]:
        """The custom ids of its Cancel buttons; a request that has ended has none."""
        return [custom_id for custom_id in self.buttons() if custom_id.split(":")[1:2] == ["cancel"]]

    def reacted(self) -> list[dict[str, Any]]:
        """Its reactions, as Discord sends them with the message."""
        return [
            {
                "emoji": {"id": None, "name": emoji},
                "count": sum(each == emoji for each, _ in self.reactions),
                "count_details": {"burst": 0, "normal": 0},
                "me": (emoji, BOT["id"]) in self.reactions,
                "me_burst": False,
                "burst_colors": [],
            }
            for emoji in sorted({emoji for emoji, _ in self.reactions})
        ]

    def payload(self) -> dict[str, Any]:
        """The message, as Discord sends it."""
        asked = {}
        if self.interaction is not None:
            asked["interaction_metadata"] = {
                "id": self.interaction.id,
                "type": self.interaction.type,
                "user": self.interaction.person.payload(),
                "authorizing_integration_owners": {"0": GUILD},
            }
        return {
            "id": self.id,
            "channel_id": self.channel,
            "author": BOT,
            "content": self.content,
            "timestamp": _now(self.id),
            "edited_timestamp": _now() if self.edited else None,
            "tts": False,
            "mention_everyone": "everyone" in self.pinged,
            "mentions": [],
            "mention_roles": [],
            "attachments": self.attachments,
            "embeds": [],
            "components": self.components,
            "flags": self.flags,
            "pinned": False,
            "type": 0,
            "reactions": self.reacted(),
            **asked,
        }


@dataclass
class Interaction:
    """What a person did, and how the bot answered."""

    id: str
    type: int
    person: Person
    channel: str
    event: dict[str, Any]
    life: int
    """How many times the bot had identified when it was told."""
    deferred: bool = False
    response: Message | None = None
    followups: list[Message] = field(default_factory=list)

    @property
    def answer(self) -> Message | None:
        """The bot's first answer with text; a deferral does not count."""
        return None if self.response is None or self.response.flags & LOADING else self.response


@dataclass
class Fault:
    """An error to give to the next requests whose `METHOD /path` matches; status 0 closes the connection."""

    route: str
    status: int = 0
    code: int = 0
    after: bool = False
    """Whether the request takes effect before the error."""
    times: int = 1
    retry_after: float = 0.1
    """The seconds to wait that a 429 names."""
    everywhere: bool = False
    """Whether a 429 is about all routes."""
    page: str = ""
    """A page of a server in front of Discord, given instead of JSON."""


class Request(NamedTuple):
    """One request to the REST API, when it came and how it was answered; status 0 is a closed connection."""

    at: float
    route: str
    status: int


class _Refused(Exception):  # noqa: N818
    """Discord's answer to an invalid request."""

    def __init__(self, status: int, code: int, words: str) -> None:
        super().__init__(words)
        self.response = _json({"code": code, "message": words}, status)


@dataclass
class LocalDiscord:
    """One server, and what the bot did there."""

    port: int = 0
    identified: int = 0
    resumed: int = 0
    overlap: int = 0
    """How many events a RESUME brings that the bot has seen already."""
    lose: tuple[int, bool] | None = None
    """Which request since the bot came loses its reply, from 1, and whether it takes effect before."""
    asked: int = 0
    """How many requests came since then."""
    lost: str = ""
    """The request that lost its reply."""
    lagging: bool = False
    """Whether a channel's history does not show new posts yet."""
    heartbeats: int = 0
    requests: list[Request] = field(default_factory=list)
    messages: dict[str, Message] = field(default_factory=dict)
    """Every message, including deleted ones, by its id, in order."""
    interactions: dict[str, Interaction] = field(default_factory=dict)
    edits: list[dict[str, Any]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    """All attachments, by their ids."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    _socket: web.WebSocketResponse | None = None
    _connection: asyncio.Transport | None = None
    _session: str = ""
    _events: list[dict[str, Any]] = field(default_factory=list)
    """Every event of the session, whether it was sent or not."""
    _numbers: Any = field(default_factory=itertools.count)
    _nonces: dict[tuple[str, str], tuple[float, Message]] = field(default_factory=dict)

    def addresses(self) -> tuple[str, str]:
        """The addresses of the REST API and the gateway."""
        return f"http://127.0.0.1:{self.port}/api", f"ws://127.0.0.1:{self.port}/gateway/"

    def command(self, *arguments: str) -> list[str]:
        """The command line of an Atelier that uses this Discord."""
        return [sys.executable, "-c", RUN, *self.addresses(), *arguments]

    async def imagine(self, **options: Any) -> str:
        """Let Ada type /imagine; returns the id of the message the bot answers with."""
        interaction = await self.type("imagine", **options)
        await self.until(lambda: interaction.answer is not None)
        assert interaction.answer is not None
        return interaction.answer.id

    async def type(self, name: str, person: Person = ADA, channel: str = CHANNEL, **options: Any) -> Interaction:
        """Let a person use a slash command or a subcommand; options that are bytes are attached as PNGs."""
        attachments: dict[str, Any] = {}
        typed = []
        for option, value in options.items():
            if isinstance(value, bytes):
                attached = self._attach(f"{option}.png", value)
                attachments[attached["id"]] = attached
                typed.append({"name": option, "type": _ATTACHMENT, "value": attached["id"]})
            else:
                typed.append({"name": option, "type": _OPTION_TYPES[type(value)], "value": value})
        name, _, subcommand = name.partition(" ")
        if subcommand:
            typed = [{"name": subcommand, "type": 1, "options": typed}]
        data = {"id": "500", "name": name, "type": 1, "options": typed, "resolved": {"attachments": attachments}}
        return await self._interact(2, person, channel, {"data": data})

    async def press(self, message: Message, custom_id: str, person: Person = ADA) -> Interaction:
        """Let a person press a button; one that is not there is forged."""
        data = {"component_type": 2, "custom_id": custom_id}
        payload = message.payload()
        if custom_id not in message.buttons():
            forged = {"type": 2, "style": 2, "label": "?", "custom_id": custom_id}
            payload["components"] = [{"type": 1, "components": [forged]}]
        return await self._interact(3, person, message.channel, {"data": data, "message": payload})

    async def submit(self, custom_id: str, person: Person = ADA, channel: str = CHANNEL, **texts: str) -> Interaction:
        """Let a person send a form with texts in its fields."""
        fields = [
            {"type": 18, "component": {"type": 4, "custom_id": name, "value": text}} for name, text in texts.items()
        ]
        return await self._interact(5, person, channel, {"data": {"custom_id": custom_id, "components": fields}})

    async def repeat(self, interaction: Interaction) -> None:
        """Send the event of an interaction once more, as Discord may after a RESUME."""
        await self._dispatch("INTERACTION_CREATE", interaction.event)

    async def react(self, message: Message, emoji: str, person: Person = ADA) -> bool:
        """Let a person react; returns whether the bot was told."""
        message.reactions.add((emoji, person.id))
        return await self._dispatch("MESSAGE_REACTION_ADD", _reaction(message, emoji, person))

    async def take_back(self, message: Message, emoji: str, person: Person = ADA) -> bool:
        """Let a person take a reaction back; returns whether the bot was told."""
        message.reactions.discard((emoji, person.id))
        return await self._dispatch("MESSAGE_REACTION_REMOVE", _reaction(message, emoji, person))

    def public(self) -> list[Message]:
        """The public messages, oldest first."""
        return [message for message in self.messages.values() if message.public]

    @property
    def connected(self) -> bool:
        """Whether a bot is connected."""
        return self._socket is not None

    async def close_gateway(self, code: int) -> None:
        """Close the bot's connection with a code, as Discord does."""
        assert self._socket is not None
        await self._socket.close(code=code)

    async def drop_gateway(self, *, forget: bool = False) -> None:
        """Let the bot's connection break; told to forget, Discord will not resume its session."""
        assert self._connection is not None
        if forget:
            self._session = ""
        self._connection.abort()
        await self.until(lambda: not self.connected)

    async def until(self, condition: Callable[[], Any], seconds: float = 120.0) -> None:
        """Wait until an action of the bot makes the condition true."""
        async with asyncio.timeout(seconds):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    async def _interact(self, type_: int, person: Person, channel: str, particulars: dict[str, Any]) -> Interaction:
        number = self._snowflake()
        event = {
            "id": number,
            "application_id": BOT["id"],
            "type": type_,
            "token": f"token{number}",
            "version": 1,
            "guild_id": GUILD,
            "channel_id": channel,
            "channel": {"id": channel, "type": 0, "name": "easel", "position": 0, "permissions": EVERYTHING},
            "member": person.member(),
            "app_permissions": EVERYTHING,
            "entitlements": [],
            "attachment_size_limit": 10 * 2**20,
            **particulars,
        }
        interaction = Interaction(number, type_, person, channel, event, self.identified)
        self.interactions[number] = interaction
        await self._dispatch("INTERACTION_CREATE", event)
        return interaction

    def _snowflake(self) -> str:
        return str(((time.time_ns() // 10**6 - _EPOCH_MS) << 22) + next(self._numbers) % 2**22)

    async def _gateway(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json({"op": 10, "d": {"heartbeat_interval": HEARTBEAT_MS}})
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                continue
            command = json.loads(message.data)
            if command["op"] == 1:
                self.heartbeats += 1
                await socket.send_json({"op": 11})
            elif command["op"] == 2:
                self.identified += 1
                self._socket, self._connection = socket, request.transport
                self._session, self._events = f"session{self.identified}", []
                await self._dispatch(
                    "READY",
                    {
                        "v": 10,
                        "user": BOT,
                        "guilds": [],
                        "session_id": self._session,
                        "resume_gateway_url": self.addresses()[1],
                        "application": {"id": BOT["id"], "flags": 0},
                    },
                )
            elif command["op"] == 6:
                if command["d"]["session_id"] != self._session:
                    await socket.send_json({"op": 9, "d": False})
                    continue
                for event in self._events[max(1, command["d"]["seq"] - self.overlap) :]:
                    await socket.send_json(event)
                self.resumed += 1
                self._socket, self._connection = socket, request.transport
                await self._dispatch("RESUMED", {})
            self.changed.set()
        if self._socket is socket:
            self._socket = None
        self.changed.set()
        return socket

    async def _dispatch(self, name: str, payload: dict[str, Any]) -> bool:
        """Tell the bot of an event; returns False when no bot is connected, and then only a RESUME brings the event."""
        event = {"op": 0, "t": name, "s": len(self._events) + 1, "d": payload}
        self._events.append(event)
        if self._socket is None:
            return False
        try:
            await self._socket.send_json(event)
        except (ConnectionError, ClientConnectionError):
            return False
        return True

    @web.middleware
    async def _answer(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """Answer a request, or give it the error that was ordered."""
        route = f"{request.method} {request.path}"
        at = time.monotonic()
        fault = next((fault for fault in self.faults if fault.times and re.search(fault.route, route)), None)
        if self.identified and request.path.startswith("/api/"):
            self.asked += 1
            if self.lose is not None and self.lose[0] == self.asked:
                fault = Fault(route, after=self.lose[1])
                self.lost = route
        if fault is not None:
            fault.times -= 1
        try:
            if fault is None or fault.after:
                response = await handler(request)
        except _Refused as refused:
            response = refused.response
        finally:
            self.changed.set()
        if fault is not None:
            response = await _fault(fault, request)
        self.requests.append(Request(at, route, response.status if fault is None else fault.status))
        if fault is not None and not fault.status:
            assert request.transport is not None
            request.transport.abort()
        return response

    async def _callback(self, request: web.Request) -> web.Response:
        interaction = self._of_token(request)
        body, files = await _body(request)
        if interaction.response is not None or interaction.deferred:
            raise _Refused(400, 40060, "Interaction has already been acknowledged.")
        kind, data = body["type"], body.get("data") or {}
        if kind in (4, 5):
            interaction.deferred = kind == 5
            interaction.response = self._create(interaction.channel, data, files, interaction)
            interaction.response.flags |= LOADING if kind == 5 else 0
        elif kind == 6:
            interaction.deferred = True
        elif kind == 7:
            interaction.response = self.messages[interaction.event["message"]["id"]]
            self._change(interaction.response, data, files)
        else:
            raise _Refused(400, 50035, f"This Discord knows no answers of type {kind}.")
        if request.query.get("with_response") not in ("1", "true"):
            return web.Response(status=204)
        known: dict[str, Any] = {"id": interaction.id, "type": interaction.type}
        message = interaction.response
        if message is None:
            return _json({"interaction": known})
        known["response_message_id"] = message.id
        return _json({"interaction": known, "resource": {"type": kind, "message": message.payload()}})

    async def _follow_up(self, request: web.Request) -> web.Response:
        interaction = self._of_token(request)
        body, files = await _body(request)
        if interaction.response is None and not interaction.deferred:
            raise _Refused(404, 10015, "Unknown Webhook")
        if interaction.response is not None and interaction.response.flags & LOADING:
            # The first words after a deferral become the answer, as public as it.
            self._change(interaction.response, {**body, "flags": 0}, files)
            return _json(interaction.response.payload())
        if interaction.response is not None and interaction.response.deleted:
            raise _Refused(404, 10008, "Unknown Message")
        message = self._create(interaction.channel, body, files, interaction)
        interaction.followups.append(message)
        return _json(message.payload())

    async def _original(self, request: web.Request) -> web.Response:
        interaction = self._of_token(request)
        message = interaction.response
        if message is None:
            raise _Refused(404, 10015, "Unknown Webhook")
        if message.deleted:
            raise _Refused(404, 10008, "Unknown Message")
        if request.method == "DELETE":
            message.deleted = True
            return web.Response(status=204)
        if request.method == "PATCH":
            self._change(message, *await _body(request))
        return _json(message.payload())

    async def _messages(self, request: web.Request) -> web.Response:
        channel = request.match_info["channel"]
        if request.method == "GET":
            before = int(request.query.get("before", 2**63))
            after = int(request.query.get("after", 0))
            shown = [] if self.lagging else self.public()
            found = [m for m in shown if m.channel == channel and after < int(m.id) < before]
            # Newest first; if `after` is given, those next to it.
            limit = int(request.query.get("limit", 50))
            chosen = found[:limit] if after else found[-limit:]
            return _json([message.payload() for message in reversed(chosen)])
        body, files = await _body(request)
        known = (channel, str(body.get("nonce")))
        if body.get("enforce_nonce") and known in self._nonces:
            at, message = self._nonces[known]
            if time.monotonic() - at < NONCE_SECONDS:
                return _json({**message.payload(), "nonce": body["nonce"]})
        message = self._create(channel, body, files)
        if body.get("nonce") is not None:
            self._nonces[known] = (time.monotonic(), message)
        return _json({**message.payload(), "nonce": body.get("nonce")})

    async def _message(self, request: web.Request) -> web.Response:
        message = self._found(request)
        if request.method == "DELETE":
            message.deleted = True
            return web.Response(status=204)
        if request.method == "PATCH":
            body, files = await _body(request)
            self._change(message, body, files)
            self.edits.append({"message": message.id, **body, "files": list(files.values())})
        return _json(message.payload())

    async def _reacted(self, request: web.Request) -> web.Response:
        """The people who reacted with an emoji."""
        emoji = request.match_info["emoji"]
        people = [person for each, person in sorted(self._found(request).reactions) if each == emoji]
        known = {person.id: person.payload() for person in (ADA, BOB, CLEO)} | {BOT["id"]: BOT}
        return _json([known[person] for person in people])

    async def _open_direct(self, request: web.Request) -> web.Response:
        body, _ = await _body(request)
        person = next(each for each in (ADA, BOB, CLEO) if each.id == str(body["recipient_id"]))
        return _json({"id": DIRECT + person.id, "type": 1, "recipients": [person.payload()]})

    async def _react(self, request: web.Request) -> web.Response:
        self._found(request).reactions.add((request.match_info["emoji"], BOT["id"]))
        return web.Response(status=204)

    async def _file(self, request: web.Request) -> web.Response:
        return web.Response(body=self.files[request.match_info["id"]])

    def _of_token(self, request: web.Request) -> Interaction:
        token = request.match_info["token"]
        interaction = self.interactions.get(token.removeprefix("token"))
        if interaction is None:
            raise _Refused(404, 10062, "Unknown interaction")
        return interaction

    def _found(self, request: web.Request) -> Message:
        message = self.messages.get(request.match_info["message"])
        if message is None or not message.public or message.channel != request.match_info["channel"]:
            raise _Refused(404, 10008, "Unknown Message")
        return message

    def _create(
        self, channel: str, body: dict[str, Any], files: dict[int, bytes], interaction: Interaction | None = None
    ) -> Message:
        message = Message(self._snowflake(), channel, interaction, flags=body.get("flags") or 0)
        self.messages[message.id] = message
        self._write(message, body, files)
        return message

    def _change(self, message: Message, body: dict[str, Any], files: dict[int, bytes]) -> None:
        message.flags &= ~LOADING
        message.edited = True
        self._write(message, body, files)

    def _write(self, message: Message, body: dict[str, Any], files: dict[int, bytes]) -> None:
        if "content" in body:
            message.content = body["content"] or ""
            message.pinged |= _pinged(message.content, allowed := body.get("allowed_mentions"))
            message.loose |= bool(message.content) and (allowed is None or bool(allowed.get("parse")))
        if "components" in body:
            message.components = body["components"] or []
        # A list of attachments replaces the old one: those named by their ids stay, numbered ones are new.
        if "attachments" in body:
            kept = {attachment["id"]: attachment for attachment in message.attachments}
            message.attachments = [
                self._attach(entry["filename"], files[int(entry["id"])])
                if int(entry["id"]) in files
                else kept[str(entry["id"])]
                for entry in body["attachments"] or []
            ]

    def _attach(self, name: str, data: bytes) -> dict[str, Any]:
        number = self._snowflake()
        self.files[number] = data
        url = f"http://127.0.0.1:{self.port}/files/{number}/{name}"
        described = {
            "id": number,
            "filename": name,
            "size": len(data),
            "url": url,
            "proxy_url": url,
            "sha256": hashlib.sha256(data).hexdigest(),
        }
        if data[12:16] == b"IHDR":
            width, height = struct.unpack(">II", data[16:24])
            described |= {"content_type": "image/png", "width": width, "height": height}
        return described


async def _fault(fault: Fault, request: web.Request) -> web.Response:
    """The answer that was ordered; when Discord does not understand a form, it quotes the form."""
    error: dict[str, Any] = {"code": fault.code, "message": "as ordered"}
    if fault.code == _INVALID_FORM and not fault.after:
        body, _ = await _body(request)
        content = body.get("data", body).get("content")
        error["errors"] = {"content": {"_errors": [{"code": "BASE_TYPE_BAD", "message": f"What is {content!r}?"}]}}
    if fault.status == 429:
        error |= {"retry_after": fault.retry_after, "global": fault.everywhere}
    if fault.page:
        return web.Response(text=fault.page, content_type="text/html", status=fault.status)
    response = _json(error, fault.status or 503)
    # Without this header discord.py takes a 429 for Cloudflare's.
    response.headers["Via"] = "1.1 local"
    return response


async def _body(request: web.Request) -> tuple[dict[str, Any], dict[int, bytes]]:
    """The JSON of a request, and the files that came with it by their number."""
    if not request.content_type.startswith("multipart/"):
        return await request.json(), {}
    form = await request.post()
    files = {
        int(name.removeprefix("files[").removesuffix("]")): part.file.read()
        for name, part in form.items()
        if isinstance(part, web.FileField)
    }
    return json.loads(str(form["payload_json"])), files


def _pinged(content: str, allowed: dict[str, Any] | None) -> set[str]:
    """The people that a text notifies: without `allowed_mentions`, everyone it names."""
    everything = {"parse": ["users", "everyone"]}
    allowed = everything if allowed is None else allowed
    named = set(re.findall(r"<@!?(\d+)>", content))
    people = named if "users" in allowed.get("parse", ()) else named & set(map(str, allowed.get("users", ())))
    crowd = "everyone" in allowed.get("parse", ()) and re.search(r"@(everyone|here)\b", content)
    return people | ({"everyone"} if crowd else set())


def _reaction(message: Message, emoji: str, person: Person) -> dict[str, Any]:
    return {
        "user_id": person.id,
        "channel_id": message.channel,
        "message_id": message.id,
        "guild_id": GUILD,
        "emoji": {"id": None, "name": emoji},
        "member": person.member(),
        "burst": False,
        "type": 0,
    }


def _json(value: Any, status: int = 200) -> web.Response:
    # Sent as a body, because discord.py expects the content type without a charset.
    return web.Response(body=json.dumps(value).encode(), content_type="application/json", status=status)


def _now(snowflake: str | None = None) -> str:
    """The time, or the one that a snowflake tells."""
    if snowflake is None:
        return datetime.now(UTC).isoformat()
    return datetime.fromtimestamp(((int(snowflake) >> 22) + _EPOCH_MS) / 1000, UTC).isoformat()


@asynccontextmanager
async def local_discord() -> Any:
    """Serve a Discord on a free port of the loopback interface."""
    discord = LocalDiscord()

    def always(value: Any) -> Any:
        async def answer(_: web.Request) -> web.Response:
            return _json(value)

        return answer

    application = {
        "id": BOT["id"],
        "name": "Atelier",
        "description": "",
        "icon": None,
        "owner": ADA.payload(),
        "bot_public": True,
        "bot_require_code_grant": False,
        "verify_key": "",
        "flags": 0,
    }
    message = "/api/channels/{channel}/messages/{message}"
    app = web.Application(middlewares=[discord._answer], client_max_size=25 * 2**20)
    app.add_routes(
        [
            web.get("/gateway/", discord._gateway),
            web.get("/api/users/@me", always(BOT)),
            web.post("/api/users/@me/channels", discord._open_direct),
            web.get("/api/oauth2/applications/@me", always(application)),
            web.put("/api/applications/{id}/commands", always([])),
            web.post("/api/interactions/{id}/{token}/callback", discord._callback),
            web.post("/api/webhooks/{id}/{token}", discord._follow_up),
            *(
                web.route(method, "/api/webhooks/{id}/{token}/messages/@original", discord._original)
                for method in ("GET", "PATCH", "DELETE")
            ),
            web.get("/api/channels/{channel}/messages", discord._messages),
            web.post("/api/channels/{channel}/messages", discord._messages),
            *(web.route(method, message, discord._message) for method in ("GET", "PATCH", "DELETE")),
            web.put(message + "/reactions/{emoji}/@me", discord._react),
            web.get(message + "/reactions/{emoji}", discord._reacted),
            web.get("/files/{id}/{name}", discord._file),
        ]
    )
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    discord.port = runner.addresses[0][1]
    try:
        yield discord
    finally:
        await runner.cleanup()
