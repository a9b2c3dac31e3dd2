"""Many pictures of one request, with the real engine process: permutations, storyboards, variants, animations, films
and contests, each with all of its controls, by everybody, before and after a restart and a kill.
"""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import discord
import numpy as np
import PIL.Image
import pytest
import pytest_asyncio
import simcord

from bot.config import Config, DiscordConfig, LimitsConfig, ModelConfig
from bot.engine.local import LocalEngine
from bot.jobs import ChannelId, Job, JobStatus
from bot.language import lasting
from bot.storage.contests import State
from cogs._buttons import CustomId
from tests.bot.worker.test_cutout import picture
from tests.bot.worker.test_films import PICTURE
from tests.bot.worker.tiny_films import SIDE, make_film_folder
from tests.cogs.test_every_control import Stage
from tests.house import (
    Answers,
    Control,
    Forms,
    House,
    controls,
    described,
    engine_of,
    files_of,
    fill_in,
    last,
    press,
    press_all,
)
from tests.picture_cases import saved

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    home = tmp_path_factory.mktemp("many")
    films = {"words": "WanPipeline", "picture": "LTXImageToVideoPipeline"}
    models = [ModelConfig(name="emoji", source="embedded", width=128, height=128, steps=3, draft_steps=2)]
    models += [
        ModelConfig(name=name, source=str(make_film_folder(home / name, kind)), width=SIDE, height=SIDE, steps=2)
        for name, kind in films.items()
    ]
    limits = LimitsConfig(pace=10**4, depth=1000, quota=10**6)
    discord = DiscordConfig(posts_per_channel=50, ping_after_seconds=0)
    return Config(data=home / "data", models=models, limits=limits, discord=discord, encrypt=False)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(config: Config) -> AsyncIterator[LocalEngine]:
    async with engine_of(config) as engine:
        yield engine


@pytest_asyncio.fixture(loop_scope="module")
async def house(config: Config, engine: LocalEngine, tmp_path: Path) -> AsyncIterator[House]:
    house = House(config.model_copy(update={"data": tmp_path / "life 1"}), engine)
    await house.open()
    yield house
    await house.close()


@dataclass(frozen=True)
class People:
    """The person who asks, a stranger and a moderator."""

    ada: simcord.MemberActor
    eve: simcord.MemberActor
    mod: simcord.MemberActor

    def __iter__(self) -> Iterator[simcord.MemberActor]:
        return iter((self.ada, self.eve, self.mod))


@pytest.fixture
def people(house: House, request: pytest.FixtureRequest) -> People:
    house.room(request.node.name.removeprefix("test_").replace("_", "-")[:90])
    return People(house.member("ada"), house.member("eve"), house.member("mod", moderator=True))


FORMS: Forms = {
    "remix": {"prompt": "a dog"},
    "region": {"prompt": "a hat"},
    "animate": {"prompt": "a dog", "frames": "3"},
    "variants": {"thing": "a dog", "backgrounds": "blue"},
    "panelwords": {"prompt": "a fox runs"},
    "use": {"prompt": "a dog"},
    "report": {"reason": "not nice"},
    "asstyle": {"name": "mine"},
}
STEPS = "--steps 2"
SIX = f"a {{red, green}} {{fox, owl, cat}} {STEPS}"
NOT_YOURS = "Only the person who asked for it, or a member with Manage Server, can cancel this."
EXPORTS = {
    "boardsheet": "PNG 676x874 1",
    "boardpdf": "PDF 3",
    "boardwebp": "WEBP 1000x1000 3",
    "boardgif": "GIF 500x500 3",
}


