"""/animate: one file from two prompts or two seeds, by each kind of person, before and after a restart."""

from __future__ import annotations

import asyncio
import hashlib
import io
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import discord
import PIL.Image
import pytest
import simcord

from bot import child
from bot.config import BillConfig, Config, DiscordConfig, EngineConfig, LimitsConfig
from bot.delivery import endings
from bot.delivery.film import beside, film_of
from bot.engine import fake
from bot.engine.fake import FakeEngine
from bot.engine.signing import Signing
from bot.jobs import Image, Job, JobStatus, Operation, PictureLimits
from bot.requests.morphs import USUAL_FRAMES
from bot.worker import animations, manifest
from cogs.edits import FIRST_FRAME
from tests.bot.worker.test_animations import noisy
from tests.cogs.test_create import refusing
from tests.cogs.test_every_control import Stage
from tests.cogs.test_moderation import said
from tests.cogs.test_refusals import ruled
from tests.cogs.test_series import labels
from tests.conftest import Workshop


@pytest.fixture
def config(tmp_path: Path) -> Config:
    limits = LimitsConfig(pace=10**4, quota=10**6)
    return Config(data=tmp_path / "data", limits=limits, discord=DiscordConfig(posts_per_channel=50))


async def animate(workshop: Workshop, who: simcord.MemberActor, prompt: str = "a red fox", **more: Any) -> Any:
    return await who.slash(workshop.channel, "animate", prompt=prompt, **more)


def last(answer: Any) -> Any:
    return answer.followups[-1] if answer.followups else answer.response


async def test_two_prompts_become_one_job_whose_frames_count_like_pictures(
    workshop: Workshop, engine: FakeEngine
) -> None:
    ada = workshop.member("ada")
    await animate(workshop, ada, "a red fox --seed 7 --steps 5", to="an owl", frames=16, model="emoji")
    (job,) = await workshop.ended()
    request = job.request
    assert request == engine.orders[0].request
    assert (request.operation, request.frames, request.num_images_per_prompt) == (Operation.MORPH, 16, 1)
    assert (request.prompt, request.end_prompt, request.seed, request.end_seed) == ("a red fox", "an owl", 7, None)
    picture = replace(request, operation=Operation.TEXT2IMAGE, frames=0, end_prompt="")
    assert request.work.rows == 16 * picture.work.rows
    assert request.cost == pytest.approx(16 * picture.cost)
    (row,) = await workshop.app.database.fetch_all("SELECT painted FROM jobs")
    assert row["painted"] == 16, "for the pace"
    message = workshop.message(job.destination.message_id)
    assert "**a red fox → an owl**" in message.content
    assert "16 frames" in message.content
    assert message.attachments[0].description == "A morph from a red fox to an owl in 16 frames"
    assert labels(message) == ["🔁", "❤️", "More"]


async def test_the_frames_count_for_the_pace_and_the_person_is_told(workshop: Workshop) -> None:
    moderator, ada = workshop.member("mod", moderator=True), workshop.member("ada")
    await moderator.slash(workshop.channel, "limits set", pace=20, member=ada)
    assert not (await animate(workshop, ada, "a red fox", to="an owl")).followups
    paced = await animate(workshop, ada, "a red fox", to="an owl")
    assert "20 pictures a minute (the rule for <@" in last(paced).content
    assert "Each frame counts as a picture." in last(paced).content


