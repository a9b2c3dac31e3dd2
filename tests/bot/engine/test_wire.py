"""Frames: what is written is read back by both readers, and nothing else is taken for a frame."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import struct
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.engine.wire import (
    BODY_LIMIT,
    HEADER_LIMIT,
    BadFrame,
    Frame,
    read_frame,
    read_frame_async,
    submit_frame,
    uploads_of,
)

Reader = Callable[[bytes], Awaitable[list[Frame | None]]]

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, width=32) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.dictionaries(st.text(max_size=10).filter(lambda name: name != "kind"), VALUES, max_size=5)
FRAMES = st.builds(Frame, st.text(max_size=10), FIELDS, st.binary(max_size=1000))


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
@given(frames=st.lists(FRAMES, max_size=4))
def test_what_is_written_is_read_back(read: Reader, frames: list[Frame]) -> None:
    stream = b"".join(frame.encode() for frame in frames)
    assert asyncio.run(read(stream)) == [*frames, None]


@both_readers
async def test_stream_cut_anywhere_ends_after_the_whole_frames(read: Reader) -> None:
    whole = Frame("progress", {"step": 1})
    cut = Frame("finished", {"size": 5}, b"12345").encode()
    for length in range(len(cut)):
        assert await read(whole.encode() + cut[:length]) == [whole, None], f"cut after {length} bytes"


async def test_frame_arriving_byte_by_byte_is_read() -> None:
    frame = Frame("submit", {"prompt": "ein Apfel, 🍎"}, bytes(range(256)))
    source = asyncio.StreamReader()
    reading = asyncio.create_task(read_frame_async(source))
    for byte in frame.encode():
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
    [b"", b"{", b"\xff\xfe", b"null", b"3", b'"kind"', b"[1]", b'["kind"]', b"{}", b'{"knd":"x"}', b"[" * 200_000],
    ids=["empty", "cut", "no text", "null", "number", "string", "list", "word list", "no kind", "misspelt", "deep"],
)
async def test_header_that_is_no_object_with_a_kind_is_refused(read: Reader, header: bytes) -> None:
    with pytest.raises(BadFrame, match="not a JSON object with a kind"):
        await read(struct.pack(">II", len(header), 0) + header)


@both_readers
async def test_text_of_a_chatty_library_is_refused(read: Reader) -> None:
    with pytest.raises(BadFrame):
        await read(b"Loading pipeline components...: 100%|##########| 5/5\n" * 10)


def test_the_largest_prompts_fit_into_a_header() -> None:
    request = {"prompt": "🎨" * 1000, "negative_prompt": "🎨" * 1000}
    frame = Frame("submit", {"request": request})
    assert len(frame.encode()) < HEADER_LIMIT
    assert read_frame(io.BytesIO(frame.encode())) == frame
    assert json.loads(frame.encode()[8:])["request"] == request


@given(st.lists(st.binary(max_size=200), max_size=3, unique=True))
@settings(deadline=None)
def test_the_pictures_of_an_order_come_out_as_they_went_in(pictures: list[bytes]) -> None:
    uploads = {hashlib.sha256(data).hexdigest(): data for data in pictures}
    sent = submit_frame({"job_id": 1}, uploads)
    received = read_frame(io.BytesIO(sent.encode()))
    assert received is not None
    assert received.fields["job_id"] == 1
    assert uploads_of(received) == uploads


ONE, TWO = b"one", b"two"
NAMES = [[hashlib.sha256(data).hexdigest(), len(data)] for data in (ONE, TWO)]


@pytest.mark.parametrize(
    ("index", "body", "words"),
    [
        (NAMES, TWO + ONE, "not the one it names"),
        (NAMES, ONE, "not the one it names"),
        (NAMES, ONE + TWO + b"more", "10 bytes of pictures and names 6"),
        ([], ONE, "3 bytes of pictures and names 0"),
    ],
    ids=["swapped", "short", "long", "unnamed"],
)
def test_pictures_that_are_not_what_the_frame_says_are_refused(index: list[object], body: bytes, words: str) -> None:
    with pytest.raises(BadFrame, match=words):
        uploads_of(Frame("submit", {"uploads": index}, body))
