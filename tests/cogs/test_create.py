"""/imagine at Discord's edge: answers, refusals, and messages that survive what Discord does to them."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import discord
import pytest
import simcord

from bot.config import PROMPT_LIMIT, Config, DiscordConfig, LimitsConfig
from bot.delivery import gate, progress
from bot.engine import Event, Finished, Order
from bot.engine.fake import FakeEngine
from bot.errors import PaintFailed, StorageError, StorageFull, UserError
from bot.jobs import ChannelId, Destination, JobId, JobStatus, to_text
from bot.policy import limits
from bot.queue import dispatcher
from bot.requests import admission
from bot.requests.options import Options
from bot.responses import BUSY_SECONDS, OLD_SECONDS
from bot.storage.queue import Queue
from bot.storage.rules import Rules
from bot.storage.usage import spent_by
from cogs import _words
from cogs.create import Create
from tests.conftest import PATIENCE_SECONDS, Workshop


async def test_the_answer_shows_the_place_and_a_cancel_button(workshop: Workshop, engine: FakeEngine) -> None:
    engine.open.clear()
    ada, grace = workshop.member("ada"), workshop.member("grace")
    first = await ada.slash(workshop.channel, "imagine", prompt="one")
    await workshop.reached((await workshop.jobs())[0].id, JobStatus.RUNNING)
    second = await ada.slash(workshop.channel, "imagine", prompt="two")
    third = await grace.slash(workshop.channel, "imagine", prompt="three")

    assert "place 1" in first.response.content
    assert "place 1, starts in a moment" in second.response.content
    # Grace had no turn yet, so she goes before Ada's second request.
    assert "place 1" in third.response.content
    engine.open.set()
    await workshop.ended(3)
    assert [order.request.prompt for order in engine.orders] == ["one", "three", "two"]


async def test_a_result_carries_everything_needed_to_paint_it_again(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    asked = await ada.slash(workshop.channel, "imagine", prompt="a cat --seed 7 --no dogs --steps 5", images=3)
    await workshop.ended()
    message = workshop.message(asked.response.id)

    assert len(message.attachments) == 3
    assert {attachment.description for attachment in message.attachments} == {"a cat"}
    for fact in ("a cat", f"<@{ada.id}>", "seeds `7`–`9`", "model `emoji`", "128×128", "5 steps", "without dogs"):
        assert fact in message.content


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"prompt": "   "}, "Say what to paint"),
        ({"prompt": "x" * 4001}, "at most 4,000 are allowed: shorten it by 1."),
        ({"prompt": "a cat --stepz 5"}, "There is no flag “--stepz”. Did you mean --steps?"),
        ({"prompt": "a cat", "model": "emojy"}, "There is no model “emojy”. Did you mean emoji?"),
        ({"prompt": "a cat", "sampler": "eular"}, "There is no sampler “eular”. Did you mean euler?"),
        ({"prompt": "a cat", "aspect": "wide"}, "neither a shape like 16:9 nor a size like 128x128"),
        ({"prompt": "a cat", "seed": 2**40}, "Seeds go from 0 to 4,294,967,295"),
    ],
)
async def test_what_cannot_be_painted_is_refused_to_the_asker_alone(
    workshop: Workshop, options: dict[str, object], words: str
) -> None:
    refused = await workshop.member("ada").slash(workshop.channel, "imagine", **options)

    assert refused.ephemeral
    assert words in refused.response.content
    assert len(refused.response.content) <= 2000
    assert await workshop.jobs() == []


async def test_a_refusal_hands_the_prompt_back(workshop: Workshop) -> None:
    refused = await workshop.member("ada").slash(workshop.channel, "imagine", prompt="a `cat`", model="none")
    assert "```\na `cat`\n```" in refused.response.content


@pytest.mark.parametrize("prompt", ["a cat " * 900, "🪿" * 4001, "``" * 2999, "x" * 2000])
async def test_a_prompt_that_is_too_long_for_a_message_is_handed_back_whole_as_a_file(
    workshop: Workshop, prompt: str
) -> None:
    refused = await workshop.member("ada").slash(workshop.channel, "imagine", prompt=prompt, model="none")
    assert "Your prompt is in the file." in refused.response.content
    (file,) = refused.response.attachments
    assert file.filename == "prompt.txt"
    assert (await file.read()).decode() == prompt


@pytest.mark.parametrize("prompt", ["a cat " * 660, "🪿" * 4000, "(" * 4000, "`" * 4000])
async def test_a_prompt_of_4000_characters_is_painted_and_every_message_fits(
    workshop: Workshop, engine: FakeEngine, prompt: str
) -> None:
    ada = workshop.member("ada")
    asked = await ada.slash(workshop.channel, "imagine", prompt=prompt, negative_prompt=prompt)
    (job,) = await workshop.ended()
    assert job.status is JobStatus.DELIVERED
    assert job.request.prompt == prompt.strip()
    message = workshop.message(asked.response.id)
    assert len(message.content.encode("utf-16-le")) // 2 <= 2000
    assert all(len(picture.description.encode("utf-16-le")) // 2 <= 1024 for picture in message.attachments)


def test_the_slash_command_takes_a_whole_prompt() -> None:
    texts = [option for option in Create.imagine.parameters if option.name in ("prompt", "negative_prompt")]
    assert len(texts) == 2
    assert all(option.max_value is None or option.max_value >= PROMPT_LIMIT for option in texts)


async def test_a_clamped_value_is_painted_and_a_note_says_so(workshop: Workshop) -> None:
    asked = await workshop.member("ada").slash(
        workshop.channel, "imagine", prompt="a cat", steps=100_000, aspect="9000x63"
    )
    (job,) = await workshop.ended()

    assert (job.request.num_inference_steps, job.request.width, job.request.height) == (150, 256, 64)
    (note,) = asked.followups
    assert note.ephemeral
    assert "steps 100000 became 150" in note.content
    assert "size 9000×63 became 256×64" in note.content


async def test_a_prompt_pings_nobody_and_formats_nothing(workshop: Workshop) -> None:
    ada, grace = workshop.member("ada"), workshop.member("grace")
    prompt = f"@everyone <@{grace.id}> **loud** [safe](https://evil.example) `code`"
    asked = await ada.slash(workshop.channel, "imagine", prompt=prompt)
    await workshop.ended()
    message = workshop.message(asked.response.id)

    assert not message.mention_everyone
    assert grace.id not in [user.id for user in message.mentions]
    assert "](https://" not in message.content
    assert "@everyone" not in message.content
    spoken = [
        entry.json.get("data", entry.json) for entry in workshop.env.http_requests if isinstance(entry.json, dict)
    ]
    allowed = [body.get("allowed_mentions") for body in spoken if body.get("content")]
    assert len(allowed) > 1, "the answer and its edit"
    assert allowed == [{"parse": []}] * len(allowed), "and Discord is told so, whatever the words are"


async def test_a_missing_permission_is_named_before_anything_is_queued(workshop: Workshop) -> None:
    bot = workshop.guild.me
    mute = discord.PermissionOverwrite(attach_files=False, add_reactions=False)
    channel = workshop.guild.create_text_channel("quiet", overwrites={bot: mute})
    refused = await workshop.member("ada").slash(channel, "imagine", prompt="a cat")

    assert refused.ephemeral
    assert "because I lack these permissions here: Add Reactions and Attach Files" in refused.response.content
    assert await workshop.jobs() == []


async def test_a_direct_message_is_told_where_to_paint(workshop: Workshop) -> None:
    ada = workshop.env.create_user("ada")
    workshop.guild.add_member(ada, roles=[workshop.members])
    refused = await ada.slash("imagine", prompt="a cat")

    assert "in a channel of a server that we are both on" in refused.response.content
    assert await workshop.jobs() == []


async def test_a_wait_longer_than_the_token_still_ends_in_the_same_message(
    workshop: Workshop, engine: FakeEngine
) -> None:
    engine.open.clear()
    asked = await workshop.member("ada").slash(workshop.channel, "imagine", prompt="a cat")
    await workshop.env.advance_time(timedelta(minutes=20).total_seconds())
    engine.open.set()
    await workshop.ended()

    assert len(workshop.message(asked.response.id).attachments) == 1


async def test_a_deleted_message_is_replaced_by_one_new_message(workshop: Workshop, engine: FakeEngine) -> None:
    engine.open.clear()
    moderator = workshop.member("mod", moderator=True)
    asked = await workshop.member("ada").slash(workshop.channel, "imagine", prompt="a cat")
    first_message_id = asked.response.id
    await moderator.delete(asked.response.message)
    engine.open.set()
    (job,) = await workshop.ended()

    assert job.status is JobStatus.DELIVERED
    (message,) = workshop.channel.history()
    assert message.id == job.destination.message_id != first_message_id
    await moderator.react(message, "👍")
    assert len(await workshop.app.database.fetch_all("SELECT 1 FROM ratings")) == 1


async def date(workshop: Workshop, table: str, column: str, message: discord.Message) -> None:
    """Put a date of every row where the message is: simcord has a clock of its own."""
    await workshop.app.database.execute(f"UPDATE {table} SET {column} = ?", (to_text(message.created_at),))


async def test_an_answer_nobody_noted_before_a_kill_is_found_and_becomes_the_result(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def killed(*_: object) -> None:
        raise StorageError("as good as killed")

    ada = workshop.member("ada")
    with monkeypatch.context() as fault:
        fault.setattr(Queue, "place_message", killed)
        await ada.slash(workshop.channel, "imagine", prompt="a cat")
    here = Destination(ChannelId(workshop.channel.id))
    gate = workshop.app.admission
    await gate.admit(await gate.quote(workshop.requester(ada), Options("a dog"), here))
    assert [job.destination.message_id for job in await workshop.jobs()] == [None, None]
    (answer,) = [message for message in workshop.channel.history() if "a cat" in message.content]
    await date(workshop, "jobs", "asked_at", answer)
    await workshop.restart()
    (job,) = await workshop.ended()

    assert job.destination.message_id == answer.id
    assert len(workshop.message(answer.id).attachments) == 1

    async def only_one() -> bool:
        return [job.request.prompt for job in await workshop.jobs()] == ["a cat"]

    await workshop.until(only_one)


async def test_a_result_posted_anew_just_before_a_kill_is_not_posted_twice(
    workshop: Workshop, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def killed(*_: object) -> None:
        reached.set()
        await asyncio.Event().wait()

    reached = asyncio.Event()
    engine.open.clear()
    moderator = workshop.member("mod", moderator=True)
    asked = await workshop.member("ada").slash(workshop.channel, "imagine", prompt="a cat")
    await moderator.delete(asked.response.message)
    with monkeypatch.context() as fault:
        fault.setattr(Queue, "posted", killed)
        engine.open.set()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await reached.wait()
    (posted,) = workshop.channel.history()
    await date(workshop, "posts", "reposted_at", posted)
    await workshop.restart()
    (job,) = await workshop.ended()

    (message,) = workshop.channel.history()
    assert job.destination.message_id == message.id
    assert len(message.attachments) == 1


async def test_a_deleted_channel_ends_the_job_with_its_reason(workshop: Workshop, engine: FakeEngine) -> None:
    engine.open.clear()
    await workshop.member("ada").slash(workshop.channel, "imagine", prompt="a cat")
    workshop.env.inject_error("*", f"/channels/{workshop.channel.id}/*", status=404, code=10003, times=None)
    engine.open.set()
    (job,) = await workshop.ended()

    assert job.status is JobStatus.FAILED
    assert "10003" in job.reason


def refusing(monkeypatch: pytest.MonkeyPatch, taken: Callable[[list[discord.File]], bool]) -> list[list[str]]:
    """Have Discord refuse files as too large unless `taken` says otherwise; returns what was tried, by name."""
    edit, tried = discord.PartialMessage.edit, []

    async def edited(message: discord.PartialMessage, **changes: object) -> discord.Message:
        if changes.get("attachments"):
            tried.append([file.filename for file in changes["attachments"]])
            if not taken(changes["attachments"]):
                response = type("Response", (), {"status": 413, "reason": "Payload Too Large", "headers": {}})()
                raise discord.HTTPException(response, {"code": 40005, "message": "Request entity too large"})
        return await edit(message, **changes)

    monkeypatch.setattr(discord.PartialMessage, "edit", edited)
    return tried


async def test_pictures_discord_does_not_take_are_said_to_be_too_large(workshop: Workshop, monkeypatch) -> None:
    tried = refusing(monkeypatch, lambda files: False)
    asked = await workshop.member("ada").slash(workshop.channel, "imagine", prompt="a cat")
    (job,) = await workshop.ended()

    assert job.status is JobStatus.FAILED
    message = workshop.message(asked.response.id)
    assert "❌ These pictures are too large for Discord in this channel." in message.content
    assert message.components == []
    assert tried == [[f"atelier-{job.id}-1.png"], [f"atelier-{job.id}-1.webp"]], "encoded smaller once, and no more"


async def test_pictures_too_large_as_png_are_posted_as_webp_with_a_note(workshop: Workshop, monkeypatch) -> None:
    tried = refusing(monkeypatch, lambda files: files[0].filename.endswith(".webp"))
    asked = await workshop.member("ada").slash(workshop.channel, "imagine", prompt="a cat", images=2)
    (job,) = await workshop.ended()

    assert job.status is JobStatus.DELIVERED
    message = workshop.message(asked.response.id)
    assert [attachment.filename for attachment in message.attachments] == [
        f"atelier-{job.id}-1.webp",
        f"atelier-{job.id}-2.webp",
    ]
    assert "Sent as WebP, because the PNG is too large for Discord here" in message.content
    assert len(tried) == 2
    kept = await workshop.app.queue.images(job.id)
    assert [hashlib.sha256(image.png).hexdigest() for image in kept] == [image.sha256 for image in kept], "as painted"


async def test_a_lost_permission_costs_at_most_three_refusals_a_job(workshop: Workshop, engine: FakeEngine) -> None:
    engine.seconds = 4.0
    await workshop.member("ada").slash(workshop.channel, "imagine", prompt="a cat --steps 50")
    workshop.env.inject_error("*", f"/channels/{workshop.channel.id}/*", status=403, code=50013, times=None)
    before = len(workshop.env.http_requests)
    (job,) = await workshop.ended()

    assert (job.status, "50013" in job.reason) == (JobStatus.FAILED, True)
    asked = [entry for entry in workshop.env.http_requests[before:] if "/channels/" in entry.path]
    assert 2 <= len(asked) <= 3, "progress is not shown again where it was refused"


async def test_a_message_discord_does_not_understand_fails_without_the_prompt_in_the_log(
    workshop: Workshop, engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    workshop.env.inject_error("PATCH", f"/channels/{workshop.channel.id}/*", status=400, code=50035, times=None)
    await workshop.member("ada").slash(workshop.channel, "imagine", prompt="a canary")
    (job,) = await workshop.ended()
    assert (job.status, job.reason) == (
        JobStatus.FAILED,
        "Discord answered 400 (code 50035): This is an error of Atelier, not yours.",
    )
    assert "because of a bug" in caplog.text
    assert "canary" not in caplog.text


async def test_a_rating_counts_from_the_moment_the_picture_can_be_seen(workshop: Workshop, monkeypatch) -> None:
    ada, seen = workshop.member("ada"), asyncio.Event()
    add_reaction, go_on = discord.PartialMessage.add_reaction, asyncio.Event()

    async def slowly(message: discord.PartialMessage, emoji: str) -> None:
        await add_reaction(message, emoji)
        seen.set()
        await go_on.wait()

    monkeypatch.setattr(discord.PartialMessage, "add_reaction", slowly)
    asked = await ada.slash(workshop.channel, "imagine", prompt="a cat")
    await seen.wait()
    await ada.react(workshop.message(asked.response.id), "👍")
    go_on.set()
    await workshop.ended()
    assert len(await workshop.app.database.fetch_all("SELECT 1 FROM ratings")) == 1


async def test_an_answer_discord_refuses_leaves_no_job_behind(workshop: Workshop, engine: FakeEngine) -> None:
    workshop.foreseen += (discord.NotFound,)
    workshop.env.inject_error("POST", "/interactions/*", status=404, code=10062)
    await workshop.member("ada").slash(workshop.channel, "imagine", prompt="a cat")

    assert await workshop.jobs() == []
    assert engine.orders == []


async def test_a_preview_is_shown_until_the_job_ends(
    workshop: Workshop, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name in ((progress, "EDIT_SECONDS"), (progress, "PROGRESS_SECONDS"), (gate, "THROTTLE_SECONDS")):
        monkeypatch.setattr(module, name, 0.01)
    monkeypatch.setattr(dispatcher, "SHORT_SECONDS", 0.0)
    engine.preview = b"how it looks so far"
    engine.seconds = 2.0
    ada = workshop.member("ada")
    asked = [await ada.slash(workshop.channel, "imagine", prompt=f"a cat --steps 5 --seed {n}") for n in (1, 2)]

    async def previewed(message_id: int) -> list[discord.Attachment]:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not (shown := workshop.message(message_id).attachments):  # noqa: ASYNC110 - Discord's state
                await asyncio.sleep(0.01)
        return shown

    first, second = [answer.response.id for answer in asked]
    (shown,) = await previewed(first)
    assert (shown.filename, shown.description) == ("atelier-1-preview.jpg", "An unfinished picture: a cat")
    await workshop.ended(1)
    (picture,) = workshop.message(first).attachments
    assert picture.filename == "atelier-1-1.png"

    await previewed(second)
    await workshop.app.dispatcher.cancel(JobId(2))
    await workshop.ended(2)
    assert workshop.message(second).attachments == []


async def test_a_failure_is_said_in_words_and_costs_nothing(workshop: Workshop, engine: FakeEngine) -> None:
    engine.raises.append(PaintFailed("Too large for this machine."))
    ada = workshop.member("ada")
    asked = await ada.slash(workshop.channel, "imagine", prompt="a cat")
    (job,) = await workshop.ended()

    assert "❌ Too large for this machine." in workshop.message(asked.response.id).content
    since = job.asked_at - timedelta(days=1)
    requester = workshop.requester(ada)
    assert await workshop.app.database.write(lambda connection: spent_by(connection, requester, since)) == []


async def test_an_engine_in_trouble_is_said_at_once(workshop: Workshop, engine: FakeEngine) -> None:
    engine.trouble("emoji", "The model emoji cannot be loaded: no such file")
    refused = await workshop.member("ada").slash(workshop.channel, "imagine", prompt="a cat")

    assert "Painting is unavailable: The model emoji cannot be loaded" in refused.response.content


async def test_autocomplete_offers_models_samplers_and_shapes_with_their_pixels(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    models = await ada.autocomplete(workshop.channel, "imagine", "model", "em", prompt="x")
    samplers = await ada.autocomplete(workshop.channel, "imagine", "sampler", "dpm++", prompt="x")
    shapes = await ada.autocomplete(workshop.channel, "imagine", "aspect", "16", prompt="x")

    assert [choice["value"] for choice in models] == ["emoji"]
    assert [choice["value"] for choice in samplers] == ["dpm++ 2m", "dpm++ 2m karras", "dpm++ sde"]
    assert shapes == [{"name": "16:9 — 672×384", "value": "16:9"}], "enlarged, as it comes"

    moderator = workshop.member("mod", moderator=True)
    await moderator.slash(workshop.channel, "limits set", pixels="128x64", member=ada)
    (limited,) = await ada.autocomplete(workshop.channel, "imagine", "aspect", "16", prompt="x")
    await ada.slash(workshop.channel, "imagine", prompt="x", aspect="16:9")
    (job,) = await workshop.ended()
    assert limited["name"] == f"16:9 — {job.request.width * 4}×{job.request.height * 4}" == "16:9 — 448×256"


class TestOtherSettings:
    """The same edge under settings of its own."""

    @pytest.fixture
    def config(self, config: Config) -> Config:
        return config.model_copy(
            update={
                "discord": DiscordConfig(command="paint", ping_after_seconds=1),
                "limits": LimitsConfig(depth=1, quota=1),
            }
        )

    async def test_the_command_goes_by_the_name_the_host_chose(self, workshop: Workshop) -> None:
        await workshop.member("ada").slash(workshop.channel, "paint", prompt="a cat")
        assert len(await workshop.ended()) == 1
        with pytest.raises(simcord.SetupError):
            await workshop.member("eve").slash(workshop.channel, "imagine", prompt="a cat")

    async def test_who_waited_long_is_pinged_once_with_a_link(
        self, workshop: Workshop, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        paint = engine._paint

        async def fewer(order: Order) -> AsyncGenerator[Event, None]:
            async for event in paint(order):
                yield replace(event, images=event.images[:2]) if isinstance(event, Finished) else event

        monkeypatch.setattr(engine, "_paint", fewer)
        engine.seconds = 1.5
        ada = workshop.member("ada")
        asked = await ada.slash(workshop.channel, "paint", prompt="a cat", images=3)
        await workshop.ended()

        def pings() -> list[Any]:
            return [message for message in workshop.channel.history() if message.id != asked.response.id]

        (ping,) = await workshop.seen(pings)
        assert [user.id for user in ping.mentions] == [ada.id]
        assert f"<@{ada.id}>, your 2 pictures are ready: https://" in ping.content
        assert str(asked.response.id) in ping.content
        # The reply shows which request it is about. The ping does not repeat the prompt.
        assert ping.reference is not None
        assert ping.reference.message_id == asked.response.id
        assert "cat" not in ping.content

    async def test_a_full_queue_and_a_spent_quota_say_when_it_works_again(
        self, workshop: Workshop, engine: FakeEngine
    ) -> None:
        engine.open.clear()
        ada = workshop.member("ada")
        await ada.slash(workshop.channel, "paint", prompt="one")
        await workshop.reached((await workshop.jobs())[0].id, JobStatus.RUNNING)
        await ada.slash(workshop.channel, "paint", prompt="two")
        full = await ada.slash(workshop.channel, "paint", prompt="three")
        engine.open.set()
        await workshop.ended(2)
        # This engine takes no time at all; let it have taken what was foreseen.
        await workshop.app.database.fetch_all("UPDATE jobs SET used_seconds = held_seconds")
        spent = await ada.slash(workshop.channel, "paint", prompt="four", images=4)

        assert "Your queue is full: 1 of 1 requests wait" in full.response.content
        assert "of painting time, and 0.6 s of 1 s in 24 hours is left" in spent.response.content
        for refusal in (full, spent):
            assert "It will work <t:" in refusal.response.content
            assert "Moderators can change this with `/limits set`" in refusal.response.content


async def test_a_request_reads_the_rules_once_and_is_resolved_once(
    workshop: Workshop, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second resolution of limits is the line's, which keeps what it finds for everybody's later places.

    The second look into the rules, which are in memory, is for the language of the public message.
    """
    counted: Counter[str] = Counter()

    def counting(owner: Any, name: str) -> None:
        plain = getattr(owner, name)

        def call(*arguments: Any, **named: Any) -> Any:
            counted[name] += 1
            return plain(*arguments, **named)

        monkeypatch.setattr(owner, name, call)

    engine.open.clear()
    ada = workshop.member("ada")
    await ada.slash(workshop.channel, "imagine", prompt="the engine is busy with this")
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not engine.held:  # noqa: ASYNC110 - until the dispatcher has read the rules for it
            await asyncio.sleep(0.01)
    grace = workshop.member("grace")
    counting(Rules, "book")
    counting(limits, "candidates")
    counting(admission, "resolve")
    await grace.slash(workshop.channel, "imagine", prompt="a cat")
    assert counted == {"book": 2, "candidates": 2, "resolve": 1}
    engine.open.set()
    await workshop.ended(2)