async def test_one_prompt_is_animated_between_two_seeds(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    await animate(workshop, ada, "a red fox --seed 7")
    await animate(workshop, ada, "a red fox --seed 7", to_seed=99, frames=3)
    await animate(workshop, ada, "a red fox --seed 7", to="an owl --seed 5 --steps 4")
    one, two, three = (job.request for job in await workshop.ended(3))
    assert (one.end_prompt, one.end_seed, one.frames) == ("", 8, USUAL_FRAMES)
    assert (two.end_prompt, two.end_seed, two.frames) == ("", 99, 3)
    assert (three.end_prompt, three.end_seed, three.num_inference_steps) == ("an owl", 5, 4)
    alt = workshop.message((await workshop.jobs())[1].destination.message_id).attachments[0].description
    assert alt == "A morph of a red fox between two seeds in 3 frames"


async def test_the_prompt_to_copy_is_a_command_that_paints_the_same_again(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    await animate(workshop, ada, "a red fox --seed 7 --steps 5", to="an owl", to_seed=9, frames=4)
    (first,) = await workshop.ended()
    shown = await Stage(workshop, ada, first).press(ada, "prompt")
    command = shown.response.content.split("```")[1].strip()
    known = re.fullmatch(r"/animate prompt:(.*) to:(.*) frames:(\d+) to_seed:(\d+)", command)
    assert known is not None, command
    prompt, to, frames, seed = known.groups()
    await animate(workshop, ada, prompt, to=to, frames=int(frames), to_seed=int(seed))
    assert (await workshop.ended(2))[1].request == first.request


async def test_words_that_the_model_cannot_draw_are_named_for_both_ends(workshop: Workshop) -> None:
    answer = await animate(workshop, workshop.member("ada"), "a red fox", to="a quixotry")
    assert "can't draw “quixotry”" in last(answer).content


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"frames": 1}, "An animation has 2 to 24 frames, and you asked for 1 frame."),
        ({"frames": 25}, "An animation has 2 to 24 frames, and you asked for 25 frames."),
        ({"frames": -3}, "An animation has 2 to 24 frames, and you asked for -3 frames."),
        ({"prompt": "a red fox --images 4"}, "An animation is one file. Leave out --images"),
        ({"prompt": "a red fox --seed 7", "to_seed": 7}, "Both ends of this animation are the same picture."),
        ({"prompt": "a red fox --seed 7", "to": "a red fox", "to_seed": 7}, "Both ends of this animation are the same"),
        ({"to": "x" * 4001}, "The last prompt has 4,001 characters"),
        ({"to_seed": 2**32}, "Seeds go from 0 to"),
        ({"to": "a nude child"}, "is never painted"),
        ({"prompt": "a child", "to": "a nude woman"}, "is never painted"),
        ({"prompt": "a nude child", "to": "an owl"}, "is never painted"),
    ],
)
async def test_what_cannot_be_animated_is_refused_in_one_sentence(
    workshop: Workshop, options: dict[str, Any], words: str
) -> None:
    options = {"prompt": "a red fox"} | options
    refused = await animate(workshop, workshop.member("ada"), **options)
    assert refused.response.ephemeral
    assert words in refused.response.content
    assert await workshop.jobs() == []
    assert workshop.channel.history() == []


async def test_both_prompts_pass_the_terms_of_the_server(workshop: Workshop) -> None:
    ada, moderator = workshop.member("ada"), workshop.member("mo", moderator=True)
    await said(moderator, workshop, "terms add", terms="zeppelin")
    for options in ({"prompt": "a zeppelin", "to": "an owl"}, {"prompt": "an owl", "to": "a zeppelin"}):
        refused = await animate(workshop, ada, **options)
        assert refused.response.ephemeral
        assert "zeppelin" in refused.response.content, "both prompts come back"
        assert "an owl" in refused.response.content
    await animate(workshop, ada, "a red fox", to="an owl")
    (job,) = await workshop.ended()
    shown = await ada.click(workshop.message(job.destination.message_id), label="More")
    assert "Animate" not in labels(last(shown)), "an animation is not animated again"


async def test_words_that_became_forbidden_while_it_waited_are_not_painted(
    workshop: Workshop, engine: FakeEngine
) -> None:
    ada, moderator = workshop.member("ada"), workshop.member("mo", moderator=True)
    engine.open.clear()
    await ada.slash(workshop.channel, "imagine", prompt="a cat")
    await animate(workshop, ada, "a red fox", to="a zeppelin")
    await said(moderator, workshop, "terms add", terms="zeppelin")
    engine.open.set()
    _, job = await workshop.ended(2)
    assert job.status is JobStatus.FAILED
    assert "zeppelin" not in workshop.message(job.destination.message_id).content


