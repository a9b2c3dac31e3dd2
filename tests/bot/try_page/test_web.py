"""How the page is served: to its own browser alone, and without anything that a message could run."""

from __future__ import annotations

import re
import socket
from urllib.parse import urlsplit

import pytest
from yarl import URL

from bot.config import Config
from bot.engine.fake import FakeEngine
from bot.errors import ConfigError
from bot.sandbox import run_sandbox
from tests.bot.try_page.conftest import Page


async def test_only_one_who_knows_the_address_sees_anything(page: Page) -> None:
    parts = urlsplit(page.address)
    assert parts.hostname == "127.0.0.1"
    for path in ("/", "/feed", "/wrong/", "/wrong/feed", "/wrong/main.js"):
        async with page.session.get(f"http://{parts.netloc}{path}") as response:
            assert response.status == 404
            assert "Atelier" not in await response.text()
    async with page.session.post(f"http://{parts.netloc}/wrong/act", data={"asked": "{}"}) as response:
        assert response.status == 404


async def test_a_page_of_a_stranger_cannot_pretend_to_be_this_one(page: Page) -> None:
    async with page.session.get(page.address, headers={"Host": "evil.example"}) as response:
        assert response.status == 404


async def test_nothing_runs_but_the_pages_own_files(page: Page) -> None:
    async with page.session.get(page.address) as response:
        policy = response.headers["Content-Security-Policy"]
        html = await response.text()
        assert response.headers["Referrer-Policy"] == "no-referrer"
    assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
    assert "unsafe" not in policy
    assert "<title>Atelier</title>" in html
    assert re.search(r"<script>|style=|\son[a-z]+=", html) is None


async def test_the_page_reads_no_other_language_to_open(page: Page) -> None:
    assert page.place.env.bot.tree.translator is None


async def test_a_file_that_is_no_picture_is_only_downloaded(page: Page) -> None:
    channel = str(page.place.main.id)
    await page.act({"kind": "say", "content": "", "in": channel}, {"file": ("page.html", b"<script>alert(1)</script>")})
    message = await page.seen(lambda message: message["files"] and message["files"][0]["name"] == "page.html")
    (file,) = message["files"]
    assert file["width"] is None
    async with page.session.get(page.address + file["url"]) as response:
        assert response.headers["Content-Disposition"] == "attachment"
        assert response.content_type == "application/octet-stream"
        assert "sandbox" in response.headers["Content-Security-Policy"]
        assert await response.read() == b"<script>alert(1)</script>"


async def test_a_file_with_an_odd_name_is_found(page: Page) -> None:
    await page.act({"kind": "say", "content": ""}, {"file": ("a b#c?d%20.txt", b"odd")})
    message = await page.seen(lambda message: message["files"] and message["files"][0]["bytes"] == 3)
    async with page.session.get(URL(page.address + message["files"][0]["url"], encoded=True)) as response:
        assert await response.read() == b"odd"


@pytest.mark.parametrize("path", ["nothing.js", "files/1/2/gone.png", "..%2fsample.png", "%2e%2e/web.py"])
async def test_what_is_not_there_is_not_served(page: Page, path: str) -> None:
    async with page.session.get(page.address + path) as response:
        assert response.status == 404


async def test_an_action_that_is_no_object_is_refused(page: Page) -> None:
    for asked in ("", "[]", "7"):
        async with page.session.post(f"{page.address}act", data={"asked": asked}) as response:
            assert response.status == 400
    assert await page.act({"kind": "explode"}) == {
        "error": "The page asked for something that this Atelier does not know. Reload it."
    }


async def test_a_port_that_is_taken_is_said_in_a_sentence(config: Config, engine: FakeEngine) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        words = f"The page cannot be served at port {port}: another program uses it. Give another one with --port"
        with pytest.raises(ConfigError, match=words):
            await run_sandbox(config, port, lambda _: None)