async def books(house: House, number: int) -> list[Job]:
    """The jobs after one: each was delivered by one message, which is there once, and paid for once.

    All of its pictures are kept whole.
    """
    jobs = await house.since(number)
    assert [(job.status, job.reason) for job in jobs] == [(JobStatus.DELIVERED, None)] * len(jobs)
    shown = [message.id for message in house.channel.history()]
    assert sorted({job.destination.message_id or 0 for job in jobs}) == sorted(shown)
    for job in jobs:
        kept = await house.app.queue.images(job.id)
        assert len(kept) == (1 if job.request.frames else job.request.num_images_per_prompt), job.id
        for image in kept:
            assert described(image.png).endswith(f"{image.width}x{image.height} {max(job.request.frames, 1)}"), job.id
    return jobs


async def check_bill(house: House, who: simcord.MemberActor, jobs: Sequence[Job]) -> None:
    """What a person has used of their quota is what these jobs of theirs took."""
    policy = house.app.policy
    ruling = await policy.ruling(house.requester(who), [ChannelId(house.channel.id)])
    rows = await house.app.database.fetch_all("SELECT id, used_seconds FROM jobs")
    used = {row["id"]: row["used_seconds"] for row in rows}
    mine = [used[job.id] for job in jobs if job.requester.user_id == who.id]
    assert all(seconds is not None and seconds >= 0 for seconds in mine)
    assert sum(mine) > 0
    assert (await policy.allowance(ruling)).used == pytest.approx(sum(mine))


async def held(house: House, number: int) -> str:
    """In words, how long the jobs after one were expected to take together."""
    rows = await house.app.database.fetch_all("SELECT held_seconds FROM jobs WHERE id > ?", (number,))
    return str(lasting(sum(row["held_seconds"] for row in rows)))


async def menus(house: House, who: simcord.MemberActor, post: discord.Message) -> dict[str, Any]:
    """What a person is told first by each entry of the menu of a message."""
    said = {}
    for name in ("Info", "Use this picture", "Change this picture", "Upscale", "Report"):
        result = await who.context_menu(house.channel, name, house.message(post.id))
        if result.response is not None and result.response.content == "Which picture?":
            result = await who.click(result.response, label="1")
        if result.modal:
            result = await fill_in(who, result, FORMS)
        # A picture comes after a promise.
        said[name] = last(result) if name == "Change this picture" else result.response or last(result)
        assert "Something broke" not in said[name].content, name
    return said


async def check_menus(house: House, people: People, who: simcord.MemberActor, post: discord.Message, job: Job) -> None:
    """The entries of the menu of a result do for everybody what they say; only its requester does not report it."""
    said = await menus(house, who, post)
    assert said["Info"].content.startswith(f"**Request {job.id}** by <@{people.ada.id}>")
    assert len(said["Change this picture"].attachments) == len(await house.app.queue.pictures(job.id))
    assert "again" in [each.action for each in controls(said["Change this picture"])]
    reported = ("This is your own result",) if who is people.ada else ("Reported to the", "You have reported this")
    assert said["Report"].content.startswith(reported)
    for name in ("Use this picture", "Upscale"):
        assert f" — <@{who.id}>\n" in said[name].content, (name, said[name].content)
        assert not said[name].ephemeral


