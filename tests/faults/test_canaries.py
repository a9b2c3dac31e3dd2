"""No prompt, reason, template or key reaches the log, whatever part of a feature fails and quotes it."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import c2pa
import pytest
import simcord

from bot import logs
from bot.config import EMBEDDED_MODEL, Config, EngineConfig
from bot.delivery.notices import Notices
from bot.engine import framing
from bot.engine.wire import Frame, Inbox, StopFrame, SubmitFrame
from bot.errors import AtelierError
from bot.jobs import GenerationRequest, JobId, PictureLimits, UserId
from bot.logs import HiddenTexts, setup_logging
from bot.worker import labels, manifest
from bot.worker.labels import Labels
from bot.worker.loop import WorkerLoop
from bot.worker.nsfw import NsfwCheck
from bot.worker.pipelines import ModelStore
from tests.cogs.test_blend import PICTURES
from tests.cogs.test_storyboards import accepted, panel
from tests.conftest import Workshop

CANARIES = ("foxglove", "edelweiss", "buttercup")
QUOTING = "near 'a foxglove': edelweiss, buttercup"


class Bug(RuntimeError):  # noqa: N818 - named as in the log
    """An error that nobody foresaw, and that quotes what a person wrote."""


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], str]]:
    """What a host reads at log level debug."""
    monkeypatch.setattr(logs, "_hidden", HiddenTexts())
    written, loggers = io.StringIO(), [logging.getLogger(name) for name in (None, "bot", "cogs", "__main__")]
    before = [(logger, logger.handlers[:], logger.level) for logger in loggers]
    monkeypatch.setattr(sys, "stderr", written)
    setup_logging("debug")
    yield written.getvalue
    for logger, handlers, level in before:
        logger.handlers[:] = handlers
        logger.setLevel(level)
    logging.captureWarnings(False)


PICTURE = ("foxglove.png", PICTURES[0])
FAILING: dict[str, tuple[dict[str, Any], str]] = {
    "imagine": ({"prompt": "a foxglove", "negative_prompt": "edelweiss, buttercup"}, "policy.check_words"),
    "blend": ({"prompt": "foxglove edelweiss buttercup", "image1": PICTURE, "image2": PICTURE}, "policy.check_words"),
    "compare": ({"prompt": "a foxglove", "first": "--no edelweiss", "second": "--no buttercup"}, "comparisons.add"),
    "report": ({"message": "1" * 18, "reason": "foxglove edelweiss buttercup"}, "queue.shown_by"),
    "mod terms add": ({"terms": "foxglove, edelweiss, buttercup"}, "cases.change"),
    "style add": (
        {"name": "foxglove", "text": "{prompt}, edelweiss", "negative_prompt": "buttercup"},
        "styles.put",
    ),
    "search": ({"query": "foxglove edelweiss buttercup"}, "search.find"),
    "mod wildcards add": ({"name": "foxglove", "words": "edelweiss, buttercup"}, "cases.change"),
    "storyboard": ({"title": "foxglove", "panels": "edelweiss\na fox", "look": "buttercup"}, "policy.check_title"),
    "panelwords": ({"prompt": "foxglove edelweiss buttercup"}, "queue.series"),
    "contest start": ({"theme": "foxglove edelweiss buttercup", "entries": "1d"}, "contests.start"),
    "tag add": ({"tags": "foxglove edelweiss buttercup", "id": 1}, "queue.get"),
}


async def form_of(workshop: Workshop, asker: simcord.MemberActor, command: str) -> Any:
    """The form that is sent instead of a command; None if it is a command."""
    if command == "storyboard":
        return await asker.slash(workshop.channel, "storyboard")
    if command == "panelwords":
        await accepted(workshop, asker)
        await workshop.ended(3)
        return await asker.click((await panel(workshop, asker, 2)).response, label="Edit words")
    return None


@pytest.mark.parametrize("kind", [Bug, AtelierError])
@pytest.mark.parametrize("command", FAILING)
async def test_a_command_whose_work_fails_and_quotes_it(
    workshop: Workshop, command: str, kind: type[Exception], logged: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options, work = FAILING[command]
    part, _, method = work.partition(".")

    async def failing(*_: object, **__: object) -> None:
        raise kind(QUOTING)

    workshop.foreseen = (*workshop.foreseen, Bug)
    asker = workshop.member("mod", moderator=True)
    form = await form_of(workshop, asker, command)
    monkeypatch.setattr(type(getattr(workshop.app, part)), method, failing)
    if form is None:
        answer = await asker.slash(workshop.channel, command, **options)
    else:
        answer = await asker.submit_modal(form, options)
    message = answer.response or answer.followups[-1]
    assert message.ephemeral
    assert [word for word in CANARIES if word in logged()] == []
    if kind is Bug:
        assert "a bug, reference" in logged(), "there was something to log"


async def test_a_notice_that_fails_and_quotes_a_report(workshop: Workshop, logged: Callable[[], str]) -> None:
    class Poster:
        async def post_case(self, *_: object) -> None:
            raise Bug(QUOTING)

        async def post_report(self, *_: object) -> None:
            raise Bug(QUOTING)

        async def tell_reporter(self, *_: object) -> None:
            raise Bug(QUOTING)

    notices: Notices = workshop.app.notices
    ada, eve = workshop.member("ada"), workshop.member("eve")
    moderator = workshop.member("mod", moderator=True)
    await moderator.slash(workshop.channel, "mod log", channel=workshop.channel)
    await ada.slash(workshop.channel, "imagine", prompt="a foxglove")
    (job,) = await workshop.ended()
    notices.attach(Poster())
    await eve.slash(workshop.channel, "report", message=str(job.destination.message_id), reason="edelweiss buttercup")
    await moderator.slash(workshop.channel, "mod delete", message=str(job.destination.message_id))

    async def told() -> bool:
        return logged().count("because of a bug: Bug") >= 3

    async def all_told() -> bool:
        rows = await workshop.app.database.fetch_all(
            "SELECT 1 FROM reporters WHERE told_at IS NULL UNION ALL SELECT 1 FROM cases WHERE logged_at IS NULL"
        )
        return not rows and await told()

    await workshop.until(all_told)
    assert [word for word in CANARIES if word in logged()] == []


@pytest.mark.parametrize("part", ["safety", "mark", "manifest"])
def test_a_check_or_label_that_fails_and_quotes_the_request(
    part: str, tmp_path: Path, logged: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = EngineConfig(device="cpu", threads=1)
    store = ModelStore([EMBEDDED_MODEL], settings, None, Labels(settings, tmp_path))

    def failing(*_: object, **__: object) -> None:
        raise (c2pa.C2paError if part == "manifest" else Bug)(QUOTING)

    if part == "safety":
        store.finisher.nsfw = NsfwCheck()
        monkeypatch.setattr(store.finisher.nsfw._classifier, "classify", failing)
    elif part == "mark":
        monkeypatch.setattr(labels.marking, "mark", failing)
    else:
        monkeypatch.setattr(manifest.Signing, "sign", failing)
    frames: list[Frame] = []
    inbox = Inbox()
    request = GenerationRequest("a foxglove", "emoji", 64, 64, 1, 1.0, 7, negative_prompt="edelweiss, buttercup")
    inbox.put(SubmitFrame(JobId(1), 1, UserId(1), request, {}, PictureLimits(0.8, 0.4)))
    inbox.put(StopFrame())
    WorkerLoop(store, inbox, frames.append, rows=16).run()
    assert "Traceback" in logged(), "there was something to log"
    assert [word for word in CANARIES if word in logged()] == []


async def test_the_key_of_pictures_reaches_no_log_and_no_process(
    tmp_path: Path, logged: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from bot.app import open_app
    from bot.engine.fake import FakeEngine
    from bot.jobs import Surface
    from bot.offline import encrypt_database
    from bot.storage import encryption

    config = Config(data=tmp_path / "data", encrypt_pictures=True)
    async with open_app(config, Surface.DISCORD, engine=FakeEngine()):
        pass
    old = encryption.find_key(tmp_path / "data" / "atelier.db")
    words = await encrypt_database(config, again=True)
    async with open_app(config, Surface.DISCORD, engine=FakeEngine()):
        pass
    new = encryption.find_key(tmp_path / "data" / "atelier.db")
    for key in (old, new):
        assert key is not None
        assert key.strip("x'") not in logged() + words
    assert "have a new key" in logged()


@pytest.mark.parametrize("damage", ["none", "manifest", "pixels", "texts", "cut"])
def test_a_look_at_a_strangers_picture_that_fails_and_its_texts(tmp_path: Path, damage: str) -> None:
    """The process that looks at pictures writes into the bot's log what it has to say."""
    signed = manifest.own_signing(tmp_path).sign(PICTURES[0], "foxglove", {"prompt": "edelweiss, buttercup"})
    changed = bytearray(signed)
    if damage == "manifest":
        changed[signed.index(b"edelweiss") + 9] ^= 1
    elif damage == "pixels":
        changed[signed.index(b"IDAT") + 9] ^= 0xFF
    elif damage == "texts":
        changed[33:33] = b"\xff\xff\xff\x00tEXtparameters\0foxglove"
    elif damage == "cut":
        del changed[len(changed) // 2 :]
    order = {"kind": "examine", "folder": str(tmp_path), "certificate": "", "sizes": [], "lengths": [len(changed), 0]}
    ran = subprocess.run(
        [sys.executable, "-m", "bot.worker.examine"],
        input=framing.pack(order, bytes(changed)),
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert [word for word in CANARIES if word.encode() in ran.stderr] == []
    if damage == "none":
        answer = framing.read(io.BytesIO(ran.stdout))
        assert answer is not None
        assert answer[0]["manifest"]["model"] == "foxglove", "there was something to tell"
