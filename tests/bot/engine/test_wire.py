"""Frames: what is written is read back by both readers, nothing else is taken for a frame, and both sides know all."""

from __future__ import annotations

import ast
import asyncio
import hashlib
import io
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bot
from bot.engine.framing import BODY_LIMIT, HEADER_LIMIT, BadFrame, pack
from bot.engine.wire import (
    CancelFrame,
    FailedFrame,
    FinishedFrame,
    Frame,
    FromWorker,
    LoadedFrame,
    ObservedFrame,
    PreviewFrame,
    ProgressFrame,
    ReadyFrame,
    SetupFrame,
    Stage,
    StageFrame,
    StartedFrame,
    StopFrame,
    SubmitFrame,
    TimingsFrame,
    ToWorker,
    encode,
    kind_of,
    read_frame,
    read_frame_async,
)
from bot.jobs import GenerationRequest, Image

Reader = Callable[[bytes], Awaitable[list[Frame | None]]]

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, width=32) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.dictionaries(st.text(max_size=10), VALUES, max_size=5)
NUMBERS = st.integers(0, 2**53)
ABOUT = (NUMBERS, NUMBERS)
PICTURES = st.lists(st.binary(max_size=200), max_size=3, unique=True)
WORDS = st.text(max_size=50)
REQUESTS = st.builds(
    GenerationRequest,
    *(WORDS, WORDS, NUMBERS, NUMBERS, NUMBERS, st.floats(0, 30), NUMBERS),
    loras=st.lists(st.tuples(WORDS, st.floats(-2, 2)), max_size=2).map(tuple),
)
IMAGES = st.builds(Image, st.binary(max_size=200), NUMBERS, NUMBERS, NUMBERS, WORDS)
UPLOADS = PICTURES.map(lambda pictures: {hashlib.sha256(data).hexdigest(): data for data in pictures})
EVERY = {
    SetupFrame: st.builds(SetupFrame, st.lists(FIELDS, max_size=2), FIELDS, WORDS, WORDS),
    SubmitFrame: st.builds(SubmitFrame, *ABOUT, NUMBERS, REQUESTS, UPLOADS),
    CancelFrame: st.builds(CancelFrame, *ABOUT),
    StopFrame: st.builds(StopFrame),
    ReadyFrame: st.builds(ReadyFrame, st.dictionaries(WORDS, WORDS, max_size=2), WORDS),
    LoadedFrame: st.builds(LoadedFrame, st.lists(WORDS, max_size=3).map(tuple)),
    StageFrame: st.builds(
        StageFrame, WORDS, st.sampled_from(Stage), st.lists(st.tuples(*ABOUT), max_size=3).map(tuple), WORDS, NUMBERS
    ),
    StartedFrame: st.builds(StartedFrame, *ABOUT),
    ProgressFrame: st.builds(ProgressFrame, *ABOUT, NUMBERS, NUMBERS),
    PreviewFrame: st.builds(PreviewFrame, *ABOUT, st.binary(max_size=200)),
    FinishedFrame: st.builds(FinishedFrame, *ABOUT, st.lists(IMAGES, max_size=3).map(tuple), WORDS),
    FailedFrame: st.builds(FailedFrame, *ABOUT, WORDS),
    TimingsFrame: st.builds(TimingsFrame, WORDS, FIELDS),
    ObservedFrame: st.builds(ObservedFrame, WORDS, NUMBERS, st.lists(WORDS, max_size=3)),
}

PROGRESS = ProgressFrame(*(1, 1), 1, 2)  # type: ignore[arg-type]
FINISHED = FinishedFrame(1, 1, (Image(b"12345", 1, 8, 8, ""), Image(b"6", 2, 8, 8, "")), "hash")  # type: ignore[arg-type]


async def blocking(stream: bytes) -> list[Frame | None]:
    """Read everything with `read_frame`, up to and including the end."""
    source, frames = io.BytesIO(stream), []
    while not frames or frames[-1] is not None:
        frames.append(read_frame(source))
    return frames


async def asynchronous(stream: bytes) -> list[Frame | None]:
    """Read everything with `read_frame_async`, up to and including the end."""
    source, frames = asyncio.StreamReader(), []
    source.feed_data(stream)
    source.feed_eof()
    while not frames or frames[-1] is not None:
        frames.append(await read_frame_async(source))
    return frames


both_readers = pytest.mark.parametrize("read", [blocking, asynchronous])


@both_readers
@settings(deadline=None)
@given(frames=st.lists(st.one_of(*EVERY.values()), max_size=4))
def test_what_is_written_is_read_back(read: Reader, frames: list[Frame]) -> None:
    stream = b"".join(encode(frame) for frame in frames)
    assert asyncio.run(read(stream)) == [*frames, None]


def test_every_frame_is_among_the_examples() -> None:
    assert set(EVERY) == set(get_args(Frame)) == {*get_args(ToWorker), *get_args(FromWorker)}


@pytest.mark.parametrize(
    ("module", "function", "frames"),
    [
        ("engine/local/__init__.py", "hear", Frame),
        ("worker/loop.py", "_receive", Frame),
    ],
)
def test_both_sides_have_a_case_for_every_frame(module: str, function: str, frames: type[Frame]) -> None:
    """mypy says so too, by `assert_never`; this fails where somebody takes that line out."""
    tree = ast.parse((Path(bot.__file__).parent / module).read_text(encoding="utf-8"))
    (body,) = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == function)
    known = {ast.unparse(case.cls) for case in ast.walk(body) if isinstance(case, ast.MatchClass)}
    assert known == {frame.__name__ for frame in get_args(frames)}
    assert "assert_never" in ast.unparse(body)