async def test_permutations(house: House, people: People) -> None:
    ada, eve, _ = people
    start = await house.newest()
    bill = (await ada.slash(house.channel, "imagine", prompt=SIX)).response
    with house.paused():
        asked = bill.content
        await ada.click(bill, label="Paint all")
        assert asked.startswith(f"6 pictures, about {await held(house, start)} of your ")
        first, second = house.posts()
        assert (await eve.click(second, label="Cancel the rest")).response.content == NOT_YOURS
    jobs = await books(house, start)
    pictures = [(await house.app.queue.pictures(job.id))[0] for job in jobs]
    assert len({picture.sha256 for picture in pictures}) == 6
    said = [house.message(each.id).content for each in (first, second)]
    assert [text.partition(" · ")[0].splitlines()[1] for text in said] == ["1. red, fox", "5. green, owl"]
    alt = [file.description for each in (first, second) for file in house.message(each.id).attachments]
    assert alt[4:] == ["5. green, owl: a green owl", "6. green, cat: a green cat"]
    async for life in house.lives():
        for who in people:
            for message, count in ((first, 4), (second, 2)):
                answers = await press_all(house, who, message, FORMS, depth=1)
                assert answers.files == {"single": ["PNG 128x128 1"] * count}, (life, who.name)
                assert not answers.public
        assert [house.message(each.id).content for each in (first, second)] == said
        for each in jobs:
            assert await files_of(house, house.post(each)) == ["PNG 128x128 1"] * len(house.post(each).attachments)
    # Everything under one of the pictures, by a stranger.
    single = last(await eve.click(second, label="6"))
    answers = await press_all(house, eve, single, FORMS, depth=2, never=("alike", "lookalike"))
    made = (await books(house, start))[6:]
    assert len(made) == len(answers.public) == 14
    assert {job.requester for job in made} == {house.requester(eve)}
    sources = {ref.job_id for job in made for ref in await house.app.lineage.sources(job.id)}
    assert sources == {jobs[5].id}
    for who in (ada, eve):
        await check_bill(house, who, await house.since(start))
    await check_deletions(house, people, (first, second), jobs)


async def check_deletions(house: House, people: People, posts: Sequence[discord.Message], jobs: Sequence[Job]) -> None:
    """The last result goes for its requester, and all of the first message for a moderator; a stranger deletes none."""
    ada, eve, mod = people
    first, second = posts
    stage = Stage(house, ada, jobs[5])
    assert "Only the person who asked for this result" in (await stage.press(eve, "delete")).response.content
    await stage.press(ada, "delete")
    await house.seen(lambda: len(house.message(second.id).attachments) == 1)
    assert "6. green, cat · 🗑️ deleted" in house.message(second.id).content
    await Stage(house, ada, jobs[0]).press(mod, "delete")
    await house.seen(lambda: not house.message(first.id).attachments)
    await house.kill()
    assert house.message(first.id).content.count("🗑️ deleted") == 4
    left = [len(await house.app.queue.pictures(job.id)) for job in jobs]
    assert left == [0, 0, 0, 0, 1, 0]


async def test_what_is_cancelled_of_many_costs_nothing_and_what_runs_is_stopped(house: House, people: People) -> None:
    ada, eve, mod = people
    start, count = await house.newest(), 0
    asked = {
        "imagine": {"prompt": SIX},
        "animate": {"prompt": f"a fox {STEPS}", "to": "an owl", "frames": 4},
        "film": {"prompt": "a fox", "frames": 9},
    }
    with house.paused():
        for command, options in asked.items():
            for who in (mod, ada):
                answer = (await ada.slash(house.channel, command, **options)).response
                label = "Cancel"
                if command == "imagine":
                    await ada.click(answer, label="Paint all")
                    answer, label = house.posts()[-1], "Cancel the rest"
                assert (await eve.click(answer, label=label)).response.content == NOT_YOURS
                pressed = await who.click(answer, label=label)
                if who is mod or command == "imagine":
                    assert pressed.response.content.startswith("Cancelled. Case" if who is mod else "Cancelled")
                else:
                    # The message of the request itself says it, and nothing else is sent.
                    assert not pressed.response.ephemeral
                    assert not pressed.followups
                count += 6 if command == "imagine" else 1
    jobs = await house.since(start)
    assert [job.status for job in jobs] == [JobStatus.CANCELLED] * count
    rows = await house.app.database.fetch_all("SELECT used_seconds, pardoned FROM jobs WHERE id > ?", (start,))
    assert [row["pardoned"] for row in rows] == [1] * 6 + [0] * 6 + [1, 0, 1, 0]
    assert sum(row["used_seconds"] for row in rows) == pytest.approx(0, abs=0.1)
    async for _ in house.lives():
        assert all(not controls(message) for message in house.posts())
        assert await house.newest() == jobs[-1].id


