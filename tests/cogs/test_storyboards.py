"""/storyboard: panels in one message, each painted again, varied, reworded and moved, before and after a restart."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
import simcord

from bot.charts import board as charts
from bot.charts.board import Kind
from bot.config import Config, DiscordConfig, LimitsConfig
from bot.engine.fake import FakeEngine, flat_image
from bot.errors import UserError
from bot.jobs import Job, JobStatus
from bot.worker.manifest import own_signing, read
from tests.cogs.test_every_control import Stage, forged
from tests.cogs.test_moderation import said
from tests.cogs.test_reactions import rests
from tests.cogs.test_series import labels
from tests.conftest import Workshop

STORY = {"title": "A day", "panels": "a fox wakes\na fox eats\na fox sleeps", "look": "ink --steps 5"}


@pytest.fixture
def config(tmp_path: Path) -> Config:
    limits = LimitsConfig(pace=10**4, quota=10**6, depth=2)
    return Config(data=tmp_path / "data", limits=limits, discord=DiscordConfig(posts_per_channel=50))


async def bill(workshop: Workshop, ada: simcord.MemberActor, **filled: str) -> Any:
    opened = await ada.slash(workshop.channel, "storyboard")
    return await ada.submit_modal(opened, STORY | filled)


async def accepted(workshop: Workshop, ada: simcord.MemberActor, **filled: str) -> Any:
    """The message of a new storyboard, as it is before anything is painted."""
    await ada.click((await bill(workshop, ada, **filled)).response, label="Paint all")
    return board(workshop)


def board(workshop: Workshop) -> Any:
    """The one public message there is."""
    (message,) = workshop.channel.history()
    return message


def last(answer: Any) -> Any:
    """The last message of an answer."""
    return answer.followups[-1] if answer.followups else answer.response


def ids(message: Any) -> set[str]:
    """The custom ids of the buttons of an answer."""
    return {each["custom_id"] for row in message.components for each in row["components"]}


async def panel(workshop: Workshop, who: simcord.MemberActor, number: int) -> Any:
    """What a person is shown after they chose a panel from the menu."""
    first = (await workshop.jobs())[0].id
    return await who.select(board(workshop), [str(number)], custom_id=f"a2:panel:{first}:0")


async def current(workshop: Workshop) -> list[Job]:
    """The newest job of each panel, in the order of the story."""
    found = []
    for each in await workshop.app.panels.of(1):
        job = None if each.job_id is None else await workshop.app.queue.get(each.job_id)
        found += [job] if job else []
    return found


async def size_of(workshop: Workshop, message: Any) -> tuple[int, int]:
    with workshop.env.time_context():
        data = await message.attachments[0].read()
    return PIL.Image.open(io.BytesIO(data)).size


async def test_panels_share_a_look_and_a_seed_and_stand_numbered_in_one_grid(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    asked = await bill(workshop, ada)
    assert "3 pictures, about " in asked.response.content
    assert "-# 2. a fox eats" in asked.response.content
    assert labels(asked.response) == ["Paint all", "Cancel"]
    await ada.click(asked.response, label="Paint all")
    assert "Storyboard: A day" in board(workshop).content
    jobs = await workshop.ended(3)
    assert [job.request.prompt for job in jobs] == [f"a fox {does}, ink" for does in ("wakes", "eats", "sleeps")]
    assert {job.request.num_inference_steps for job in jobs} == {5}
    assert len({job.request.seed for job in jobs}) == 1
    message = board(workshop)
    assert [each.filename for each in message.attachments] == ["storyboard-1.png"]
    assert message.attachments[0].description == "Storyboard: A day. 1. a fox wakes 2. a fox eats 3. a fox sleeps"
    assert await size_of(workshop, message) == (2 * 332 + 12, 2 * 332 + 12)
    assert "2. a fox eats · seed" in message.content


async def test_the_form_shows_how_panels_are_written_and_opens_again_as_it_was_filled_in(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    opened = await ada.slash(workshop.channel, "storyboard")
    fields = {field["component"]["custom_id"]: field["component"] for field in opened.modal["components"]}
    assert fields["panels"]["placeholder"].count("\n") == 2
    filled = {"title": "A day", "panels": "a fox wakes\na fox eats", "look": "ink", "strength": "170%"}
    refused = (await ada.submit_modal(opened, filled)).response
    assert "“170%” is no strength" in refused.content
    again = await ada.click(refused, label="Open the form again")
    assert {
        field["component"]["custom_id"]: field["component"]["value"] for field in again.modal["components"]
    } == filled
    asked = await ada.submit_modal(again, filled | {"strength": "70%"})
    assert "2 pictures, about " in asked.response.content


async def test_a_form_that_was_open_at_a_restart_gives_all_back_if_it_is_refused(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    opened = await ada.slash(workshop.channel, "storyboard")
    await workshop.restart()
    refused = await ada.submit_modal(opened, {"title": "A day", "panels": "a fox", "look": "ink", "strength": ""})
    assert "```\nA day\n\na fox\n\nink\n```" in refused.response.content
    assert not refused.response.components


@pytest.mark.parametrize("after_restart", [False, True])
async def test_a_panel_is_painted_again_varied_reworded_and_moved(workshop: Workshop, after_restart: bool) -> None:
    ada = workshop.member("ada")
    await accepted(workshop, ada)
    old = await workshop.ended(3)
    if after_restart:
        await workshop.restart()
    shown = await panel(workshop, ada, 2)
    assert labels(shown.response) == ["Paint again", "Vary", "Edit words", "Earlier", "Later", "Picture"]
    await ada.click(shown.response, label="Paint again")
    again = (await workshop.ended(4))[3]
    assert again.request.prompt == old[1].request.prompt
    assert again.request.seed != old[1].request.seed
    single = last(await ada.click(shown.response, label="Picture"))
    assert [file.filename for file in single.attachments] == [f"atelier-{again.id}-1.png"], "that of the panel now"
    assert {f"a2:remix:{again.id}:1"} < ids(single)
    await ada.click((await panel(workshop, ada, 2)).response, label="Vary")
    varied = (await workshop.ended(5))[4]
    assert varied.request.image == (await workshop.app.queue.pictures(again.id))[0].sha256
    form = await ada.click((await panel(workshop, ada, 2)).response, label="Edit words")
    await ada.submit_modal(form, {"prompt": "a fox runs"})
    reworded = (await workshop.ended(6))[5]
    assert reworded.request.prompt == "a fox runs, ink"
    assert reworded.request.seed == old[0].request.seed
    await workshop.seen(lambda: "2. a fox runs · seed" in board(workshop).content)
    await ada.click((await panel(workshop, ada, 2)).response, label="Earlier")
    assert [job.id for job in await current(workshop)] == [reworded.id, old[0].id, old[2].id]
    await workshop.seen(lambda: "1. a fox runs · seed" in board(workshop).content)
    first = await ada.click((await panel(workshop, ada, 2)).response, label="Earlier")
    assert "is the first one already" in first.response.content
    assert await workshop.app.lineage.sources(varied.id)
    assert len(board(workshop).attachments) == 1


async def test_what_a_panel_showed_before_is_found_by_its_requester_alone(workshop: Workshop) -> None:
    ada, grace = workshop.member("ada"), workshop.member("grace")
    await accepted(workshop, ada)
    await workshop.ended(3)
    await workshop.app.search.finish()
    found = await grace.slash(workshop.channel, "search", query="eats")
    assert "a fox eats" in found.response.content
    form = await ada.click((await panel(workshop, ada, 2)).response, label="Edit words")
    await ada.submit_modal(form, {"prompt": "a fox runs"})
    await workshop.ended(4)
    shown = await grace.click(found.response, label="Show 1")
    assert "a fox eats" not in last(shown).content
    await workshop.app.search.finish()
    again = await grace.slash(workshop.channel, "search", query="fox")
    assert "a fox runs" in again.response.content
    assert "eats" not in again.response.content
    mine = await ada.slash(workshop.channel, "search", query="eats", **{"in": "mine"})
    assert "a fox eats" in mine.response.content


@pytest.mark.parametrize("who", ["stranger", "moderator"])
async def test_only_the_requester_changes_a_storyboard_and_everybody_may_export_it(
    workshop: Workshop, who: str
) -> None:
    ada = workshop.member("ada")
    await accepted(workshop, ada)
    await workshop.ended(3)
    person = workshop.member(who, moderator=who == "moderator")
    assert "Only the person who asked" in (await panel(workshop, person, 2)).response.content
    first = (await workshop.jobs())[0].id
    shown = workshop.env.backend.get_message(workshop.channel.id, board(workshop).id)
    kept = shown.components
    for action in ("panelagain", "panelvary", "panelwords", "panelearlier", "panellater", "panelpicture"):
        custom_id = f"a2:{action}:{first}:2"
        shown.components = [{"type": 1, "components": [{"type": 2, "style": 2, "label": "F", "custom_id": custom_id}]}]
        answer = await person.click(board(workshop), custom_id=custom_id)
        assert "Only the person who asked" in answer.response.content, action
    shown.components = kept
    other = await forged(workshop, person, board(workshop), f"a2:seriessheet:{first}:0")
    assert other.response.content == "This button has expired.", "that sheet would not follow the rules for titles"
    exported = await person.click(board(workshop), label="Sheet")
    assert last(exported).attachments[0].filename == "storyboard-1.png"
    assert len(await workshop.jobs()) == 3


@pytest.mark.parametrize("kind", [Kind.WEBP, Kind.GIF])
async def test_a_panel_of_another_shape_is_not_stretched_in_an_animation(kind: Kind) -> None:
    square, wide = flat_image(1, 64, 64).png, flat_image(2, 128, 64).png
    data = await charts.draw(kind, "", [charts.Drawn(1, "", square), charts.Drawn(2, "", wide)])
    with PIL.Image.open(io.BytesIO(data)) as film:
        film.seek(1)
        frame = film.convert("RGB")
    assert frame.width == frame.height
    ground, shown = frame.getpixel((frame.width // 2, 5)), frame.getpixel((frame.width // 2, frame.height // 2))
    assert max(ground) < 50, "a bar above it"
    assert shown != ground


@pytest.mark.parametrize(
    ("label", "start"), [("Sheet", b"\x89PNG"), ("PDF", b"%PDF"), ("WebP", b"RIFF"), ("GIF", b"GIF8")]
)
async def test_a_storyboard_is_exported_without_a_panel_that_was_deleted(
    workshop: Workshop, label: str, start: bytes
) -> None:
    ada = workshop.member("ada")
    # Panels that follow have seeds of their own, so no two frames of an animation are alike.
    await accepted(workshop, ada, strength="0.7")
    jobs = await workshop.ended(3)
    await workshop.app.removals.remove_own(jobs[1].requester, jobs[1].id)
    own_signing(workshop.app.signing.folder)
    answer = await ada.click(board(workshop), label=label)
    if label in ("WebP", "GIF"):
        answer = await ada.submit_modal(answer, {"seconds": "1,5"})
    sent = last(answer)
    assert sent.content == "Panel 2 has no picture now, so it is left out."
    with workshop.env.time_context():
        data = await sent.attachments[0].read()
    assert data.startswith(start)
    if label == "PDF":
        assert "trainedAlgorithmicMedia".encode("utf-16-be") in data
        return
    assert b"trainedAlgorithmicMedia" in data
    with PIL.Image.open(io.BytesIO(data)) as file:
        manifest = read(data, f"image/{(file.format or '').lower()}")
        assert (manifest.state, manifest.model) == ("untrusted", "emoji")
        file.seek(getattr(file, "n_frames", 1) - 1)
        file.load()
        assert file.info.get("duration") == (None if label == "Sheet" else 1500)
    await workshop.seen(lambda: "2. a fox eats · 🗑️ deleted" in board(workshop).content)
    for job in (jobs[0], jobs[2]):
        await workshop.app.removals.remove_own(job.requester, job.id)
    await workshop.seen(lambda: board(workshop).content.count("deleted") == 3)
    assert "PDF" not in labels(board(workshop))


@pytest.mark.parametrize("typed", ["0", "31", "two", "-1", "nan", "1e1"])
async def test_seconds_that_make_no_sense_get_one_sentence(workshop: Workshop, typed: str) -> None:
    ada = workshop.member("ada")
    await accepted(workshop, ada)
    await workshop.ended(3)
    answer = last(await ada.submit_modal(await ada.click(board(workshop), label="GIF"), {"seconds": typed}))
    assert f"for 0.1 to 30 seconds, and you asked for “{typed}”" in answer.content
    assert not answer.attachments


async def test_a_panel_that_is_refused_says_so_and_the_others_go_on(workshop: Workshop) -> None:
    moderator, ada = workshop.member("mod", moderator=True), workshop.member("ada")
    await said(moderator, workshop, "terms add", terms="zeppelin")
    asked = await bill(workshop, ada, panels="a fox\na big zeppelin\nan owl")
    assert "2 pictures" in asked.response.content
    assert "-# 2. ❌ This request has a word or a phrase" in asked.response.content
    await ada.click(asked.response, label="Paint all")
    await workshop.ended(2)
    message = board(workshop)
    assert "2. ❌ This request has a word" in message.content
    assert "zeppelin" not in message.content
    assert "zeppelin" not in str(message.components)
    assert "3. an owl · seed" in message.content
    form = await ada.click((await panel(workshop, ada, 2)).response, label="Edit words")
    refused = await ada.submit_modal(form, {"prompt": "a zeppelin again"})
    assert "do not allow" in refused.response.content
    form = await ada.click((await panel(workshop, ada, 2)).response, label="Edit words")
    await ada.submit_modal(form, {"prompt": "a balloon"})
    await workshop.ended(3)
    await workshop.seen(lambda: "2. a balloon · seed" in board(workshop).content)
    nothing = await bill(workshop, ada, panels="a zeppelin\na zeppelin")
    assert "do not allow" in nothing.response.content
    assert "Paint" not in str(nothing.response.components)


async def test_a_title_follows_the_rules_for_words_before_the_bill_and_when_it_is_accepted(workshop: Workshop) -> None:
    moderator, ada = workshop.member("mod", moderator=True), workshop.member("ada")
    blocked = await bill(workshop, ada, title="a nude child")
    assert "never painted" in blocked.response.content
    asked = await bill(workshop, ada, title="The big zeppelin")
    await said(moderator, workshop, "terms add", terms="zeppelin")
    late = await ada.click(asked.response, label="Paint all")
    refused = await bill(workshop, ada, title="The big zeppelin")
    for answer in (last(late), refused.response):
        assert "This request has a word or a phrase" in answer.content
        assert answer.ephemeral
    assert "Paint" not in str(refused.response.components)
    assert await workshop.jobs() == []
    noted = await workshop.app.database.fetch_all("SELECT rule FROM refusals ORDER BY id")
    assert [row["rule"] for row in noted] == ["safety", "terms", "terms"]


async def test_the_words_of_a_panel_that_a_new_term_stops_are_shown_nowhere(
    workshop: Workshop, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.open.clear()
    moderator, ada = workshop.member("mod", moderator=True), workshop.member("ada")
    await accepted(workshop, ada, panels="a fox\nan owl\na big zeppelin")
    assert "3. a big zeppelin" in str(board(workshop).components)
    await said(moderator, workshop, "terms add", terms="zeppelin")
    calls: list[tuple[Any, ...]] = []
    draw = charts.draw

    async def noted(*args: Any) -> bytes:
        calls.append(args)
        return await draw(*args)

    monkeypatch.setattr(charts, "draw", noted)
    engine.open.set()
    jobs = await workshop.ended(3)
    assert [job.is_withheld for job in jobs] == [False, False, True]
    await workshop.seen(lambda: r"3. \(refused\) · ❌ This request has a word" in board(workshop).content)
    message = board(workshop)
    exported = last(await ada.click(message, label="Sheet"))
    assert "3. (refused)" in str(message.components)
    assert message.attachments[0].description == "Storyboard: A day. 1. a fox 2. an owl 3. (refused)"
    assert [args[0] for args in calls][-2:] == [Kind.GRID, Kind.SHEET]
    last_drawn = str(calls[-2:])
    for text in (message.content, message.components, message.embeds, message.attachments, exported, last_drawn):
        assert "zeppelin" not in str(text)
    assert "zeppelin" not in str([each.description for each in (*message.attachments, *exported.attachments)])


@pytest.mark.parametrize(
    ("filled", "words"),
    [
        ({"panels": "one"}, "this text has 1 panel"),
        ({"panels": "\n".join("abcdefghi")}, "this text has 9 panels"),
        ({"look": "--images 2"}, "A panel has one picture"),
        ({"panels": "a fox\na cat --seed x"}, "This is about panel 2 with the look of all panels."),
        ({"panels": "a fox\na cat --seed x", "look": ""}, "This is about panel 2."),
        ({"look": "ink --enhance"}, "only one prompt can be improved at a time. Leave out --enhance."),
        ({"look": "--model lost"}, "There is no model"),
    ],
)
async def test_what_cannot_be_a_storyboard_gets_one_sentence_and_the_words_back(
    workshop: Workshop, filled: dict[str, str], words: str
) -> None:
    refused = await bill(workshop, workshop.member("ada"), **filled)
    assert refused.ephemeral
    assert words in refused.response.content
    story = STORY | filled
    assert f"```\n{story['panels']}\n```" in refused.response.content
    assert await workshop.jobs() == []


async def test_a_panel_that_waits_cannot_be_changed_and_the_rest_can_be_cancelled(
    workshop: Workshop, engine: FakeEngine
) -> None:
    engine.open.clear()
    ada = workshop.member("ada")
    await accepted(workshop, ada)
    form = await ada.click((await panel(workshop, ada, 2)).response, label="Edit words")
    assert "not painted yet" in (await ada.submit_modal(form, {"prompt": "x"})).response.content
    await workshop.restart()
    await ada.click(board(workshop), label="Cancel the rest")
    jobs = await workshop.ended(3)
    assert all(job.status is JobStatus.CANCELLED for job in jobs)
    assert board(workshop).content.count("🚫 cancelled") == 3
    engine.open.set()
    form = await ada.click((await panel(workshop, ada, 2)).response, label="Edit words")
    await ada.submit_modal(form, {"prompt": "a fox runs"})
    await workshop.ended(4)
    await workshop.seen(lambda: "2. a fox runs · seed" in board(workshop).content)


@pytest.mark.parametrize("way", ["command", "menu", "report"])
async def test_what_a_moderator_removes_is_painted_no_further(
    workshop: Workshop, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    ada, moderator = workshop.member("ada"), workshop.member("mod", moderator=True)
    await accepted(workshop, ada)
    *_, third = await workshop.ended(3)
    engine.open.clear()
    stopped: list[int] = []
    monkeypatch.setattr(engine, "cancel", stopped.append)
    for number in (1, 2):
        await ada.click((await panel(workshop, ada, number)).response, label="Paint again")
    await workshop.until(lambda: workshop.app.queue.running())
    message = board(workshop)
    if way == "command":
        answer = await moderator.slash(workshop.channel, "mod delete", message=str(message.id))
    elif way == "menu":
        answer = await Stage(workshop, ada, third).press(moderator, "delete", 0)
    else:
        await workshop.member("eve").slash(
            workshop.channel,
            "report",
            message=f"https://discord.com/channels/{workshop.guild.id}/{workshop.channel.id}/{message.id}",
        )
        shown = last(await moderator.slash(workshop.channel, "mod reports"))
        answer = await moderator.click(shown, label="Remove the result")
    if way == "command":
        assert "3 pictures of message" in answer.response.content
        assert "2 open requests of this message were cancelled" in answer.response.content
    jobs = await workshop.ended(5)
    again = jobs[3:]
    assert [job.status for job in again] == [JobStatus.CANCELLED] * 2
    assert sorted(stopped) == [job.id for job in again]
    await workshop.seen(lambda: not board(workshop).attachments)


async def test_a_storyboard_survives_a_restart_at_each_panel(workshop: Workshop) -> None:
    await workshop.restart(FakeEngine(seconds=0.02))
    ada = workshop.member("ada")
    await accepted(workshop, ada)
    for count in (1, 2):
        await workshop.ended(count)
        await workshop.restart()
    jobs = await workshop.ended(3)
    assert all(job.status is JobStatus.DELIVERED for job in jobs)
    assert board(workshop).content.count("· seed") == 3


async def test_a_storyboard_whose_message_was_deleted_gets_a_new_one(workshop: Workshop, engine: FakeEngine) -> None:
    engine.open.clear()
    ada = workshop.member("ada")
    await accepted(workshop, ada)
    with workshop.env.time_context():
        await board(workshop).delete()
    engine.open.set()
    await workshop.ended(3)
    assert board(workshop).content.count("· seed") == 3


async def test_a_storyboard_whose_channel_is_gone_ends_and_says_why_in_its_rows(
    workshop: Workshop, engine: FakeEngine
) -> None:
    engine.open.clear()
    ada = workshop.member("ada")
    await accepted(workshop, ada)
    workshop.env.inject_error("*", f"/channels/{workshop.channel.id}/*", status=404, code=10003, times=None)
    engine.open.set()
    jobs = await workshop.ended(3)
    assert all(job.status is JobStatus.FAILED for job in jobs)
    # One try is enough to know it, and the others say that the channel refuses posts.
    assert "10003" in (jobs[0].reason or "")


async def test_the_real_engine_paints_a_storyboard(real_workshop: Workshop) -> None:
    ada = real_workshop.member("ada")
    panels = "a red apple\na green apple\na fox\nan owl"
    await accepted(real_workshop, ada, panels=panels, look="--seed 7", strength="0.6")
    await real_workshop.ended(1)
    await real_workshop.restart()
    jobs = await real_workshop.ended(4)
    assert {job.request.seed for job in jobs} == {7}
    (first,) = await real_workshop.app.queue.pictures(jobs[0].id)
    assert [(job.status, job.request.image) for job in jobs[1:]] == [(JobStatus.DELIVERED, first.sha256)] * 3
    exported = await ada.click(board(real_workshop), label="PDF")
    assert last(exported).attachments[0].filename == "storyboard-1.pdf"


async def test_a_panel_that_is_painted_again_after_a_deletion_stays(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    await accepted(workshop, ada)
    await workshop.ended(3)
    await ada.react(board(workshop), "❌")
    await workshop.seen(lambda: board(workshop).content.count("🗑️ deleted") == 3)
    form = await ada.click((await panel(workshop, ada, 2)).response, label="Edit words")
    await ada.submit_modal(form, {"prompt": "a fox runs"})
    again = (await workshop.ended(4))[3]
    await workshop.seen(lambda: "2. a fox runs · seed" in board(workshop).content)
    await rests(workshop)
    assert await workshop.app.queue.pictures(again.id)
    await workshop.restart()
    await rests(workshop)
    assert await workshop.app.queue.pictures(again.id)


@pytest.mark.parametrize("title", ["The big zeppelin", "A day"])
async def test_a_title_that_a_new_term_stops_is_shown_nowhere_from_then_on(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, title: str
) -> None:
    moderator, ada = workshop.member("mod", moderator=True), workshop.member("ada")
    await accepted(workshop, ada, title=title)
    await workshop.ended(3)
    calls: list[tuple[Any, ...]] = []
    draw = charts.draw

    async def noted(*args: Any) -> bytes:
        calls.append(args)
        return await draw(*args)

    monkeypatch.setattr(charts, "draw", noted)
    edits = len(workshop.edits(board(workshop).id))
    await said(moderator, workshop, "terms add", terms="zeppelin")
    assert len(workshop.edits(board(workshop).id)) - edits == (title != "A day")
    assert "zeppelin" not in board(workshop).content
    assert not await workshop.app.panels.owed()
    await said(moderator, workshop, "terms add", terms="dirigible")
    assert len(workshop.edits(board(workshop).id)) - edits == (title != "A day"), "what is masked stays as it is"
    await ada.click((await panel(workshop, ada, 2)).response, label="Paint again")
    await workshop.ended(4)
    message = await workshop.seen(lambda: board(workshop) if "/show id:4" in board(workshop).content else None)
    exported = last(await ada.click(message, label="Sheet"))
    texts = [message.content, message.attachments[0].description, exported.attachments[0].description, str(calls)]
    for text in texts:
        assert "zeppelin" not in text
    assert ("A day" in message.content) is (title == "A day")
    assert message.content.startswith("**Storyboard: A day**" if title == "A day" else "**Storyboard** — <@")


async def test_a_message_that_a_kill_left_behind_shows_the_panels_after_the_next_start(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    await accepted(workshop, ada)
    await workshop.ended(3)
    # The row is changed, and the bot is killed before it edits the message.
    assert await workshop.app.panels.move(1, 2, -1)
    assert "1. a fox wakes" in board(workshop).content
    await workshop.restart()
    await workshop.seen(lambda: "1. a fox eats" in board(workshop).content)
    await workshop.until(workshop_owes_nothing(workshop))


def workshop_owes_nothing(workshop: Workshop) -> Any:
    async def nothing() -> bool:
        return not await workshop.app.panels.owed()

    return nothing


async def test_a_panel_that_is_asked_for_twice_at_once_is_painted_once(workshop: Workshop) -> None:
    await accepted(workshop, workshop.member("ada"))
    first = (await workshop.ended(3))[0]
    _, shown, _ = await workshop.app.panels.of(1)
    series = workshop.app.series
    quotes = [await series.quote_panel(first.requester, "an owl", "", first.destination, 7) for _ in range(2)]
    assert await series.repaint(first, shown, "an owl", quotes[0], interaction_id=None) is not None
    with pytest.raises(UserError, match="was changed meanwhile"):
        await series.repaint(first, shown, "an owl", quotes[1], interaction_id=None)
    assert len(await workshop.jobs()) == 4


async def test_a_panel_deleted_under_a_running_export_is_in_no_later_file(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = workshop.member("ada")
    await accepted(workshop, ada)
    jobs = await workshop.ended(3)
    draw = charts.draw

    async def deleted_meanwhile(*args: Any) -> bytes:
        monkeypatch.setattr(charts, "draw", draw)
        await workshop.app.removals.remove_own(jobs[1].requester, jobs[1].id)
        return await draw(*args)

    monkeypatch.setattr(charts, "draw", deleted_meanwhile)
    answer = last(await ada.click(board(workshop), label="Sheet"))
    assert answer.content == "A panel was deleted meanwhile. Export the storyboard again."
    assert not answer.attachments
    again = last(await ada.click(board(workshop), label="Sheet"))
    assert again.content == "Panel 2 has no picture now, so it is left out."


@pytest.mark.parametrize(
    "filled",
    [
        {"panels": "a {red, green} fox\nan owl"},
        {"look": "{ink, oil}"},
    ],
)
async def test_choices_in_a_storyboard_are_refused_in_a_sentence(workshop: Workshop, filled: dict[str, str]) -> None:
    refused = await bill(workshop, workshop.member("ada"), **filled)
    assert (
        "only one picture is possible here, and these words have choices for 2. Leave out the choices"
        in refused.response.content
    )
    assert await workshop.jobs() == []


async def test_wildcards_in_a_storyboard_are_drawn_and_a_backslash_keeps_a_brace(workshop: Workshop) -> None:
    moderator, ada = workshop.member("mod", moderator=True), workshop.member("ada")
    await said(moderator, workshop, "wildcards add", name="animal", words="otter, heron")
    await accepted(workshop, ada, panels="a __animal__ wakes\na \\{x, y\\} sign", look="__animal__ style")
    prompts = [job.request.prompt for job in await workshop.ended(2)]
    looks = {prompt.rpartition(", ")[2] for prompt in prompts}
    assert looks in ({"otter style"}, {"heron style"}), "one look for all panels"
    assert prompts[0].split(",")[0] in ("a otter wakes", "a heron wakes")
    assert prompts[1].startswith("a {x, y} sign, ")


class TestSlots:
    """An engine that paints several requests at a time."""

    @pytest.fixture
    def engine(self) -> FakeEngine:
        return FakeEngine(slots=8)

    async def test_all_panels_are_in_the_engine_together_when_nobody_else_waits(
        self, workshop: Workshop, engine: FakeEngine
    ) -> None:
        engine.open.clear()
        await accepted(workshop, workshop.member("ada"))
        await workshop.seen(lambda: engine.held == 3)
        engine.open.set()
        await workshop.ended(3)


async def test_a_title_that_an_undo_stops_is_shown_nowhere_from_then_on(workshop: Workshop) -> None:
    moderator, ada = workshop.member("mod", moderator=True), workshop.member("ada")
    await said(moderator, workshop, "terms add", terms="zeppelin")
    await said(moderator, workshop, "terms remove", terms="zeppelin")
    await accepted(workshop, ada, title="The big zeppelin")
    await workshop.ended(3)
    assert "zeppelin" in board(workshop).content
    await said(moderator, workshop, "undo", case=2)
    assert "zeppelin" not in board(workshop).content
