"""A part of a picture, or the area around it, is painted: all other pixels stay what they were."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from bot.config import EMBEDDED_MODEL, EngineConfig
from bot.engine.wire import FailedFrame, FinishedFrame, Frame, Inbox, Stage, StageFrame, StopFrame, SubmitFrame
from bot.errors import PaintFailed
from bot.jobs import MOST_SIDE, GenerationRequest, JobId, Margins, Operation, UserId
from bot.worker.canvas import SEAM
from bot.worker.inputs import decode
from bot.worker.loop import WorkerLoop
from bot.worker.pipelines import ModelStore
from tests.bot.worker.at_once import at_once
from tests.picture_cases import exif, quarters, saved, stored

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

PAINTED = (255, 0, 255)

REGION = GenerationRequest(
    prompt="a fox on a blue background",
    model="emoji",
    width=128,
    height=128,
    num_inference_steps=4,
    guidance_scale=3.0,
    seed=1,
    operation=Operation.INPAINT,
    image="picture",
    region=(5,),
)
OUTPAINT = replace(REGION, operation=Operation.OUTPAINT, region=(), margins=(0.25, 0.25, 0.25, 0.25))


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (height, width, 3), "uint8"))


def finished(request: GenerationRequest, data: bytes) -> np.ndarray:
    """The result if the model paints nothing but one colour, (h, w, 3)."""
    canvas = decode(request, {"picture": data}).canvas
    assert canvas is not None
    return np.asarray(canvas.finished(Image.new("RGB", (request.width, request.height), PAINTED)))


def near(shape: tuple[int, int], box: tuple[int, int, int, int], by: int) -> np.ndarray:
    """Which pixels are in a box (left, upper, right, lower) that is larger by some pixels on each side."""
    inside = np.zeros(shape, bool)
    left, upper, right, lower = box
    inside[max(upper - by, 0) : lower + by, max(left - by, 0) : right + by] = True
    return inside


@pytest.mark.parametrize(("width", "height"), [(512, 512), (517, 389), (97, 301), (4, 4), (2048, 700)])
@pytest.mark.parametrize("region", [(0,), (5,), (15, 3), (4, 5, 6, 7), tuple(range(16))])
def test_pixels_outside_of_the_cells_and_their_seam_stay(width: int, height: int, region: tuple[int, ...]) -> None:
    source = noise(width, height)
    result = finished(replace(REGION, region=region), saved(source))
    assert result.shape == (height, width, 3)
    seam = max(min(width, height) // SEAM, 2)
    cells, around = np.zeros((height, width), bool), np.zeros((height, width), bool)
    for cell in region:
        column, row = cell % 4, cell // 4
        edges = [round(side * line / 4) for side, line in ((width, column), (height, row))]
        edges += [round(side * line / 4) for side, line in ((width, column + 1), (height, row + 1))]
        cells |= near(cells.shape, tuple(edges), 0)  # type: ignore[arg-type]
        around |= near(cells.shape, tuple(edges), seam)  # type: ignore[arg-type]
    assert (result[cells] == PAINTED).all()
    assert (result[~around] == np.asarray(source)[~around]).all()


@pytest.mark.parametrize(
    ("margins", "size"),
    [
        ((0.25, 0.25, 0.25, 0.25), (450, 300)),
        ((0.5, 0.5, 0.5, 0.5), (600, 400)),
        ((0.0, 0.0, 0.5, 0.0), (450, 200)),
        ((0.5, 0.0, 0.0, 0.0), (450, 200)),
        ((0.0, 0.5, 0.0, 0.0), (300, 300)),
        ((0.0, 0.0, 0.0, 0.5), (300, 300)),
    ],
)
def test_pixels_of_a_picture_that_is_continued_stay(margins: Margins, size: tuple[int, int]) -> None:
    source = noise(300, 200)
    result = finished(replace(OUTPAINT, margins=margins), saved(source))
    assert (result.shape[1], result.shape[0]) == size
    left, upper = round(300 * margins[0]), round(200 * margins[1])
    old = result[upper : upper + 200, left : left + 300]
    seam = [(200 // SEAM + 1) if margin else 0 for margin in margins]
    kept = slice(seam[1], 200 - seam[3]), slice(seam[0], 300 - seam[2])
    assert (old[kept] == np.asarray(source)[kept]).all()
    new = np.ones(result.shape[:2], bool)
    new[upper : upper + 200, left : left + 300] = False
    assert (result[new] == PAINTED).all()


def test_the_seam_leads_from_the_old_to_the_new_without_a_step() -> None:
    grey = Image.new("RGB", (480, 480), (0, 0, 0))
    result = finished(replace(OUTPAINT, margins=(0.0, 0.0, 0.5, 0.0)), saved(grey))[240, :, 0].astype(int)
    assert (np.diff(result) >= 0).all()
    assert np.diff(result).max() < 255 / 10
    assert 10 <= ((result > 0) & (result < 255)).sum() <= 480 // SEAM


@pytest.mark.parametrize("request_", [REGION, OUTPAINT], ids=["region", "outpaint"])
def test_result_of_a_large_picture_is_as_long_as_allowed(request_: GenerationRequest) -> None:
    result = finished(request_, saved(noise(3000, 1500)))
    assert result.shape[:2] == (MOST_SIDE // 2, MOST_SIDE)


@pytest.mark.parametrize("side", [1365, 1366, 1367, 2047])
def test_no_rounding_makes_it_longer(side: int) -> None:
    result = finished(OUTPAINT, saved(Image.new("RGB", (side, 100))))
    assert MOST_SIDE - 2 <= result.shape[1] <= MOST_SIDE


def test_model_sees_the_whole_picture_and_paints_whole_latents_of_the_part() -> None:
    inputs = decode(replace(REGION, width=136, height=104, region=(5,)), {"picture": saved(quarters(340, 260))})
    assert inputs.image is not None
    assert inputs.mask_image is not None
    assert inputs.image.size == inputs.mask_image.size == (136, 104)
    mask = np.asarray(inputs.mask_image)
    assert set(np.unique(mask)) == {0, 255}
    rows, columns = np.nonzero(mask)
    assert (columns.min() % 8, (columns.max() + 1) % 8, rows.min() % 8, (rows.max() + 1) % 8) == (0, 0, 0, 0)
    assert columns.min() <= 34
    assert columns.max() >= 67
    assert rows.min() <= 26
    assert rows.max() >= 51


def test_model_is_given_the_colours_of_the_edges_around_a_picture() -> None:
    inputs = decode(replace(OUTPAINT, margins=(0.5, 0.0, 0.5, 0.0)), {"picture": saved(quarters(128, 128))})
    assert inputs.image is not None
    pixels = np.asarray(inputs.image).astype(int)
    for x, y, colour in ((4, 8, (255, 0, 0)), (123, 8, (0, 255, 0)), (123, 119, (0, 0, 255)), (4, 119, (255, 255, 0))):
        assert np.abs(pixels[y, x] - colour).max() < 60


def test_turned_transparent_and_animated_pictures_are_what_people_see() -> None:
    turned = finished(REGION, stored("JPEG", 6, exif=exif(6)))
    assert turned.shape[:2] == (96, 128)
    clear = Image.new("RGBA", (64, 64), (255, 0, 0, 0))
    assert (finished(REGION, saved(clear))[:8, :8] == 255).all()
    moving = saved(quarters(), "WEBP", save_all=True, append_images=[quarters().rotate(180)], lossless=True)
    assert (finished(REGION, moving)[40:, 70:] == np.asarray(quarters())[40:, 70:]).all()


@pytest.mark.parametrize(
    ("request_", "data", "words"),
    [
        (REGION, None, "The picture is no longer stored: ask again"),
        (OUTPAINT, None, "The picture is no longer stored: ask again"),
        (replace(REGION, image=""), b"", "There is no picture to start from: ask again and attach one"),
        (REGION, saved(noise(3, 90)), "has only 3×90 pixels: .* from 4×4 pixels on"),
        (OUTPAINT, saved(noise(90, 2)), "has only 90×2 pixels: .* from 4×4 pixels on"),
        (replace(REGION, region=(16,)), saved(noise(9, 9)), "have numbers from 1 to 16"),
        (replace(REGION, region=()), saved(noise(9, 9)), "Nothing says which part to paint"),
        (replace(OUTPAINT, margins=(0.0, 0.0, 0.0, 0.0)), saved(noise(9, 9)), "No side of the picture is to be"),
        (replace(OUTPAINT, margins=(0.5, 0.0, -0.5, 0.0)), saved(noise(9, 9)), "No side of the picture is to be"),
    ],
)
def test_what_cannot_be_painted_is_said_in_words(request_: GenerationRequest, data: bytes | None, words: str) -> None:
    with pytest.raises(PaintFailed, match=words):
        decode(request_, {} if data is None else {"picture": data})


def paint(store: ModelStore, *requests: GenerationRequest, uploads: dict[str, bytes]) -> tuple[list[bytes], int]:
    """The first PNG of each request, all given to a loop at once, and the most orders that shared a step."""
    inbox, pictures, shared = Inbox(), {}, 0
    for number, request in enumerate(requests):
        files = {sha256: uploads[sha256] for sha256 in request.uploads}
        inbox.put(SubmitFrame(JobId(number), 1, UserId(number), request, files))
    inbox.put(StopFrame())

    def send(frame: Frame) -> None:
        nonlocal shared
        match frame:
            case FinishedFrame():
                pictures[frame.job_id] = frame.images[0].png
            case FailedFrame():
                raise PaintFailed(frame.reason)
            case StageFrame(stage=Stage.STEP):
                shared = max(shared, len(frame.orders))

    at_once(WorkerLoop(store, inbox, send, rows=16)).run()
    return [pictures[JobId(number)] for number in range(len(requests))], shared


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def test_it_shares_its_steps_with_fresh_requests_and_equals_itself_alone() -> None:
    store = ModelStore([EMBEDDED_MODEL], EngineConfig(device="cpu", threads=1))
    fresh = replace(REGION, operation=Operation.TEXT2IMAGE, image="", region=(), num_inference_steps=12)
    (source,), _ = paint(store, fresh, uploads={})
    sha256 = hashlib.sha256(source).hexdigest()
    many = {"image": sha256, "num_inference_steps": 9}
    edits = [
        replace(REGION, **many, region=(0, 1), seed=5),
        replace(OUTPAINT, **many, seed=6),
        replace(OUTPAINT, **many, margins=(0.0, 0.0, 0.5, 0.0), strength=0.9, seed=7),
    ]
    together, shared = paint(store, *edits, fresh, uploads={sha256: source})
    assert shared == 4
    old = pixels(source)
    for request, png in zip(edits, together, strict=False):
        ((alone,), _) = paint(store, request, uploads={sha256: source})
        assert np.abs(pixels(png) - pixels(alone)).max() <= 4
    assert paint(store, edits[2], uploads={sha256: source})[0] == [alone], "the same bytes again"
    region, zoomed, panned, _ = map(pixels, together)
    seam = 512 // SEAM + 1
    assert (region[128 + seam :] == old[128 + seam :]).all()
    assert (region[:128, : 256 - seam] != old[:128, : 256 - seam]).mean() > 0.5
    assert zoomed.shape == (768, 768, 3)
    inner = slice(seam, 512 - seam)
    assert (zoomed[128:640, 128:640][inner, inner] == old[inner, inner]).all()
    assert panned.shape == (512, 768, 3)
    assert (panned[:, : 512 - seam] == old[:, : 512 - seam]).all()