async def test_storyboard(house: House, people: People) -> None:
    ada, eve, mod = people
    start = await house.newest()
    form = await ada.slash(house.channel, "storyboard")
    panels = ["a fox wakes", "a fox eats", "a fox sleeps"]
    story = {"title": "A day", "panels": "\n".join(panels), "look": f"ink {STEPS} --seed 7"}
    bill = (await ada.submit_modal(form, story)).response
    with house.paused():
        asked = bill.content
        await ada.click(bill, label="Paint all")
        assert asked.startswith(f"3 pictures, about {await held(house, start)} of your ")
        (board,) = house.posts()
        (menu,) = [each.custom_id for each in controls(board) if each.action == "panel"]
        waiting = await ada.select(board, ["2"], custom_id=menu)
        form = await ada.click(waiting.response, label="Edit words")
        assert "not painted yet" in (await fill_in(ada, form, FORMS)).response.content
        assert (await eve.click(board, label="Cancel the rest")).response.content == NOT_YOURS
    first, count, kinds = (await books(house, start))[0], 3, [*EXPORTS]
    assert {job.request.seed for job in await house.since(start)} == {7}
    old_menu = (await ada.select(board, ["3"], custom_id=menu)).response
    async for life in house.lives():
        for at, who in enumerate(people):
            # A file takes a process of its own, so later each person asks for some of them.
            others = kinds[at + 1 : at + 3] if life != "first" else []
            exported = await press_all(house, who, board, FORMS, depth=1, never=("panel", *others))
            assert exported.files == {kind: [EXPORTS[kind]] for kind in kinds if kind not in others}
            assert not exported.public
        for who in (eve, mod):
            assert (await who.select(board, ["1"], custom_id=menu)).response.content == MINE
            for action in ("panelagain", "panelvary", "panelwords", "panelpicture", "panelearlier", "panellater"):
                forged = await Stage(house, ada, first).use(who, f"a2:{action}:{first.id}:1", house.message(board.id))
                assert forged.response.content == MINE, (life, action)
        shown, answers = (await ada.select(board, ["2"], custom_id=menu)).response, Answers()
        for each in controls(shown):
            await press(house, ada, shown, each, FORMS, answers)
            count += each.action in ("panelagain", "panelvary", "panelwords")
            assert len(await books(house, start)) == count, each
        assert answers.files["panelpicture"] == ["PNG 128x128 1"]
        panels[1] = "a fox runs"
        await check_board(house, board, first, panels)
    moved = await ada.click(old_menu, label="Earlier")
    assert moved.response.content == "Moved."
    panels[1], panels[2] = panels[2], panels[1]
    await check_board(house, board, first, panels)
    await check_bill(house, ada, await books(house, start))


async def check_board(house: House, board: discord.Message, first: Job, panels: Sequence[str]) -> None:
    """The message of a storyboard shows these panels in this order, with the newest request of each."""

    def is_shown() -> bool:
        lines = house.message(board.id).content.splitlines()[1 : 1 + len(panels)]
        return [line.partition(" · ")[0] for line in lines] == [f"{at}. {each}" for at, each in enumerate(panels, 1)]

    await house.seen(is_shown)
    rows = await house.app.panels.of(first.series_id or 0)
    assert [row.words for row in rows] == list(panels)
    shown = house.message(board.id)
    for row in rows:
        job = await house.app.queue.get(row.job_id or first.id)
        assert job is not None
        assert job.request.prompt == f"{row.words}, ink"
        assert f"`/show id:{job.id}`" in shown.content
    assert await files_of(house, shown) == ["PNG 676x676 1"]
    (file,) = shown.attachments
    assert file.description == "Storyboard: A day. " + " ".join(f"{at}. {each}" for at, each in enumerate(panels, 1))


