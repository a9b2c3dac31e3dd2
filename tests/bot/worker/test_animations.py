"""Animations in the loop, with a tiny real model: their frames share forwards, and leave room for other people."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

from bot.engine.wire import FailedFrame, FinishedFrame, PreviewFrame, StopFrame, SubmitFrame
from bot.jobs import GenerationRequest, Image, JobId, Operation, PictureLimits, UserId
from bot.worker import animations, rows
from bot.worker import forwards as running
from bot.worker.loop import WorkerLoop
from bot.worker.morphing import slerp
from tests.bot.worker.test_loop import SKETCH, Workshop
from tests.bot.worker.tiny_models import make_tiny_folder

# torch's tensors meet numpy inside diffusers in ways that numpy 2 means to forbid one day.
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

MORPH = replace(SKETCH, operation=Operation.MORPH, frames=5, end_prompt="an owl", end_seed=9)
ROWS = 16
STOP = StopFrame()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_folder(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(autouse=True)
def own_threads() -> Iterator[None]:
    """A store sets torch's threads for the whole process: put them back."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def shop(folder: Path) -> Workshop:
    return Workshop(folder, together=True)


@pytest.fixture
def denoised(monkeypatch: pytest.MonkeyPatch) -> list[list[tuple[JobId, int]]]:
    """For each forward of a denoiser, the job and the rows of each call in it."""
    groups: list[list[tuple[JobId, int]]] = []

    def recording(group: list[rows.Parked], cap: int, *ways: Any) -> list[Any]:
        if not group[0].single:
            groups.append([(parked.call_id[0], parked.rows) for parked in group])  # type: ignore[index]
        return rows.forward(group, cap, *ways)

    monkeypatch.setattr(running, "forward", recording)
    return groups


def painted(shop: Workshop, job_id: int = 1) -> Image:
    """The picture of a job that has ended."""
    (image,) = next(frame for frame in shop.said if isinstance(frame, FinishedFrame) and frame.job_id == job_id).images
    return image


def shades(picture: PIL.Image.Image) -> np.ndarray[Any, Any]:
    return np.asarray(picture.convert("RGB"), "int")


def play(shop: Workshop, *requests: GenerationRequest) -> None:
    for number, request in enumerate(requests, start=1):
        shop.ask(number, request)
    shop.inbox.put(STOP)
    shop.run()


@pytest.mark.parametrize("sampler", ["default", "euler", "dpm++ 2m"])
def test_the_first_and_the_last_frame_are_the_pictures_of_both_ends(shop: Workshop, sampler: str) -> None:
    morph = replace(MORPH, sampler=sampler)
    ends = [replace(SKETCH, sampler=sampler), replace(SKETCH, sampler=sampler, prompt="an owl", seed=9)]
    play(shop, morph, *ends)
    frames = animations.frames_of(painted(shop).png)
    assert len(frames) == 5
    for number, job_id in ((0, 2), (-1, 3)):
        picture = shades(PIL.Image.open(io.BytesIO(painted(shop, job_id).png)))
        assert abs(shades(frames[number]) - picture).max() <= 1, "up to rounding"
    steps = [abs(shades(one) - shades(other)).mean() for one, other in pairwise(frames)]
    assert min(steps) > 0, "each frame differs from the one before"
    whole = abs(shades(frames[0]) - shades(frames[-1])).mean()
    assert max(steps) < whole, "no frame jumps from one end to the other"


def test_an_ancestral_sampler_begins_with_the_picture_of_the_first_end(shop: Workshop) -> None:
    play(shop, replace(MORPH, sampler="euler a"), replace(SKETCH, sampler="euler a"))
    first = animations.frames_of(painted(shop).png)[0]
    picture = PIL.Image.open(io.BytesIO(painted(shop, 2).png))
    assert abs(shades(first) - shades(picture)).max() <= 1


def test_prompts_of_different_lengths_are_between_each_other(shop: Workshop) -> None:
    long = " ".join(["an owl"] * 60)
    play(shop, replace(MORPH, end_prompt=long), replace(SKETCH, prompt=long, seed=9))
    last = animations.frames_of(painted(shop).png)[-1]
    assert abs(shades(last) - shades(PIL.Image.open(io.BytesIO(painted(shop, 2).png)))).max() <= 1