@pytest.mark.parametrize(
    "error",
    [StorageFull("Not accepted: the storage is full."), StorageError("The database is locked."), ZeroDivisionError()],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("stage", ["quote", "admit"])
async def test_whatever_keeps_a_request_out_hands_its_prompt_back(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, error: Exception, stage: str
) -> None:
    async def fails(*_: object, **__: object) -> None:
        raise error

    workshop.foreseen = (Exception,)
    monkeypatch.setattr(workshop.app.admission, stage, fails)
    refused = await workshop.member("ada").slash(workshop.channel, "imagine", prompt="a ``cat`` in the rain")
    assert refused.ephemeral
    assert "Your prompt, to copy:\n```\na `\u200b`cat`\u200b` in the rain\n```" in refused.response.content
    assert await workshop.jobs() == []


async def test_a_prompt_that_does_not_fit_beside_a_long_refusal_is_handed_back_as_a_file(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: object, **__: object) -> None:
        raise UserError("🍎" * 700)

    monkeypatch.setattr(workshop.app.admission, "quote", fails)
    refused = await workshop.member("ada").slash(workshop.channel, "imagine", prompt="🦊" * 1000)
    assert len(refused.response.content.encode("utf-16-le")) // 2 <= 2000
    assert refused.response.content.endswith("Your prompt is in the file.")
    assert [file.filename for file in refused.response.message.attachments] == ["prompt.txt"]


async def test_a_request_that_came_late_is_told_to_come_again_and_a_later_one_is_not_worked_on(
    workshop: Workshop,
) -> None:
    ada = workshop.member("ada")
    workshop.interaction_age = BUSY_SECONDS + 0.1
    asked = await ada.slash(workshop.channel, "imagine", prompt="a cat")
    assert asked.ephemeral
    assert asked.response.content.startswith(_words.BUSY)
    assert "a cat" in asked.response.content, "the prompt is handed back"

    workshop.interaction_age = OLD_SECONDS + 0.1
    late = await ada.slash(workshop.channel, "imagine", prompt="a cat")
    assert (late.response, late.followups, workshop.env.bot.late) == (None, [], 1)
    assert await workshop.jobs() == []

    workshop.interaction_age = 0.1
    assert "Queued" in (await ada.slash(workshop.channel, "imagine", prompt="a cat")).response.content