async def test_variants(house: House, people: People) -> None:
    ada, eve, _ = people
    start = await house.newest()
    lists = {"backgrounds": "blue, green", "colours": "yellow", "angles": "side"}
    given = ("square.png", saved(picture(), "PNG"))
    bill = (
        await ada.slash(house.channel, "variants", picture=given, thing="a red square", look=STEPS, **lists)
    ).response
    with house.paused():
        asked = bill.content
        await ada.click(bill, label="Paint all")
        assert asked.startswith(f"4 pictures, about {await held(house, start)} of your ")
        assert (await eve.click(house.posts()[0], label="Cancel the rest")).response.content == NOT_YOURS
    jobs = await books(house, start)
    (post,) = house.posts()
    sizes = ["PNG 240x240 1"] * 3 + ["PNG 128x128 1"]
    assert await files_of(house, post) == sizes
    labels = ["background: blue", "background: green", "colour: yellow", "angle: side"]
    assert [file.description.partition(": a ")[0] for file in post.attachments] == [
        f"{at}. {label}" for at, label in enumerate(labels, 1)
    ]
    said, presser = post.content, iter(people)
    async for life in house.lives():
        for who in people:
            answers = await press_all(house, who, post, FORMS, depth=1)
            assert answers.files == {"single": sizes, "seriessheet": ["PNG 676x874 1"]}, (life, who.name)
        assert house.message(post.id).content == said
        await check_menus(house, people, next(presser), post, jobs[0])
    await check_bill(house, ada, await books(house, start))
    await check_kept(house, jobs)
    wild = PIL.Image.fromarray(np.random.default_rng(0).integers(0, 256, (240, 240, 3), "uint8"))
    given = ("wild.png", saved(wild, "PNG"))
    bill = (await ada.slash(house.channel, "variants", picture=given, thing="a cup", backgrounds="blue")).response
    await ada.click(bill, label="Paint all")
    failed = (await house.since(start))[-1]
    assert failed.status is JobStatus.FAILED
    assert "background is not plain" in house.post(failed).content


async def check_kept(house: House, jobs: Sequence[Job]) -> None:
    """The thing stays where its background is repainted, and the background where the thing is."""
    given = np.asarray(picture(), int)
    for job, box in zip(jobs[:3], (slice(70, 95), slice(70, 95), slice(0, 50)), strict=True):
        (image,) = await house.app.queue.read_painted(await house.app.queue.pictures(job.id))
        made = np.asarray(PIL.Image.open(io.BytesIO(image.png)).convert("RGB"), int)
        assert made.shape == given.shape
        assert np.array_equal(made[box, 70:170], given[box, 70:170]), job.label


@pytest.mark.parametrize("kind", ["animation", "film", "film of a picture"])
async def test_what_moves(house: House, people: People, kind: str) -> None:
    ada, eve, mod = people
    start = await house.newest()
    command, options, frames, size, alt = {
        "animation": ("animate", {"to": "an owl"}, 4, "128x128", "A morph from a red fox to an owl in 4 frames"),
        "film": ("film", {}, 9, "32x32", "A film of 9 frames: a red fox"),
        "film of a picture": ("film", {"picture": ("a.png", PICTURE)}, 9, "32x32", "A film of 9 frames: a red fox"),
    }[kind]
    await ada.slash(house.channel, command, prompt=f"a red fox {STEPS} --seed 7", frames=frames, **options)
    (job,) = await books(house, start)
    post = house.post(job)
    assert [file.description for file in post.attachments] == [alt, alt]
    webp, mp4 = await files_of(house, post)
    assert webp == f"WEBP {size} {frames}"
    assert mp4.startswith(f"MP4 {size} ")
    presser = iter(people)
    async for life in house.lives():
        # Each paints it again and opens the menu of the message in one life. What takes a process of its own is tried
        # elsewhere.
        chosen = next(presser)
        for who in people:
            slow = ("family", "alike", "lookalike", "delete", *(() if who is chosen else ("again", "spoiler")))
            answers = await press_all(house, who, post, FORMS, depth=2, never=slow)
            assert answers.public == ["again"] * (who is chosen), (life, who.name)
            assert answers.files["original"] == [webp]
            assert ("asstyle" in answers.words) is (who is mod)
            assert ("spoiler" in answers.words) is (who is chosen and who is not eve)
            copied = answers.words["prompt"][0]
            assert f"/{command} prompt:a red fox --size {size}" in copied
            assert f" frames:{frames}" in copied
            assert (" to:an owl " in copied) is (kind == "animation")
        said = await menus(house, chosen, post)
        assert said["Info"].content.startswith(f"**Request {job.id}** by <@{ada.id}>")
        assert sorted(await files_of(house, house.message(post.id))) == sorted([webp, mp4])
    made = await books(house, start)
    films = [each for each in made if each.request.frames]
    assert [each.requester.user_id for each in films] == [ada.id, *(who.id for who in people)]
    for each in films[1:]:
        assert replace(each.request, seed=7, end_seed=None) == replace(job.request, end_seed=None)
        assert (await files_of(house, house.post(each)))[0] == webp
    await check_bill(house, ada, made)
    stage = Stage(house, ada, job)
    assert "Only the person who asked for this result" in (await stage.press(eve, "delete")).response.content
    await stage.press(mod, "delete")
    await house.seen(lambda: not house.message(post.id).attachments)
    assert await house.app.queue.pictures(job.id) == []