@pytest.mark.parametrize(("frames", "forwards"), [(8, 1), (24, 3)])
def test_all_frames_share_forwards(
    shop: Workshop, denoised: list[list[tuple[JobId, int]]], frames: int, forwards: int
) -> None:
    play(shop, replace(MORPH, frames=frames))
    assert len(animations.frames_of(painted(shop).png)) == frames
    assert len(denoised) == forwards * SKETCH.num_inference_steps
    assert {sum(count for _, count in group) for group in denoised} == {ROWS}, "each forward is full"


@pytest.mark.parametrize("jobs", [1, 8])
def test_a_strangers_picture_is_in_every_forward_while_an_animation_or_a_storyboard_runs(
    shop: Workshop, denoised: list[list[tuple[JobId, int]]], jobs: int
) -> None:
    """It waits for the forward that runs when it comes, and then each forward brings it one step further."""
    what = replace(MORPH, frames=24) if jobs == 1 else SKETCH
    for number in range(1, jobs + 1):
        many = replace(what, prompt=f"a fox in scene {number}", num_inference_steps=30)
        shop.inbox.put(SubmitFrame(JobId(number), 1, UserId(7), many, {}))
    came: list[int] = []
    stranger = jobs + 1

    def comes() -> None:
        came.append(len(denoised))
        shop.ask(stranger, SKETCH)

    def ends() -> None:
        for number in range(1, stranger):
            shop.cancel(number)
        shop.inbox.put(STOP)

    shop.when("progress", 1, do=comes)
    shop.when("finished", stranger, do=ends)
    shop.run()
    with_stranger = [at for at, group in enumerate(denoised) if any(job_id == stranger for job_id, _ in group)]
    assert len(with_stranger) == SKETCH.num_inference_steps
    first, last = with_stranger[0], with_stranger[-1]
    assert first <= came[0] + 1
    assert last - first == len(with_stranger) - 1, "no forward without it comes between"
    assert all(sum(count for _, count in denoised[at]) == ROWS for at in with_stranger), "the others fill what is left"


def test_all_panels_of_a_storyboard_share_forwards(shop: Workshop, denoised: list[list[tuple[JobId, int]]]) -> None:
    """They are several jobs of one person, and nobody else waits."""
    for number in range(1, 9):
        panel = replace(SKETCH, prompt=f"a fox in scene {number}")
        shop.inbox.put(SubmitFrame(JobId(number), 1, UserId(7), panel, {}))
    shop.inbox.put(STOP)
    shop.run()
    assert sorted(shop.jobs("finished")) == list(range(1, 9))
    assert [sum(count for _, count in group) for group in denoised] == [ROWS] * SKETCH.num_inference_steps


def test_a_cancelled_animation_stops_with_all_its_frames(
    shop: Workshop, denoised: list[list[tuple[JobId, int]]]
) -> None:
    shop.ask(1, replace(MORPH, frames=24, num_inference_steps=100))
    shop.when("progress", 1, do=lambda: (shop.cancel(1), shop.ask(2, SKETCH), shop.inbox.put(STOP)))  # type: ignore[func-returns-value]
    shop.run()
    assert shop.jobs("finished") == [2]
    assert len([group for group in denoised if any(job_id == 1 for job_id, _ in group)]) < 10


