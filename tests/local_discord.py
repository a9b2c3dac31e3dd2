"""A Discord on this machine, of just the routes and gateway events that one picture needs.

simcord replaces discord.py's transport inside the process; this one is reached over real sockets, so that
`atelier run` can be started, watched and killed as the process it is.
"""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import WSMsgType, web

BOT = {"id": "100", "username": "Atelier", "discriminator": "0", "avatar": None, "bot": True}
MEMBER = {"id": "200", "username": "ada", "discriminator": "0", "avatar": None, "global_name": "Ada"}
GUILD, CHANNEL = "300", "400"
EVERYTHING = str((1 << 50) - 1)
HEARTBEAT_MS = 500

# What `atelier run` is, with Discord's two addresses replaced.
RUN = """
import sys, yarl, discord.http, discord.gateway
discord.http.Route.BASE = sys.argv.pop(1)
discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(sys.argv.pop(1))
from bot.__main__ import main
main()
"""


@dataclass
class LocalDiscord:
    """What the bot did: how often it identified, how it answered, what became of the message."""

    port: int = 0
    identified: int = 0
    heartbeats: int = 0
    messages: dict[str, dict[str, Any]] = field(default_factory=dict)
    edits: list[dict[str, Any]] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    _socket: web.WebSocketResponse | None = None
    _sequence: int = 0

    def command(self, *arguments: str) -> list[str]:
        """The command line of an Atelier that lives on this Discord."""
        rest, gateway = f"http://127.0.0.1:{self.port}/api", f"ws://127.0.0.1:{self.port}/gateway/"
        return [sys.executable, "-c", RUN, rest, gateway, *arguments]

    async def imagine(self, **options: str | int) -> str:
        """Let Ada type /imagine; returns the id of the message the bot answers with."""
        number = str(1000 + self._sequence)
        typed = [{"name": name, "type": 4 if isinstance(v, int) else 3, "value": v} for name, v in options.items()]
        await self._dispatch(
            "INTERACTION_CREATE",
            {
                "id": number,
                "application_id": BOT["id"],
                "type": 2,
                "token": f"token{number}",
                "version": 1,
                "guild_id": GUILD,
                "channel_id": CHANNEL,
                "channel": {"id": CHANNEL, "type": 0, "name": "easel", "position": 0, "permissions": EVERYTHING},
                "member": {
                    "user": MEMBER,
                    "roles": [],
                    "joined_at": _now(),
                    "permissions": "0",
                    "deaf": False,
                    "mute": False,
                    "flags": 0,
                },
                "app_permissions": EVERYTHING,
                "entitlements": [],
                "attachment_size_limit": 10 * 2**20,
                "data": {"id": "500", "name": "imagine", "type": 1, "options": typed},
            },
        )
        await self.until(lambda: f"9{number}" in self.messages)
        return f"9{number}"

    async def close_gateway(self, code: int) -> None:
        """Close the bot's connection with a code, as Discord does."""
        assert self._socket is not None
        await self._socket.close(code=code)

    async def until(self, condition: Any) -> None:
        """Wait until something the bot does makes the condition true."""
        async with asyncio.timeout(120):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    async def _gateway(self, request: web.Request) -> web.WebSocketResponse:
        self._socket = socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json({"op": 10, "d": {"heartbeat_interval": HEARTBEAT_MS}})
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                continue
            operation = json.loads(message.data)["op"]
            if operation == 1:
                self.heartbeats += 1
                await socket.send_json({"op": 11})
            elif operation == 2:
                self.identified += 1
                await self._dispatch(
                    "READY",
                    {
                        "v": 10,
                        "user": BOT,
                        "guilds": [],
                        "session_id": "s",
                        "resume_gateway_url": f"ws://127.0.0.1:{self.port}/gateway/",
                        "application": {"id": BOT["id"], "flags": 0},
                    },
                )
            self.changed.set()
        return socket

    async def _dispatch(self, name: str, payload: dict[str, Any]) -> None:
        assert self._socket is not None
        self._sequence += 1
        await self._socket.send_json({"op": 0, "t": name, "s": self._sequence, "d": payload})

    async def _callback(self, request: web.Request) -> web.Response:
        number = request.match_info["id"]
        data = (await request.json())["data"]
        message = self.messages[f"9{number}"] = _message(f"9{number}", data.get("content", ""))
        self.changed.set()
        return _json(
            {
                "interaction": {"id": number, "type": 2, "response_message_id": message["id"]},
                "resource": {"type": 4, "message": message},
            }
        )

    async def _edit(self, request: web.Request) -> web.Response:
        files = []
        if request.content_type.startswith("multipart/"):
            form = await request.post()
            payload = json.loads(str(form["payload_json"]))
            files = [part.file.read() for part in form.values() if isinstance(part, web.FileField)]
        else:
            payload = await request.json()
        self.edits.append({"message": request.match_info["message"], **payload, "files": files})
        self.changed.set()
        return _json(_message(request.match_info["message"], payload["content"]))


def _json(value: Any) -> web.Response:
    # As a body: discord.py expects the content type without a charset.
    return web.Response(body=json.dumps(value).encode(), content_type="application/json")


def _message(number: str, content: str) -> dict[str, Any]:
    lists: dict[str, list[Any]] = {
        name: [] for name in ("mentions", "mention_roles", "attachments", "embeds", "components")
    }
    return {
        "id": number,
        "channel_id": CHANNEL,
        "author": BOT,
        "content": content,
        "timestamp": _now(),
        "edited_timestamp": None,
        "tts": False,
        "mention_everyone": False,
        "pinned": False,
        "type": 0,
        **lists,
    }


def _now() -> str:
    return datetime.now(UTC).isoformat()


@asynccontextmanager
async def local_discord() -> Any:
    """Serve a Discord on a free port of the loopback interface."""
    discord = LocalDiscord()

    def always(value: Any) -> Any:
        async def answer(_: web.Request) -> web.Response:
            return _json(value)

        return answer

    async def nothing(_: web.Request) -> web.Response:
        return web.Response(status=204)

    application = {
        "id": BOT["id"],
        "name": "Atelier",
        "description": "",
        "icon": None,
        "owner": MEMBER,
        "bot_public": True,
        "bot_require_code_grant": False,
        "verify_key": "",
        "flags": 0,
    }
    app = web.Application()
    app.add_routes(
        [
            web.get("/gateway/", discord._gateway),
            web.get("/api/users/@me", always(BOT)),
            web.get("/api/oauth2/applications/@me", always(application)),
            web.put("/api/applications/{id}/commands", always([])),
            web.post("/api/interactions/{id}/{token}/callback", discord._callback),
            web.patch("/api/channels/{channel}/messages/{message}", discord._edit),
            web.put("/api/channels/{channel}/messages/{message}/reactions/{emoji}/@me", nothing),
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