async def test_the_limit_of_pixels_leaves_frames_out_or_refuses(workshop: Workshop) -> None:
    ada, moderator = workshop.member("ada"), workshop.member("mo", moderator=True)
    await ruled(workshop, moderator, animation=5 * 128 * 128)
    answer = await animate(workshop, ada, to="an owl", frames=16)
    (job,) = await workshop.ended()
    assert job.request.frames == 5
    assert "frames 16 became 5 (up to 81,920 pixels in all frames" in last(answer).content
    refused = await animate(workshop, ada, "a red fox --ar 256x256", to="an owl")
    assert "may have up to 81,920 pixels together" in refused.response.content
    assert len(await workshop.jobs()) == 1


class TestBill:
    """A big animation is asked about first."""

    @pytest.fixture
    def config(self, config: Config) -> Config:
        return config.model_copy(update={"bill": BillConfig(seconds=0.001, at_least=0.0)})

    async def test_it_says_what_the_frames_cost(self, workshop: Workshop) -> None:
        ada = workshop.member("ada")
        asked = await animate(workshop, ada, to="an owl", frames=16)
        assert asked.response.ephemeral
        assert "an animation of 16 frames, about " in asked.response.content
        declined = await ada.click(asked.response, label="Cancel")
        assert "a red fox → an owl" in declined.response.content
        await ada.click((await animate(workshop, ada, to="an owl")).response, label="Paint it")
        (job,) = await workshop.ended()
        assert job.request.end_prompt == "an owl"


async def test_a_person_who_is_blocked_gets_none(workshop: Workshop) -> None:
    ada, moderator = workshop.member("ada"), workshop.member("mo", moderator=True)
    await moderator.slash(workshop.channel, "mod block", member=ada)
    assert "blocked you" in (await animate(workshop, ada)).response.content


@pytest.mark.parametrize("after_restart", [False, True])
@pytest.mark.parametrize("who", ["ada", "stranger", "moderator"])
async def test_it_starts_from_a_result_and_is_painted_again_by_anybody(
    workshop: Workshop, who: str, after_restart: bool
) -> None:
    ada = workshop.member("ada")
    await ada.slash(workshop.channel, "imagine", prompt="a red fox --seed 7 --steps 5 --images 2")
    (job,) = await workshop.ended()
    if after_restart:
        await workshop.restart()
    actor = ada if who == "ada" else workshop.member(who, moderator=who == "moderator")
    stage = Stage(workshop, ada, job)
    shown = await stage.press(actor, "more", 2)
    form = await actor.click(last(shown), label="Animate")
    await actor.submit_modal(form, {"prompt": "an owl", "frames": "4", "seed": ""})
    made = (await workshop.ended(2))[1]
    assert made.requester == workshop.requester(actor)
    assert (made.request.prompt, made.request.end_prompt) == ("a red fox", "an owl")
    assert (made.request.seed, made.request.num_inference_steps, made.request.frames) == (8, 5, 4)
    assert [source.number for source in await workshop.app.lineage.sources(made.id)] == [2]
    if after_restart:
        await workshop.restart()
    await actor.click(workshop.message(made.destination.message_id), label="🔁")
    again = (await workshop.ended(3))[2].request
    assert again.seed != made.request.seed
    assert replace(again, seed=8) == made.request


