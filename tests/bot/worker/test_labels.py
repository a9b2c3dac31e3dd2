"""What is in the files of a result: the one that was painted, and the one that people get."""

from __future__ import annotations

import io
import json
import stat
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import c2pa
import numpy as np
import PIL.Image
import pytest

from bot.config import EMBEDDED_MODEL, EngineConfig
from bot.engine.wire import FinishedFrame, Frame, Inbox, StopFrame, SubmitFrame
from bot.errors import PaintFailed
from bot.jobs import GenerationRequest, Image, JobId, UserId
from bot.picture_files import without_metadata
from bot.worker import marking, webp
from bot.worker.labels import KEY_FILE, Labels, own_secret, read_secret
from bot.worker.loop import WorkerLoop
from bot.worker.pipelines import ModelStore

USER = 987654321987654321
APPLE = GenerationRequest("a red quokka", "emoji", 128, 128, 2, 1.0, 7, negative_prompt="a wombat")
SETTINGS = EngineConfig(device="cpu", threads=1)

Paint = Callable[..., Image]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data") / "provenance"


@pytest.fixture(scope="module")
def paint(folder: Path) -> Paint:
    """Paints one picture with the real loop; each setting has one store."""
    stores: dict[str, ModelStore] = {}

    def painted(request: GenerationRequest = APPLE, **settings: object) -> Image:
        name = str(sorted(settings.items()))
        if name not in stores:
            changed = SETTINGS.model_copy(update=settings)
            stores[name] = ModelStore([EMBEDDED_MODEL], changed, None, Labels(changed, folder))
        frames: list[Frame] = []
        inbox = Inbox()
        inbox.put(SubmitFrame(JobId(1), 1, UserId(USER), request, {}))
        inbox.put(StopFrame())
        WorkerLoop(stores[name], inbox, frames.append, rows=16).run()
        (finished,) = [frame for frame in frames if isinstance(frame, FinishedFrame)]
        return finished.images[0]

    return painted


def opened(data: bytes) -> PIL.Image.Image:
    return PIL.Image.open(io.BytesIO(data))


def claims(data: bytes) -> tuple[str, list[str], dict[str, dict[str, object]]]:
    """The state of a manifest, what is noted, and its assertions."""
    reader = c2pa.Reader("image/png", io.BytesIO(data))
    found = json.loads(reader.json())
    active = found["manifests"][found["active_manifest"]]
    notes = [status["code"] for status in found["validation_status"]]
    return reader.get_validation_state(), notes, {each["label"]: each["data"] for each in active["assertions"]}


def source_type(data: bytes) -> str:
    """What the XMP of a picture says of how it was made, read as any XML."""
    with opened(data) as picture:
        text = picture.info.get("XML:com.adobe.xmp") or picture.info["xmp"]
    (described,) = ElementTree.fromstring(text).iter("{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description")
    return described.attrib["{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"]


def test_people_get_a_marked_and_signed_copy_and_the_painted_file_stays_as_it_is(paint: Paint, folder: Path) -> None:
    image = paint()
    assert image.delivered
    with pytest.raises(c2pa.C2paError):
        claims(image.png)
    state, notes, _ = claims(image.delivered)
    assert (state, notes) == ("Valid", ["signingCredential.untrusted"])
    with opened(image.png) as painted, opened(image.delivered) as delivered:
        assert delivered.size == painted.size
        error = np.asarray(painted, float) - np.asarray(delivered, float)
        assert 0 < np.abs(error).max() < 32
        assert 10 * np.log10(255**2 / (error**2).mean()) > 38
        secret = read_secret(folder / KEY_FILE)
        found = marking.find(delivered.convert("RGB"), secret, [delivered.size], np.array([1, image.mark]))
        assert found is not None
        assert found.number == image.mark
        assert marking.find(painted.convert("RGB"), secret, [painted.size], np.array([image.mark])) is None


def test_the_same_request_paints_equal_pixels_although_each_copy_has_a_mark_of_its_own(paint: Paint) -> None:
    one, other = paint(), paint()
    assert one.png == other.png
    assert one.mark != other.mark
    assert without_metadata(one.delivered) != without_metadata(other.delivered)


def test_both_files_and_a_smaller_one_say_in_xmp_that_a_model_made_them(paint: Paint) -> None:
    image = paint()
    for data in (image.png, image.delivered, webp.encode(image.delivered, lossless=False)):
        assert source_type(data) == "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"


@pytest.mark.parametrize(
    ("detail", "request_facts", "has_text"),
    [
        ("full", {"operation", "seed", "steps", "guidance_scale", "model_hash", "prompt", "negative_prompt"}, True),
        ("seed", {"operation", "seed", "steps", "guidance_scale", "model_hash"}, True),
        ("none", set(), False),
    ],
)
def test_the_host_decides_how_much_of_the_request_is_in_the_files(
    paint: Paint, detail: str, request_facts: set[str], has_text: bool
) -> None:
    image = paint(provenance=detail)
    _, _, assertions = claims(image.delivered)
    assert set(assertions.get("org.atelier.request", {})) == request_facts
    assert assertions["c2pa.actions.v2"]["actions"][0]["parameters"] == {"org.atelier.model": "emoji"}
    for data in (image.png, image.delivered):
        with opened(data) as picture:
            assert ("parameters" in picture.info) is has_text
        assert (b"quokka" in data) is (detail == "full")
        assert (b"wombat" in data) is (detail == "full")


def test_no_file_says_who_asked(paint: Paint) -> None:
    image = paint()
    for data in (image.png, image.delivered):
        assert str(USER).encode() not in data


def test_without_marks_there_is_one_file_which_is_signed(paint: Paint) -> None:
    image = paint(mark=False)
    assert (image.delivered, image.mark) == (b"", None)
    assert claims(image.png)[0] == "Valid"
    assert without_metadata(image.png) == without_metadata(paint().png), "no pixel changes"


def test_a_picture_that_cannot_be_signed_is_delivered_without_a_manifest(
    paint: Paint, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: object) -> bytes:
        raise c2pa.C2paError("the clock is wrong")

    monkeypatch.setattr("bot.worker.manifest.Signing.sign", fails)
    image = paint()
    assert image.mark is not None
    assert source_type(image.delivered).endswith("trainedAlgorithmicMedia")
    assert "could not be signed" in caplog.text
    assert "quokka" not in caplog.text


def test_the_secret_of_the_marks_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    folder = tmp_path / "provenance"
    secret = own_secret(folder)
    assert own_secret(folder) == secret
    assert stat.S_IMODE((folder / KEY_FILE).stat().st_mode) == 0o600
    assert own_secret(tmp_path / "another") != secret


@pytest.mark.parametrize("text", ["", "no secret", "abcd"])
def test_a_secret_that_cannot_be_read_is_said_in_words(tmp_path: Path, text: str) -> None:
    (tmp_path / KEY_FILE).write_text(text)
    with pytest.raises(PaintFailed, match="The host has to restore it"):
        own_secret(tmp_path)


def test_a_host_may_bring_a_certificate(tmp_path: Path, paint: Paint) -> None:
    Labels(SETTINGS, tmp_path / "other")
    files = {
        "certificate": str(tmp_path / "other/certificate.pem"),
        "private_key": str(tmp_path / "other/private_key.pem"),
    }
    assert claims(paint(replace(APPLE, seed=8), **files).delivered)[0] == "Valid"