async def test_a_kill_in_the_middle_of_everything(house: House, people: People) -> None:
    ada, eve, mod = people
    start = await house.newest()
    with house.paused():
        await ada.click((await ada.slash(house.channel, "imagine", prompt=SIX)).response, label="Paint all")
        form = await eve.slash(house.channel, "storyboard")
        story = {"title": "A day", "panels": "a fox wakes\na fox eats\na fox sleeps", "look": STEPS}
        await eve.click((await eve.submit_modal(form, story)).response, label="Paint all")
        given = ("square.png", saved(picture(), "PNG"))
        asked = {"picture": given, "thing": "a red square", "look": STEPS, "backgrounds": "blue, green"}
        await mod.click((await mod.slash(house.channel, "variants", **asked)).response, label="Paint all")
        await ada.slash(house.channel, "animate", prompt=f"a red fox {STEPS}", to="an owl", frames=5)
        await mod.slash(house.channel, "film", prompt=f"a red fox {STEPS}", frames=9)
    shown = {message.id for message in house.channel.history()}
    # Something is shown, something is being painted, and something waits.
    await house.until(
        lambda: house.app.database.fetch_all("SELECT 1 FROM jobs WHERE id > ? AND posted_at IS NOT NULL", (start,))
    )
    await house.kill(engine=True)
    jobs = await books(house, start)
    assert len(jobs) == 6 + 3 + 2 + 1 + 1
    assert {message.id for message in house.channel.history()} == shown
    assert {job.attempt for job in jobs} <= {1, 2}
    assert [job.deaths for job in jobs] == [0] * len(jobs), "a kill of the bot costs no attempt"
    files = {each.id: await files_of(house, each) for each in house.posts()}
    assert sorted(map(len, files.values())) == [1, 2, 2, 2, 2, 4]
    for who in people:
        await check_bill(house, who, jobs)


async def test_a_strangers_picture_waits_for_no_animation_and_no_storyboard(house: House, people: People) -> None:
    """A quarter of the places is kept for people with nothing in the engine, and then each forward has their rows."""
    ada, eve, _ = people
    start = await house.newest()
    form = await ada.slash(house.channel, "storyboard")
    await ada.slash(house.channel, "animate", prompt="a red fox --steps 5", to="an owl", frames=24)
    story = {"title": "A day", "panels": "\n".join(f"a fox {at}" for at in range(8)), "look": "--steps 5"}
    await ada.click((await ada.submit_modal(form, story)).response, label="Paint all")
    await house.until(
        lambda: house.app.database.fetch_all("SELECT 1 FROM jobs WHERE id > ? AND started_at IS NOT NULL", (start,))
    )
    await eve.slash(house.channel, "imagine", prompt=f"an owl {STEPS}")
    jobs = await books(house, start)
    *hers, stranger = sorted(jobs, key=lambda job: job.requester.user_id == eve.id)
    before = [job for job in hers if job.painted_at is not None and job.painted_at < stranger.painted_at]
    assert hers[0] not in before, "the animation goes on for longer"
    assert len(before) <= 6, "those that were in the engine, of nine"
    assert all(job.started_at > stranger.started_at for job in hers[6:]), "a place was kept"