def test_a_frame_that_fails_ends_the_whole_animation_with_one_reason(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = shop.store.frames

    def with_one_that_fails(*of: Any) -> list[dict[str, Any]]:
        found = arguments(*of)
        found[3]["latents"] = found[3]["latents"] * float("nan")
        return found

    monkeypatch.setattr(shop.store, "frames", with_one_that_fails)
    play(shop, MORPH, SKETCH)
    assert [frame.reason for frame in shop.said if isinstance(frame, FailedFrame)] == [rows.NOT_NUMBERS]
    assert shop.jobs("finished") == [2]


def test_progress_counts_the_steps_that_all_frames_have_done(shop: Workshop) -> None:
    play(shop, replace(MORPH, frames=24))
    assert shop.jobs("started") == [1]
    assert [getattr(frame, "step", 0) for frame in shop.said if getattr(frame, "of", 0)] == [1, 2, 3]


def test_a_preview_is_one_frame(folder: Path) -> None:
    shop = Workshop(folder)
    shop.ask(1, MORPH)
    shop.inbox.put(STOP)
    WorkerLoop(shop.store, shop.inbox, shop._send, ROWS, preview_seconds=1e-9).run()
    previews = [frame for frame in shop.said if isinstance(frame, PreviewFrame)]
    assert previews
    width, height = PIL.Image.open(io.BytesIO(previews[0].jpeg)).size
    assert width == height


class Check:
    """A safety check that finds one frame explicit."""

    def __init__(self, explicit: int) -> None:
        self.explicit, self.seen = explicit, 0

    def score(self, _picture: PIL.Image.Image) -> float:
        self.seen += 1
        return 0.9 if self.seen == self.explicit else 0.1


@pytest.mark.parametrize("explicit", [1, 3, 5])
def test_one_explicit_frame_counts_for_the_animation(shop: Workshop, explicit: int) -> None:
    shop.store.finisher.nsfw = Check(explicit)  # type: ignore[assignment]
    play(shop, MORPH)
    assert painted(shop).nsfw == 0.9


def test_an_animation_with_an_explicit_frame_does_not_leave_the_engine(shop: Workshop) -> None:
    shop.store.finisher.nsfw = Check(4)  # type: ignore[assignment]
    shop.inbox.put(SubmitFrame(JobId(1), 1, UserId(1), MORPH, {}, PictureLimits(block=0.8)))
    shop.inbox.put(STOP)
    shop.run()
    assert shop.jobs("finished") == []
    (failed,) = [frame for frame in shop.said if isinstance(frame, FailedFrame)]
    assert "explicit" in failed.reason or "nude" in failed.reason


def test_the_same_animation_is_the_same_file(shop: Workshop, folder: Path) -> None:
    play(shop, MORPH)
    other = Workshop(folder)
    play(other, MORPH)
    assert painted(shop).sha256 == painted(other).sha256


def test_noise_between_two_samples_has_their_length() -> None:
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.randn(1, 4, 16, 16, generator=generator) for _ in range(2))
    for share in (0.1, 0.5, 0.9):
        assert float(slerp(one, other, share).std()) == pytest.approx(1, abs=0.1)
    assert float((one + other).div(2).std()) < 0.8, "a straight line loses it"
    assert torch.equal(slerp(one, other, 0), one)
    assert torch.equal(slerp(one, other, 1), other)
    assert torch.allclose(slerp(one, one, 0.5), one)


def noisy(count: int, side: int = 64) -> list[PIL.Image.Image]:
    """Frames that compress badly."""
    random = np.random.default_rng(0)
    return [PIL.Image.fromarray(random.integers(0, 256, (side, side, 3), "uint8")) for _ in range(count)]


def test_a_file_that_is_too_large_gets_smaller_and_then_less_wide() -> None:
    film = animations.encoded(noisy(4), animations.durations(4), lossless=True)
    assert animations.is_animated(film)
    best = animations.smaller(film, len(film))
    assert PIL.Image.open(io.BytesIO(best)).size == (64, 64)
    small = animations.smaller(film, len(best) // 3)
    assert len(small) <= len(best) // 3
    shown = PIL.Image.open(io.BytesIO(small))
    assert shown.width < 64
    assert shown.n_frames == 4  # type: ignore[attr-defined]
    assert b"trainedAlgorithmicMedia" in shown.info["xmp"]


def test_both_ends_are_shown_longer_than_what_is_between() -> None:
    film = PIL.Image.open(io.BytesIO(animations.encoded(noisy(3), animations.durations(3), lossless=False)))
    shown = []
    for number in range(3):
        film.seek(number)
        film.load()
        shown.append(film.info["duration"])
    assert shown == [animations.END_MS, animations.FRAME_MS, animations.END_MS]
    assert film.info["loop"] == 0


def test_a_still_picture_is_no_animation() -> None:
    for kind in ("WEBP", "PNG"):
        buffer = io.BytesIO()
        noisy(1)[0].save(buffer, kind)
        assert not animations.is_animated(buffer.getvalue())
