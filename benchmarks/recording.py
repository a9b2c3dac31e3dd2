"""Records the try page in Chromium: the README's moving picture and its screenshots, of real use.

    python -m benchmarks.recording [--out docs] [--only answers]

It needs Chromium, and fonts with emoji (on Debian: chromium, fonts-noto-color-emoji, fonts-inter). The frames are
screenshots; one that shows what the last one showed only lengthens it, and waiting is shown shorter than it was.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import tempfile
import time
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urljoin

from PIL import Image
from playwright.async_api import Locator, Page

from bot.config import Config
from bot.engine.fake import FakeEngine
from tests.bot.try_page.browser import CHROMIUM, browser
from tests.bot.try_page.conftest import opened

SIZE = 1000, 680
DESK = 1280, 860
NARROW = 860, 900
"""So narrow that three parts of the page fit beside each other."""
BREATH_MS = 120
LONGEST_MS = 700
"""How long a frame of waiting is shown at most."""
COLOURS = 255
MOST_BYTES = 2_000_000
PATIENCE_MS = 180_000


class Film:
    """Frames of a page, and how long each is shown in milliseconds."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._frames: list[tuple[Image.Image, int]] = []

    async def take(self, shown_ms: int) -> None:
        """Take a frame; what looks like the last one makes it longer, up to the longest time of waiting."""
        frame = Image.open(io.BytesIO(await self._page.screenshot())).convert("RGB")
        if self._frames and self._frames[-1][0].tobytes() == frame.tobytes():
            last, before = self._frames[-1]
            self._frames[-1] = last, max(before, min(before + shown_ms, LONGEST_MS), shown_ms)
        else:
            self._frames.append((frame, shown_ms))

    async def type(self, words: str) -> None:
        """Type words, a frame for every few letters."""
        for at in range(0, len(words), 4):
            await self._page.keyboard.type(words[at : at + 4])
            await self.take(BREATH_MS)

    async def until(self, there: Locator) -> None:
        """Take frames until something is there."""
        ends_at = time.monotonic() + PATIENCE_MS / 1000
        while not await there.is_visible():
            if time.monotonic() > ends_at:
                raise TimeoutError(f"{there} did not come")
            await self.take(2 * BREATH_MS)
            await asyncio.sleep(0.05)

    def save(self, path: Path) -> int:
        """Write the frames as a GIF; returns its size in bytes."""
        # One palette for all, so that what does not change stays the same from frame to frame.
        some = [frame for frame, _ in self._frames[:: max(1, len(self._frames) // 8)]] + [self._frames[-1][0]]
        sheet = Image.new("RGB", (SIZE[0], SIZE[1] * len(some)))
        for index, frame in enumerate(some):
            sheet.paste(frame, (0, SIZE[1] * index))
        palette = sheet.quantize(COLOURS, method=Image.Quantize.MEDIANCUT)
        frames = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame, _ in self._frames]
        durations = [shown_ms for _, shown_ms in self._frames]
        frames[0].save(path, save_all=True, append_images=frames[1:], duration=durations, loop=0, optimize=False)
        return path.stat().st_size


@asynccontextmanager
async def stage(engine: FakeEngine | None):
    """The page of a new Atelier in a browser; without an engine, it paints with the built-in model."""
    if CHROMIUM is None:
        raise SystemExit("Chromium is not installed; on Debian: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder:
        async with opened(Config(data=Path(folder) / "data"), engine) as atelier, browser() as chromium:
            page = await chromium.new_page(viewport={"width": SIZE[0], "height": SIZE[1]})
            page.set_default_timeout(PATIENCE_MS)
            await page.goto(atelier.address)
            await page.locator(".reaction").first.wait_for()
            await page.wait_for_timeout(500)
            yield page


def buttons_of(message: Locator) -> Locator:
    """What tells that a message shows a result: the reactions come after its buttons."""
    return message.locator(".reaction").first


async def act(page: Page) -> Film:
    """Ask for pictures, look at one, change it, and set a limit as a moderator."""
    film = Film(page)
    await film.take(1600)
    await page.locator("#say").focus()
    await film.type("/")
    await film.take(1000)
    await page.keyboard.press("Enter")
    await film.take(500)
    await film.type("penguins in the snow")
    await page.get_by_role("button", name="+ images").click()
    await film.type("4")
    await page.get_by_role("button", name="+ aspect").click()
    await page.get_by_role("listbox", name="Choices for aspect").wait_for()
    await film.take(1000)
    await page.get_by_role("option", name="1:1").click()
    await film.take(400)
    await page.get_by_role("button", name="Send").click()
    asked = page.locator(".message", has_text="penguins in the snow")
    await film.until(buttons_of(asked.last))
    await page.wait_for_timeout(400)
    await film.take(2200)
    await asked.last.locator(".picture").nth(1).click()
    await page.wait_for_timeout(300)
    await film.take(1300)
    await page.keyboard.press("Escape")
    await asked.last.get_by_role("button", name="V2").click()
    await film.until(buttons_of(asked.nth(1)))
    await page.wait_for_timeout(400)
    await film.take(2000)
    await page.get_by_role("button", name="Mary Moderator").click()
    await page.wait_for_timeout(400)
    await film.take(700)
    await page.locator("#say").focus()
    await film.type("/limits set")
    await page.keyboard.press("Enter")
    await page.get_by_role("button", name="+ pace").click()
    await film.type("6")
    await film.take(500)
    await page.get_by_role("button", name="Send").click()
    sure = page.locator(".hidden-message .danger")
    await sure.wait_for()
    await film.take(900)
    await sure.click()
    await sure.wait_for(state="detached")
    await page.wait_for_timeout(300)
    await film.take(2600)
    return film


async def screenshots(page: Page, out: Path) -> None:
    """Take the still pictures: the page, and a result with its form and its family."""
    await page.get_by_role("button", name="Ada Member").click()
    await page.set_viewport_size({"width": NARROW[0], "height": NARROW[1]})
    first = page.locator(".message").first
    await first.get_by_role("button", name="Remix").click()
    form = page.get_by_role("dialog", name="Remix")
    await form.get_by_label("Prompt").fill("a robot in the city at night")
    await page.wait_for_timeout(200)
    # Behind round corners one would see the dimmed page.
    await form.evaluate("form => { form.style.borderRadius = 0; }")
    shown = [await form.screenshot()]
    await form.get_by_role("button", name="Submit").click()
    night = page.locator(".message", has_text="at night").last
    await buttons_of(night).wait_for()
    await night.get_by_role("button", name="Vary (strong)").click()
    await buttons_of(page.locator(".message", has_text="at night").nth(1)).wait_for()
    await first.locator(".controls").get_by_role("button", name="More").click()
    await page.get_by_role("button", name="Where does this come from?").click()
    family = page.locator(".message", has_text="family of request").last
    await family.locator("img").last.wait_for()
    await page.mouse.move(0, 0)
    await page.evaluate("document.activeElement.blur()")
    await page.wait_for_timeout(800)
    shown.append(await family.locator(".column").screenshot())
    shown.insert(0, await first.locator(".column").screenshot())
    join([Image.open(io.BytesIO(each)).convert("RGB") for each in shown]).save(out / "results.png", optimize=True)
    for dismiss in reversed(await page.get_by_role("button", name="Dismiss").all()):
        await dismiss.click()
    await page.set_viewport_size({"width": DESK[0], "height": DESK[1]})
    await page.locator(".example").nth(2).click()
    await buttons_of(page.locator(".message", has_text="ducks on a lake").last).wait_for()
    await page.mouse.move(0, 0)
    await page.wait_for_timeout(500)
    await page.screenshot(path=out / "try.png")


async def answers(page: Page, out: Path) -> None:
    """Take the pictures of two commands: the pairs of a comparison, and what a search answers."""
    await page.get_by_role("button", name="Ada Member").click()
    await page.set_viewport_size({"width": NARROW[0], "height": NARROW[1]})
    await command(page, "/imagine", "a fox in the snow", {})
    await buttons_of(page.locator(".message", has_text="a fox in the snow").last).wait_for()
    # The index of search is a second behind.
    await page.wait_for_timeout(2000)
    await command(page, "/search", "", {"query": "a fox in the snow"})
    found = page.locator(".hidden-message", has=page.get_by_role("button", name="Show 1"))
    await found.locator("img").last.wait_for()
    await page.mouse.move(0, 0)
    await page.evaluate("document.activeElement.blur()")
    await page.wait_for_timeout(800)
    await found.screenshot(path=out / "search.png")
    await command(
        page, "/compare", "a red fox in the snow", {"first": "--steps 4", "second": "--steps 16", "images": "2"}
    )
    vote = page.locator(".message", has=page.get_by_role("button", name="End the vote"))
    await vote.locator("img.picture, .picture img").first.wait_for()
    source = await vote.locator("img.picture, .picture img").first.get_attribute("src")
    assert source is not None
    pairs = await page.request.get(urljoin(page.url, source))
    with Image.open(io.BytesIO(await pairs.body())) as sheet:
        sheet.convert("RGB").resize((sheet.width // 2, sheet.height // 2)).save(out / "compare.png", optimize=True)


async def command(page: Page, name: str, first: str, options: dict[str, str]) -> None:
    """Send a command with its first option and others."""
    await page.locator("#say").focus()
    await page.keyboard.type(name)
    await page.keyboard.press("Enter")
    await page.keyboard.type(first)
    for option, value in options.items():
        await page.get_by_label(option, exact=True).or_(page.get_by_role("button", name=f"+ {option}")).first.click()
        await page.keyboard.type(value)
    await page.get_by_role("button", name="Send").click()


def join(pictures: list[Image.Image]) -> Image.Image:
    """Pictures beside each other on the page's own ground."""
    gap = 24
    width = sum(picture.width for picture in pictures) + gap * (len(pictures) + 1)
    sheet = Image.new("RGB", (width, max(picture.height for picture in pictures) + 2 * gap), "#2e2f35")
    left = gap
    for picture in pictures:
        sheet.paste(picture, (left, gap))
        left += picture.width + gap
    return sheet


async def record(out: Path, engine: FakeEngine | None = None, *, only_answers: bool = False) -> None:
    """Write try.gif, try.png, results.png, compare.png and search.png into a folder, or only the last two."""
    async with stage(engine) as page:
        await answers(page, out)
    if only_answers:
        return
    async with stage(engine) as page:
        film = await act(page)
        await screenshots(page, out)
    size = film.save(out / "try.gif")
    print(f"{out / 'try.gif'}: {size / 1e6:.2f} MB")
    if size > MOST_BYTES:
        raise SystemExit(f"The recording is larger than {MOST_BYTES / 1e6:.0f} MB: show less, or with fewer colours.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs"), help="the folder for the pictures")
    parser.add_argument("--only", choices=["answers"], help="take the pictures of /compare and /search alone")
    asked = parser.parse_args()
    asyncio.run(record(asked.out, only_answers=asked.only is not None))


if __name__ == "__main__":
    main()