async def test_contest(house: House, people: People) -> None:
    ada, eve, mod = people
    best = house.guild.create_text_channel("best")
    members = [ada, *(house.member(name) for name in ("bob", "cleo", "dan"))]
    start = await house.newest()
    for number, member in enumerate(members):
        await member.slash(house.channel, "imagine", prompt=f"a {COLOURS[number]} fox {STEPS}")
    jobs = await books(house, start)
    for command in ("start", "end", "cancel"):
        options = {"theme": "x", "entries": "1d"} if command == "start" else {"contest": 1}
        refused = await eve.slash(house.channel, f"contest {command}", **options)
        assert "Manage Server" in refused.response.content
    for number in (1, 2):
        await mod.slash(house.channel, "contest start", theme=f"foxes {number}", entries="2d", votes="1d", gallery=best)
    await house.until(partial(shows, house, 2, State.ENTRIES))
    cancelled, message = house.posts()[-2:]
    await mod.slash(house.channel, "contest cancel", contest=1)
    await house.until(partial(shows, house, 1, State.CANCELLED))
    assert house.message(cancelled.id).content.endswith("A moderator cancelled this contest.")
    # Entries: by the menu and by the command, before and after a restart and a kill; the last one counts.
    async for life in house.lives():
        for who in (eve, mod):
            answers = await press_all(house, who, message, FORMS)
            assert answers.words["contestenter"][0].startswith("You have no result on this server yet."), life
            assert answers.words["contestleave"] == ["You have no picture in this contest."]
        for number, member in enumerate(members):
            answers = await press_all(house, member, message, FORMS, never=("contestleave",))
            assert answers.words["contestpick"][0].startswith(
                f"Picture 1 of request {jobs[number].id} is in contest 2."
            )
        left = await members[3].click(message, label="Withdraw my picture")
        assert left.response.content == "Your picture is no longer in the contest."
        entered = await members[3].slash(house.channel, "contest enter", result=str(jobs[3].id))
        assert "is in contest 2. Nobody sees" in entered.response.content
        assert await entries(house) == {member.id: job.id for member, job in zip(members, jobs, strict=True)}
    # The time of entries ends while the bot is away.
    house.ahead = timedelta(days=2, minutes=1)
    await house.restart()
    await house.until(partial(shows, house, 2, State.VOTING))
    orders: dict[int, list[int]] = {}
    async for life in house.lives():
        for at, (voter, wish) in enumerate(zip([*members, eve, mod], WISHES, strict=True)):
            if life != ("restarted", "killed", life)[at % 3] and life != "first":
                # The pictures are drawn by a process of its own, so later only some of the voters look again.
                continue
            paper, wanted = await ballot(house, voter, message), await entry_of(house, members[wish])
            by_entry = {entry_number(each): each for each in controls(paper)}
            assert orders.setdefault(voter.id, [*by_entry]) == [*by_entry], (life, "the order of a person stays")
            assert len(by_entry) == (3 if voter in members else 4), "one's own picture is not on the ballot"
            if voter is members[wish]:
                forged = f"a2:contestvote:{wanted}:1"
                told = await Stage(house, ada, jobs[0]).use(voter, forged, house.message(message.id))
                assert told.response.content == "This is your own picture. Vote for another one."
                continue
            told = await voter.click(paper, custom_id=by_entry[wanted].custom_id)
            if life != "first":
                assert told.response.content.startswith("You have no vote now."), "a second press takes it back"
                told = await voter.click(paper, custom_id=by_entry[wanted].custom_id)
            number = [*by_entry].index(wanted) + 1
            assert told.response.content.startswith(f"Your vote is for picture {number}."), life
    assert len({tuple(order) for order in orders.values()}) > 3, "each person has an order of their own"
    rows = await house.app.database.fetch_all("SELECT user_id FROM contest_votes")
    assert len(rows) == len({row["user_id"] for row in rows}) == 5
    house.ahead = timedelta(days=4)
    await house.restart()
    await house.until(partial(shows, house, 2, State.COUNTED))
    async for _ in house.lives():
        await check_winners(house, message, members[1:3], best)
    assert await house.newest() == jobs[-1].id


