"""Serves the try page on the loopback interface; its address holds a secret, without which nothing is shown."""

from __future__ import annotations

import errno
import hmac
import json
import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from bot.errors import ConfigError, UserError
from bot.picture_files import is_picture
from bot.try_page.actions import Actions
from bot.try_page.feed import Feed
from bot.try_page.place import Place, Seat
from bot.try_page.showing import CDN, Showing

log = logging.getLogger(__name__)

_PAGE = Path(__file__).parent / "page"
_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
_MOST_BYTES = 40 * 2**20
"""Of one action with its files; Discord takes 10 MB a file."""
_CLOSING_SECONDS = 0.2
_WHY_NOT = {errno.EADDRINUSE: "another program uses it", errno.EACCES: "this account may not use it"}

_HEADERS = {
    # No script but the page's own files, and nothing from elsewhere: whatever a message holds, it stays words.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_FILE_HEADERS = {**_HEADERS, "Content-Security-Policy": "default-src 'none'; sandbox", "Cache-Control": "max-age=86400"}


class TryPage:
    """The pages' files, what they are told, and what they ask for."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._actions = Actions(place)
        self._showing = Showing(place)
        self._secret = secrets.token_urlsafe(24)
        self._files = {
            path.name: (path.read_bytes(), _TYPES[path.suffix]) for path in _PAGE.iterdir() if path.suffix in _TYPES
        }
        self._hosts: set[str] = set()

    @asynccontextmanager
    async def serving(self, port: int) -> AsyncIterator[str]:
        """Serve at a port, 0 for a free one, while the body runs; gives the page's address.

        Raises ConfigError when the port cannot be used.
        """
        application = web.Application(middlewares=[self._guard], client_max_size=_MOST_BYTES)
        at = "/{secret}/"
        application.add_routes(
            [
                web.get(at, self._file),
                web.get(at + "feed", self._feed),
                web.post(at + "act", self._act),
                web.get(at + "files/{path:.+}", self._attachment),
                web.get(at + "{name}", self._file),
            ]
        )
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=_CLOSING_SECONDS)
        await runner.setup()
        try:
            try:
                await web.TCPSite(runner, "127.0.0.1", port).start()
            except OSError as error:
                why = _WHY_NOT.get(error.errno or 0, str(error.strerror))
                raise ConfigError(
                    f"The page cannot be served at port {port}: {why}. Give another one with --port, or leave it out "
                    "to take a free one."
                ) from error
            port = runner.addresses[0][1]
            self._hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
            yield f"http://127.0.0.1:{port}/{self._secret}/"
        finally:
            await runner.cleanup()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """Answer only who knows the secret, and only under the page's own name: a stranger's page has another one."""
        known = request.match_info.get("secret", "")
        if request.host not in self._hosts or not hmac.compare_digest(known.encode(), self._secret.encode()):
            text = "This is not the address of the page. Take the one that `atelier try` printed.\n"
            return web.Response(status=404, text=text, headers=_HEADERS)
        response: web.StreamResponse = await handler(request)
        return response

    async def _file(self, request: web.Request) -> web.Response:
        name = request.match_info.get("name", "index.html")
        if name not in self._files:
            raise web.HTTPNotFound(text="There is no such page.\n")
        body, content_type = self._files[name]
        return web.Response(body=body, content_type=content_type, charset="utf-8", headers=_HEADERS)

    async def _attachment(self, request: web.Request) -> web.Response:
        """A file of a message; what is no picture is only ever downloaded."""
        data = self._place.env.backend.cdn.get(CDN + request.match_info["path"])
        if data is None:
            raise web.HTTPNotFound(text="That file is gone.\n")
        if is_picture(data):
            kind = "image/png" if data.startswith(b"\x89PNG") else "image/webp" if data[:4] == b"RIFF" else "image/jpeg"
            return web.Response(body=data, content_type=kind, headers=_FILE_HEADERS)
        headers = {**_FILE_HEADERS, "Content-Disposition": "attachment"}
        return web.Response(body=data, content_type="application/octet-stream", headers=headers)

    async def _feed(self, request: web.Request) -> web.StreamResponse:
        seat, channel = self._where(request.query.get("as"), request.query.get("in"))
        channel = channel or self._place.main
        response = web.StreamResponse(headers={**_HEADERS, "Content-Type": "text/event-stream"})
        await response.prepare(request)
        try:
            async for news in Feed(self._place, self._showing, seat, channel).news():
                said = ": \n\n" if news is None else f"data: {json.dumps(news, separators=(',', ':'))}\n\n"
                await response.write(said.encode())
        except ConnectionError:
            log.debug("a page was closed")
        return response

    async def _act(self, request: web.Request) -> web.Response:
        form = await request.post()
        files: dict[str, list[tuple[str, bytes]]] = {}
        for name, part in form.items():
            if isinstance(part, web.FileField):
                files.setdefault(name, []).append((part.filename, part.file.read()))
        try:
            asked = json.loads(str(form.get("asked")))
        except ValueError:
            asked = None
        if not isinstance(asked, dict):
            raise web.HTTPBadRequest(text="An action is a JSON object in the field `asked`.\n")
        try:
            seat, channel = self._where(asked.get("as"), asked.get("in"))
            if channel is None:
                raise UserError("You are not in that channel any more. Reload the page.")
            answer = await self._actions.act(seat, channel, asked, files)
        except UserError as error:
            answer = {"error": str(error)}
        return web.json_response(answer, headers=_HEADERS)

    def _where(self, key: str | None, channel_id: str | None) -> tuple[Seat, Any | None]:
        """Who looks or acts, and in which channel, None if that is not one of theirs.

        Who names no person is the first one, and who names no channel is in the main one.
        """
        seats = self._place.seats
        seat = seats.get(str(key)) or next(iter(seats.values()))
        if not channel_id:
            return seat, self._place.main
        known = str(channel_id)
        return seat, self._place.find_channel(seat, int(known)) if known.isascii() and known.isdecimal() else None