@both_readers
async def test_stream_cut_anywhere_ends_after_the_whole_frames(read: Reader) -> None:
    cut = encode(FINISHED)
    for length in range(len(cut)):
        assert await read(encode(PROGRESS) + cut[:length]) == [PROGRESS, None], f"cut after {length} bytes"


async def test_frame_arriving_byte_by_byte_is_read() -> None:
    frame = FailedFrame(1, 1, "ein Apfel, 🍎")  # type: ignore[arg-type]
    source = asyncio.StreamReader()
    reading = asyncio.create_task(read_frame_async(source))
    for byte in encode(frame):
        assert not reading.done()
        source.feed_data(bytes([byte]))
        await asyncio.sleep(0)
    assert await reading == frame


@both_readers
@pytest.mark.parametrize(
    ("header_length", "body_length"), [(HEADER_LIMIT + 1, 0), (2, BODY_LIMIT + 1), (2**32 - 1, 2**32 - 1)]
)
async def test_lengths_beyond_the_limits_are_refused_unread(read: Reader, header_length: int, body_length: int) -> None:
    with pytest.raises(BadFrame, match="too large"):
        await read(struct.pack(">II", header_length, body_length))


@both_readers
@pytest.mark.parametrize(
    "header",
    [
        *(b"", b"{", b"\xff\xfe", b"null", b"3", b'"kind"', b"[1]", b'["kind"]', b"{}", b'{"knd":"x"}', b"[" * 200_000),
        *(b'{"kind":["stop"]}', b'{"kind":null}'),
    ],
    ids=lambda header: header[:20].decode(errors="replace"),
)
async def test_header_that_is_no_object_with_a_kind_is_refused(read: Reader, header: bytes) -> None:
    with pytest.raises(BadFrame, match="not a JSON object with a kind"):
        await read(struct.pack(">II", len(header), 0) + header)


@both_readers
@pytest.mark.parametrize(
    ("header", "body"),
    [
        ({"kind": "paint"}, b""),
        ({"kind": "progress"}, b""),
        ({"kind": "progress", "job_id": 1, "attempt": 1, "step": 1}, b""),
        ({"kind": "progress", "job_id": 1, "attempt": 1, "step": "1", "of": 2}, b""),
        ({"kind": "progress", "job_id": 1, "attempt": 1, "step": True, "of": 2}, b""),
        ({"kind": "progress", "job_id": 1, "attempt": 1, "step": 1, "of": 2, "more": 3}, b""),
        ({"kind": "stop"}, b"more"),
        ({"kind": "submit", "job_id": 1, "attempt": 1, "owner": 1, "request": {}, "uploads": []}, b""),
        ({"kind": "submit", "job_id": 1, "attempt": 1, "owner": 1, "request": 3, "uploads": []}, b""),
        ({"kind": "finished", "job_id": 1, "attempt": 1, "images": [{}], "model_hash": ""}, b""),
        ({"kind": "finished", "job_id": 1, "attempt": 1, "images": [{"size": "x"}], "model_hash": ""}, b""),
        ({"kind": "timings", "steps": {}}, b"\xff"),
        ({"kind": "stage", "thread": "loop", "stage": "dreaming"}, b""),
        ({"kind": "stage", "thread": "loop", "stage": "loading a model", "orders": [[1, "1"]]}, b""),
        ({"kind": "stage", "thread": "loop", "stage": "loading a model", "orders": [1]}, b""),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_frame_that_does_not_hold_what_it_should_is_refused(
    read: Reader, header: dict[str, object], body: bytes
) -> None:
    with pytest.raises(BadFrame):
        await read(pack(header, body))


@both_readers
async def test_text_of_a_chatty_library_is_refused(read: Reader) -> None:
    with pytest.raises(BadFrame):
        await read(b"Loading pipeline components...: 100%|##########| 5/5\n" * 10)


def test_the_largest_prompts_fit_into_a_header() -> None:
    request = GenerationRequest("🎨" * 6000, "emoji", 64, 64, 5, 3.0, 7, negative_prompt="🎨" * 6000)
    frame = SubmitFrame(1, 1, 1, request, {})  # type: ignore[arg-type]
    assert len(encode(frame)) < HEADER_LIMIT
    assert read_frame(io.BytesIO(encode(frame))) == frame


ONE, TWO = b"one", b"two"
NAMES = [[hashlib.sha256(data).hexdigest(), len(data)] for data in (ONE, TWO)]


@pytest.mark.parametrize(
    ("index", "body", "words"),
    [
        (NAMES, TWO + ONE, "not the one it names"),
        (NAMES, ONE, "3 bytes of pictures and names 6"),
        (NAMES, ONE + TWO + b"more", "10 bytes of pictures and names 6"),
        ([], ONE, "3 bytes of pictures and names 0"),
    ],
    ids=["swapped", "short", "long", "unnamed"],
)
def test_pictures_that_are_not_what_the_frame_says_are_refused(index: list[object], body: bytes, words: str) -> None:
    header = {"kind": "submit", "job_id": 1, "attempt": 1, "owner": 1, "request": {}, "uploads": index}
    with pytest.raises(BadFrame, match=words):
        read_frame(io.BytesIO(pack(header, body)))


def test_a_frame_is_called_by_its_class() -> None:
    assert [kind_of(StopFrame()), kind_of(FinishedFrame)] == ["stop", "finished"]