async def ballot(house: House, voter: simcord.MemberActor, message: discord.Message) -> Any:
    """The pictures that a person chooses from: one sheet of all of them, with no names and no counts."""
    answers = Answers()
    (button,) = [each for each in controls(house.message(message.id)) if each.action == "contestballot"]
    paper = await press(house, voter, message, button, FORMS, answers)
    assert len(answers.files["contestballot"]) == 1
    assert "<@" not in paper.content
    return paper


async def check_winners(
    house: House, message: discord.Message, winners: Sequence[simcord.MemberActor], best: simcord.ChannelHandle
) -> None:
    """A tie is told as one, once, and pings those who won alone; their pictures are in the gallery once."""
    shown = house.message(message.id)
    assert "🏆 A tie: 2 pictures share the first place, with 2 of 5 votes each." in shown.content
    assert [line[: line.index(">") + 1] for line in shown.content.splitlines() if line.startswith("<@")] == [
        who.mention for who in winners
    ]
    assert controls(shown) == []
    assert len([each for each in house.channel.history() if each.content.endswith("Congratulations!")]) == 1
    sent = [each.json for each in house.env.http_requests if each.method == "POST" and each.json]
    pinged = [
        allowed["users"]
        for each in sent
        if str(each.get("content", "")).startswith("**Contest 2")
        and (allowed := each.get("allowed_mentions") or {}).get("users")
    ]
    assert [sorted(map(int, people)) for people in pinged] == [sorted(who.id for who in winners)]
    await house.seen(lambda: len(best.history()) == 2)
    for copy in best.history():
        assert await files_of(house, copy) == ["PNG 128x128 1"]
    assert await house.app.database.fetch_all("SELECT * FROM contest_votes") == []
    assert set(await entries(house)) == {who.id for who in winners}, "of the others nothing is kept"


async def shows(house: House, number: int, state: State) -> bool:
    """Whether a contest is in a state, and its messages say so."""
    contest = await house.app.contests.get(number)
    return contest is not None and contest.state is state and contest.shown == contest.changed


async def entries(house: House) -> dict[int, int]:
    """Who entered which job."""
    rows = await house.app.database.fetch_all("SELECT user_id, job_id FROM contest_entries WHERE contest_id = 2")
    return {row["user_id"]: row["job_id"] for row in rows}


async def entry_of(house: House, who: simcord.MemberActor) -> int:
    """The number of the entry of a person."""
    (row,) = await house.app.database.fetch_all("SELECT id FROM contest_entries WHERE user_id = ?", (who.id,))
    return int(row["id"])


def entry_number(vote: Control) -> int:
    """The entry that a button of a ballot is for."""
    known = CustomId.parse(vote.custom_id)
    assert known is not None
    return known.about.job_id


COLOURS = ("red", "green", "blue", "yellow")
WISHES = (1, 2, 2, 1, 2, 0)
"""For whose picture each voter wants to vote; the third one's wish is their own picture."""
MINE = "Only the person who asked for this storyboard can change it."
