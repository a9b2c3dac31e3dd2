"""Many pictures of one request, with the real engine process: permutations, storyboards, variants, animations, films
and contests, each with all of its controls, by everybody, before and after a restart and a kill.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass

import pytest
import pytest_asyncio
import simcord

from bot.config import Config, DiscordConfig, LimitsConfig, ModelConfig
from bot.engine.local import LocalEngine
from bot.jobs import ChannelId, Job, JobStatus
from tests.bot.worker.tiny_films import SIDE, make_film_folder
from tests.house import Forms, House, described, engine_of, files_of, press_all

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
    return Config(data=home / "life 1", models=models, limits=limits, discord=discord, encrypt=False)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(config: Config) -> AsyncIterator[LocalEngine]:
    async with engine_of(config) as engine:
        yield engine


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(config: Config, engine: LocalEngine) -> AsyncIterator[House]:
    house = House(config, engine)
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
    "report": {"reason": "not nice"},
    "asstyle": {"name": "mine"},
}
MENUS = ("Info", "Use this picture", "Edit region", "Upscale", "Report")


async def books(house: House, number: int, *, aside: int = 0) -> list[Job]:
    """The jobs after one, each delivered by one message that shows it, with all of its pictures kept, and paid for.

    `aside` messages of the channel show no result.
    """
    jobs = await house.since(number)
    rows = await house.app.database.fetch_all(
        "SELECT id, used_seconds, held_seconds, pardoned, attempt FROM jobs WHERE id > ?", (number,)
    )
    assert [(job.status, job.reason) for job in jobs] == [(JobStatus.DELIVERED, None)] * len(jobs)
    for row in rows:
        assert row["used_seconds"] >= 0, row["id"]
        assert row["held_seconds"] > 0, row["id"]
        assert not row["pardoned"]
    posts = {job.destination.message_id for job in jobs}
    shown = house.channel.history()
    assert {message.id for message in shown} >= posts
    assert len(shown) == len(posts) + aside, [message.content for message in shown]
    for job in jobs:
        kept = await house.app.queue.images(job.id)
        assert len(kept) == (1 if job.request.frames else job.request.num_images_per_prompt), job.id
        for image in kept:
            assert described(image.png).endswith(f" {max(job.request.frames, 1)}"), job.id
    return jobs


async def spent(house: House, who: simcord.MemberActor) -> float:
    """GPU seconds of their quota that a person has used."""
    policy = house.app.policy
    ruling = await policy.ruling(house.requester(who), [ChannelId(house.channel.id)])
    return (await policy.allowance(ruling)).used


async def used(house: House, jobs: Sequence[Job]) -> float:
    """GPU seconds that jobs have used by their rows."""
    rows = await house.app.database.fetch_all("SELECT id, used_seconds FROM jobs")
    return sum(row["used_seconds"] for row in rows if row["id"] in {job.id for job in jobs})


async def test_permutations(house: House, people: People) -> None:
    ada, eve, mod = people
    start = await house.newest()
    bill = await ada.slash(house.channel, "imagine", prompt="a {red, green} {fox, owl, cat} --steps 2")
    assert bill.response.content.startswith("6 pictures, about ")
    with house.paused():
        await ada.click(bill.response, label="Paint all")
        first, second = house.posts()
        refused = await eve.click(second, label="Cancel the rest")
        assert "Only the person who asked for it" in refused.response.content
        for who, words in ((mod, "Cancelled. Case"), (ada, "Cancelled 6 requests.")):
            bill = await ada.slash(house.channel, "imagine", prompt="a {red, green} {fox, owl, cat} --steps 2")
            await ada.click(bill.response, label="Paint all")
            pressed = await who.click(house.posts()[-1], label="Cancel the rest")
            assert pressed.response.content.startswith(words)
    jobs = await house.since(start)
    assert [job.status for job in jobs[6:]] == [JobStatus.CANCELLED] * 12
    rows = await house.app.database.fetch_all("SELECT used_seconds, pardoned FROM jobs WHERE id > ?", (jobs[5].id,))
    assert [tuple(row) for row in rows] == [(0, 1)] * 6 + [(0, 0)] * 6
    before = [house.message(each.id).content for each in (first, second)]
    async for life in house.lives():
        for who in people:
            for message, count in ((first, 4), (second, 2)):
                answers = await press_all(house, who, message, FORMS, depth=1)
                assert answers.files == {"single": ["PNG 128x128 1"] * count}, (life, who.name)
                assert not answers.public
                assert await files_of(house, house.message(message.id)) == ["PNG 128x128 1"] * count
        assert [house.message(each.id).content for each in (first, second)] == before
    print(await spent(house, ada), await used(house, jobs))