async def test_a_form_that_makes_no_sense_says_so(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    await ada.slash(workshop.channel, "imagine", prompt="a red fox")
    (job,) = await workshop.ended()
    stage = Stage(workshop, ada, job)
    for filled, words in (
        ({"prompt": "an owl", "frames": "many"}, "Frames is a whole number"),
        ({"prompt": "an owl", "frames": "30"}, "An animation has 2 to 24 frames"),
        ({"prompt": "", "frames": "4", "seed": str(job.request.seed)}, "Both ends of this animation"),
    ):
        form = await ada.click(last(await stage.press(ada, "more")), label="Animate")
        answer = await ada.submit_modal(form, filled)
        assert answer.response.ephemeral
        assert words in answer.response.content
    assert len(await workshop.jobs()) == 1


async def test_flags_in_the_form_count_for_the_animation(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    await ada.slash(workshop.channel, "imagine", prompt="a red fox --seed 7 --steps 5")
    (job,) = await workshop.ended()
    stage = Stage(workshop, ada, job)
    form = await ada.click(last(await stage.press(ada, "more")), label="Animate")
    filled = {"prompt": "an owl --seed 9 --steps 4 --images 2", "frames": "4", "seed": ""}
    refused = await ada.submit_modal(form, filled)
    assert "An animation is one file" in refused.response.content
    form = await ada.click(last(await stage.press(ada, "more")), label="Animate")
    await ada.submit_modal(form, {**filled, "prompt": "an owl --seed 9 --steps 4"})
    made = (await workshop.ended(2))[1].request
    assert (made.prompt, made.end_prompt, made.seed, made.end_seed) == ("a red fox", "an owl", 7, 9)
    assert made.num_inference_steps == 4


async def test_choices_are_refused_and_wildcards_are_drawn(workshop: Workshop) -> None:
    ada, moderator = workshop.member("ada"), workshop.member("mo", moderator=True)
    await said(moderator, workshop, "wildcards add", name="animal", words="otter")
    await ada.slash(workshop.channel, "imagine", prompt="a red fox")
    (job,) = await workshop.ended()
    stage = Stage(workshop, ada, job)
    for prompt, to in (("a {red, green} fox", "an owl"), ("a fox", "a {red, green} owl")):
        refused = last(await animate(workshop, ada, prompt, to=to))
        assert "only one picture is possible here, and these words have choices for 2" in refused.content
    form = await ada.click(last(await stage.press(ada, "more")), label="Animate")
    answer = await ada.submit_modal(form, {"prompt": "a {red, green} owl", "frames": "4", "seed": ""})
    assert "only one picture is possible here, and these words have choices for 2" in answer.response.content
    assert len(await workshop.jobs()) == 1
    form = await ada.click(last(await stage.press(ada, "more")), label="Animate")
    await ada.submit_modal(form, {"prompt": "an __animal__", "frames": "4", "seed": ""})
    await animate(workshop, ada, "a __animal__", to="an __animal__ asleep")
    _, one, two = [each.request for each in await workshop.ended(3)]
    assert one.end_prompt == "an otter"
    assert (two.prompt, two.end_prompt) == ("a otter", "an otter asleep")


async def test_a_picture_that_came_from_a_picture_is_not_animated(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    await ada.slash(workshop.channel, "imagine", prompt="a red fox")
    (job,) = await workshop.ended()
    await ada.click(workshop.message(job.destination.message_id), label="Vary (subtle)")
    varied = (await workshop.ended(2))[1]
    stage = Stage(workshop, ada, varied)
    assert "Animate" not in labels(last(await stage.press(ada, "more")))
    assert "painted from words alone" in (await stage.press(ada, "animate")).response.content


async def test_the_requester_and_a_moderator_cancel_it_and_a_stranger_does_not(
    workshop: Workshop, engine: FakeEngine
) -> None:
    ada, moderator, stranger = workshop.member("ada"), workshop.member("mo", moderator=True), workshop.member("eve")
    engine.open.clear()
    for canceller in (ada, moderator):
        asked = await animate(workshop, ada, to="an owl")
        refused = await stranger.click(asked.response, label="Cancel")
        assert refused.response.ephemeral
        await canceller.click(asked.response, label="Cancel")
    jobs = await workshop.ended(2)
    assert [job.status for job in jobs] == [JobStatus.CANCELLED] * 2


async def test_the_words_of_both_prompts_are_deleted_with_what_is_kept_about_a_person(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    await animate(workshop, ada, "a red fox", to="an owl", frames=16)
    await workshop.ended()
    await workshop.app.forgetting.forget(workshop.requester(ada).user_id)
    rows = await workshop.app.database.fetch_all("SELECT request, painted FROM jobs")
    assert ["owl" in row["request"] for row in rows] == [False]
    assert [row["painted"] for row in rows] == [16], "the pace still counts them"
    assert Job.from_row((await workshop.app.database.fetch_all("SELECT * FROM jobs_with_post"))[0]).request.frames == 16


class TestRealEngine:
    """With the model in the box."""

    @pytest.fixture
    def config(self, config: Config) -> Config:
        # Otherwise the times that were measured decide which frames share a forward, and so how they are rounded.
        return config.model_copy(update={"engine": EngineConfig(reproducible=True)})

    async def test_it_is_painted_and_posted_as_webp_and_mp4_before_and_after_a_restart(
        self, real_workshop: Workshop
    ) -> None:
        workshop = real_workshop
        ada = workshop.member("ada")
        await animate(workshop, ada, "a red fox --seed 7 --steps 4", to="an owl", frames=4)
        (first,) = await workshop.ended()
        await animate(workshop, ada, "a red fox --seed 7 --steps 4", frames=3)
        await workshop.restart()
        jobs = await workshop.ended(2)
        assert [job.status for job in jobs] == [JobStatus.DELIVERED] * 2
        message = workshop.message(first.destination.message_id)
        names = [each.filename for each in message.attachments]
        assert names == [f"atelier-{first.id}-1.webp", f"atelier-{first.id}.mp4"]
        assert {each.description for each in message.attachments} == {"A morph from a red fox to an owl in 4 frames"}
        with workshop.env.time_context():
            webp, film = [await each.read() for each in message.attachments]
        shown = PIL.Image.open(io.BytesIO(webp))
        assert (shown.n_frames, shown.size) == (4, (512, 512))  # type: ignore[attr-defined]
        assert b"trainedAlgorithmicMedia" in shown.info["xmp"]
        assert film[4:8] == b"ftyp"
        (picture,) = await workshop.app.queue.pictures(first.id)
        assert picture.nsfw is not None
        verdict = await workshop.app.verification.verify(webp)
        assert verdict.is_ours
        assert verdict.ref == picture.ref
        await ada.slash(workshop.channel, "reproduce", id=first.id)
        again = (await workshop.ended(3))[2]
        assert "every pixel is equal" in workshop.message(again.destination.message_id).content

    async def test_an_animation_with_a_picture_that_is_too_explicit_is_not_shown(
        self, real_workshop: Workshop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def strict(*_: Any) -> PictureLimits:
            return PictureLimits(block=0.0)

        monkeypatch.setattr(real_workshop.app.policy, "picture_limits", strict)
        await animate(real_workshop, real_workshop.member("ada"), "a red fox --steps 2", to="an owl", frames=2)
        (job,) = await real_workshop.ended()
        assert job.status is JobStatus.FAILED
        assert real_workshop.message(job.destination.message_id).attachments == []


def film(count: int = 3) -> bytes:
    return animations.encoded(noisy(count), animations.durations(count), lossless=False)


def moving(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the engine without weights paint something that moves."""
    data = film()
    made = Image(data, 1, 64, 64, hashlib.sha256(data).hexdigest())
    monkeypatch.setattr(fake, "flat_image", lambda *_: made)


async def test_a_film_is_left_out_where_it_cannot_be_made_or_does_not_fit() -> None:
    webp = film()
    made = await film_of(webp)
    assert made[4:8] == b"ftyp"
    assert beside(webp, made, 10**7) == made
    assert beside(webp, made, len(made) - 1) == b""
    assert await film_of(b"RIFF....WEBPVP8X") == b"", "a file that cannot be read is sent alone"


async def test_a_film_is_signed_as_its_webp_is(tmp_path: Path) -> None:
    own = manifest.own_signing(tmp_path)
    webp = own.sign(film(), "emoji", {"operation": "morph", "seed": 7}, "image/webp")
    told = manifest.read(await film_of(webp, Signing(tmp_path)), "video/mp4")
    assert (told.state, told.model, told.is_made_by_model) == ("untrusted", "emoji", True)
    assert told.request == {"operation": "morph", "seed": 7}
    unsigned = await film_of(webp, Signing(tmp_path / "elsewhere"))
    assert manifest.read(unsigned, "video/mp4").state == "", "a film without a manifest is better than none"


async def test_what_is_made_of_an_animation_starts_from_its_first_frame_and_says_so(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    moving(monkeypatch)
    ada = workshop.member("ada")
    await ada.slash(workshop.channel, "animate", prompt="a cat", to="a dog")
    (job,) = await workshop.ended()
    message = workshop.message(job.destination.message_id)
    answer = await ada.context_menu(workshop.channel, "Change this picture", message)
    shown = answer.followups[-1] if answer.followups else answer.response
    assert FIRST_FRAME in shown.content
    assert "Vary (strong)" in str(labels(shown))
    assert "Paint variants" not in str(labels(shown))
    await ada.context_menu(workshop.channel, "Upscale", message)
    enlarged = (await workshop.ended(2))[1]
    assert (enlarged.request.frames, enlarged.request.image) == (0, hashlib.sha256(film()).hexdigest())


async def test_a_film_that_takes_longer_than_a_post_is_made_once(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    moving(monkeypatch)
    made: list[str] = []
    run = child.run

    async def slowly(module: str, *rest: Any) -> bytes:
        if module == "bot.worker.film":
            made.append(module)
            await asyncio.sleep(1.0)
        return await run(module, *rest)

    monkeypatch.setattr(child, "run", slowly)
    monkeypatch.setattr(endings, "SHOW_SECONDS", 0.5)
    refusing(monkeypatch, lambda files: len(files[0].fp.getvalue()) < len(film()))
    await animate(workshop, workshop.member("ada"), to="an owl")
    (job,) = await workshop.ended()
    assert job.status is JobStatus.DELIVERED
    assert made == ["bot.worker.film"], "also for a post that was repeated with a smaller file"
    names = [each.filename for each in workshop.message(job.destination.message_id).attachments]
    assert names == [f"atelier-{job.id}-1.webp", f"atelier-{job.id}.mp4"]


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="there is no ffmpeg")
def test_a_program_ffmpeg_makes_the_film_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    from bot.worker import film as films

    monkeypatch.setattr(films.importlib.util, "find_spec", lambda _: None)
    assert films.mp4(film())[4:8] == b"ftyp"
    monkeypatch.setattr(films.shutil, "which", lambda _: None)
    assert films.mp4(film()) == b""


async def test_a_file_that_discord_does_not_take_is_sent_smaller(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    moving(monkeypatch)
    tried = refusing(monkeypatch, lambda files: len(files[0].fp.getvalue()) < len(film()))
    await animate(workshop, workshop.member("ada"), to="an owl")
    (job,) = await workshop.ended()
    assert job.status is JobStatus.DELIVERED
    assert len(tried) == 2, "encoded smaller once"
    message = workshop.message(job.destination.message_id)
    assert "Made smaller, because the file is too large for Discord here" in message.content
    with workshop.env.time_context():
        shown = PIL.Image.open(io.BytesIO(await message.attachments[0].read()))
    assert shown.n_frames == 3  # type: ignore[attr-defined]


@pytest.mark.parametrize("is_large", [False, True])
async def test_a_spoiler_keeps_the_files_that_were_posted(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, is_large: bool
) -> None:
    moving(monkeypatch)
    if is_large:
        refusing(monkeypatch, lambda files: len(files[0].fp.getvalue()) < len(film()))
        edit = discord.Message.edit

        async def edited(message: discord.Message, **changes: Any) -> discord.Message:
            if len(changes["attachments"][0].fp.getvalue()) >= len(film()):
                response = type("Response", (), {"status": 413, "reason": "Payload Too Large", "headers": {}})()
                raise discord.HTTPException(response, {"code": 40005, "message": "Request entity too large"})
            return await edit(message, **changes)

        monkeypatch.setattr(discord.Message, "edit", edited)
    ada = workshop.member("ada")
    await animate(workshop, ada, to="an owl")
    (job,) = await workshop.ended()
    posted = workshop.message(job.destination.message_id)
    before = [(each.filename, each.size) for each in posted.attachments]
    assert len(before) == 2
    for hidden in (True, False):
        menu = (await ada.click(posted, label="More")).response
        await ada.click(menu, label="Spoiler on/off")
        shown = workshop.message(posted.id)
        assert [each.is_spoiler() for each in shown.attachments] == [hidden] * 2
        assert [(each.filename.removeprefix("SPOILER_"), each.size) for each in shown.attachments] == before
        assert shown.content == posted.content


async def test_a_file_that_is_too_large_however_small_it_is_made_is_told(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    moving(monkeypatch)
    refusing(monkeypatch, lambda _: False)
    await animate(workshop, workshop.member("ada"), to="an owl")
    (job,) = await workshop.ended()
    assert job.status is JobStatus.FAILED
    assert "too large for Discord in this channel" in workshop.message(job.destination.message_id).content
