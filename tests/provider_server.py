"""A server that speaks the OpenAI Images API, made from the published shapes, for tests on real sockets.

Without more it paints flat pictures. `script` holds what it does instead with the next requests, one after the other.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import MultipartReader, web
from PIL import Image

KEY = "sk-test-0123456789"

USAGE = {
    "input_tokens": 50,
    "input_tokens_details": {"text_tokens": 40, "image_tokens": 10},
    "output_tokens": 1000,
    "output_tokens_details": {"image_tokens": 1000, "text_tokens": 0},
    "total_tokens": 1050,
}
"""Of gpt-image-2: 40 · $5 + 10 · $8 + 1000 · $30, by a million, is $0.03028."""
COST = 30_280
"""The same in micro-dollars."""


@dataclass
class Asked:
    """One request: its path, its headers, its fields and its files by their names, in order."""

    path: str
    headers: dict[str, str]
    fields: dict[str, Any]
    files: list[tuple[str, bytes]] = field(default_factory=list)


Step = Callable[["ProviderServer", web.Request, Asked], Awaitable[web.StreamResponse]]


class ProviderServer:
    """What was asked, and what is done about it."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.fetched: list[dict[str, str]] = []
        """The headers of those who fetched a picture from an address."""
        self.script: list[Step] = []
        self.usage: dict[str, Any] | None = USAGE
        self.open = asyncio.Event()
        """Clear it to hold every answer."""
        self.open.set()
        self.base_url = ""
        self.files: dict[str, bytes] = {}
        self.moved: dict[str, str] = {}
        """Where else the pictures at some addresses are."""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        asked = await _read(request)
        self.asked.append(asked)
        if self.script:
            return await self.script.pop(0)(self, request, asked)
        await self.open.wait()
        return await paint(self, request, asked)

    async def file(self, request: web.Request) -> web.Response:
        """A picture at an address."""
        self.fetched.append(dict(request.headers))
        if where := self.moved.get(request.match_info["name"]):
            raise web.HTTPFound(where)
        return web.Response(body=self.files[request.match_info["name"]], content_type="image/png")


async def _read(request: web.Request) -> Asked:
    headers = dict(request.headers)
    if request.content_type == "application/json":
        return Asked(request.path, headers, await request.json())
    asked = Asked(request.path, headers, {})
    reader = await request.multipart()
    assert isinstance(reader, MultipartReader)
    async for part in reader:
        data = bytes(await part.read())
        if part.filename:
            asked.files.append((part.name, data))
        else:
            asked.fields[part.name] = data.decode()
    return asked


def png(colour: str = "teal", size: tuple[int, int] = (1024, 1024), kind: str = "PNG") -> bytes:
    """A flat picture."""
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, kind)
    return buffer.getvalue()


def size_of(asked: Asked) -> tuple[int, int]:
    """The size that was asked for."""
    width, height = asked.fields["size"].split("x")
    return int(width), int(height)


async def paint(server: ProviderServer, request: web.Request, asked: Asked) -> web.StreamResponse:
    """Flat pictures as JSON, or as a stream with partial images if that is asked for."""
    pictures = [png(size=size_of(asked)) for _ in range(int(asked.fields.get("n", 1)))]
    if asked.fields.get("stream") in (True, "true"):
        return await stream(pictures[0])(server, request, asked)
    return answer(server, [{"b64_json": base64.b64encode(data).decode()} for data in pictures])


def answer(server: ProviderServer, data: Any, **more: Any) -> web.Response:
    """An answer in JSON."""
    found: dict[str, Any] = {"created": 1764000000, "data": data, **more}
    if server.usage is not None:
        found["usage"] = server.usage
    return web.json_response(found)


def stream(picture: bytes, *, ends: bool = True, error: dict[str, Any] | None = None, partials: int = 0) -> Step:
    """Server-sent events: partial images, and the finished one unless the stream breaks or ends in an error."""

    async def step(server: ProviderServer, request: web.Request, asked: Asked) -> web.StreamResponse:
        kind = "image_edit" if asked.path.endswith("edits") else "image_generation"
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)

        async def send(event: dict[str, Any]) -> None:
            await response.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())

        shown = {"b64_json": base64.b64encode(picture).decode(), "output_format": "png", "quality": "medium"}
        for number in range(partials or int(asked.fields.get("partial_images", 0))):
            await send({"type": f"{kind}.partial_image", "partial_image_index": number, **shown})
            await server.open.wait()
        if error is not None:
            await send({"type": "error", "error": error})
        elif ends:
            await send({"type": f"{kind}.completed", "usage": server.usage, **shown})
        return response

    return step


def says(*data: Any, **more: Any) -> Step:
    """Answer with these entries of `data`."""

    async def step(server: ProviderServer, request: web.Request, asked: Asked) -> web.StreamResponse:
        return answer(server, list(data), **more)

    return step


def packed(*data: Any) -> Step:
    """Answer with these entries, packed, whatever the client takes."""

    async def step(server: ProviderServer, request: web.Request, asked: Asked) -> web.StreamResponse:
        response = answer(server, list(data))
        response.enable_compression(web.ContentCoding.gzip)
        return response

    return step


def body(text: str | bytes, content_type: str = "application/json", status: int = 200) -> Step:
    """Answer with any bytes."""

    async def step(server: ProviderServer, request: web.Request, asked: Asked) -> web.StreamResponse:
        data = text.encode() if isinstance(text, str) else text
        return web.Response(body=data, content_type=content_type, status=status)

    return step


def fails(
    status: int, code: str | int, *, kind: str = "invalid_request_error", headers: dict[str, str] | None = None
) -> Step:
    """An error as OpenAI words it, or as vLLM, whose codes are numbers; its message repeats the prompt."""

    async def step(server: ProviderServer, request: web.Request, asked: Asked) -> web.StreamResponse:
        error = {"message": f"No: {asked.fields.get('prompt')}", "type": kind, "param": None, "code": code}
        return web.json_response({"error": error}, status=status, headers=headers)

    return step


async def breaks(server: ProviderServer, request: web.Request, asked: Asked) -> web.StreamResponse:
    """Close the connection without an answer."""
    assert request.transport is not None
    request.transport.close()
    return web.Response()


async def never(server: ProviderServer, request: web.Request, asked: Asked) -> web.StreamResponse:
    """Take longer than anybody waits."""
    await asyncio.sleep(600)
    return web.Response()


def at_address(name: str, data: bytes) -> Step:
    """Answer with the address of a picture at the server itself."""

    async def step(server: ProviderServer, request: web.Request, asked: Asked) -> web.StreamResponse:
        server.files[name] = data
        return answer(server, [{"url": f"{server.base_url.removesuffix('/v1')}/files/{name}"}])

    return step


@asynccontextmanager
async def provider_server() -> AsyncIterator[ProviderServer]:
    """A server on a free port of the loopback interface."""
    server = ProviderServer()
    app = web.Application(client_max_size=2**27)
    app.router.add_post("/v1/images/generations", server.handle)
    app.router.add_post("/v1/images/edits", server.handle)
    app.router.add_get("/files/{name}", server.file)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    server.base_url = f"http://{host}:{port}/v1"
    try:
        yield server
    finally:
        await runner.cleanup()
