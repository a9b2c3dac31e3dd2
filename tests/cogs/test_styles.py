"""/style: what moderators keep, what everybody uses, and what old results say."""

from __future__ import annotations

from typing import Any

import discord
import pytest
import simcord

from bot.config import Config, LimitsConfig, LoraConfig, ModelConfig
from bot.requests import styles as rules
from cogs._controls import MORE
from tests.conftest import Workshop


@pytest.fixture
def config(tmp_path: Any) -> Config:
    loras = [LoraConfig(name="sketch", source="org/sketch")]
    models = [
        ModelConfig(name="first", source="embedded"),
        ModelConfig(name="second", source="embedded", loras=loras),
    ]
    limits = LimitsConfig(pace=1000, depth=1000, quota=10**6)
    return Config(data=tmp_path / "data", models=models, limits=limits)


async def said(actor: simcord.MemberActor, workshop: Workshop, command: str, **options: Any) -> str:
    result = await actor.slash(workshop.channel, command, **options)
    return str((result.response or result.followups[-1]).content)


INK = {"text": "{prompt}, black ink", "negative_prompt": "colour", "model": "second", "steps": 5, "lora": "sketch:0.5"}


async def test_moderators_keep_styles_in_versions_and_each_change_is_a_case_that_can_be_undone(
    workshop: Workshop,
) -> None:
    mo, ada = workshop.member("mo", moderator=True), workshop.member("ada")
    await workshop.open_group("mod", mo)
    for command in ("style add", "style edit", "style remove", "style import"):
        options: dict[str, Any] = {"name": "ink"} if command != "style import" else {"line": "x"}
        options |= {"text": "{prompt}, ink"} if command == "style add" else {}
        assert "Only members with Manage Server" in await said(ada, workshop, command, **options)
    assert "the style `ink` no → version 1" in await said(mo, workshop, "style add", name="Ink", **INK)
    await ada.slash(workshop.channel, "imagine", prompt="a fox", style="ink")
    answer = await said(mo, workshop, "style edit", name="ink", steps=7, clear="lora")
    assert "the style `ink` version 1 → version 2" in answer
    await ada.slash(workshop.channel, "imagine", prompt="a fox --style ink")
    first, second = await workshop.ended(2)
    assert [job.request.style_version for job in (first, second)] == [1, 2]
    assert first.request.prompt == second.request.prompt == "a fox, black ink"
    assert [job.request.num_inference_steps for job in (first, second)] == [5, 7]
    info = (await ada.click(workshop.message(first.destination.message_id), label=MORE)).response.content
    assert "style `ink` (version 1)" in info
    assert "by the style: `steps`, `model`, `lora`" in info

    assert "version 2 → version 1" in await said(mo, workshop, "mod undo", case=2)
    await ada.slash(workshop.channel, "imagine", prompt="a fox --style ink")
    assert (await workshop.ended(3))[-1].request.style_version == 1
    assert "version 1 → no" in await said(mo, workshop, "style remove", name="ink")
    assert "There are no styles here" in await said(ada, workshop, "imagine", prompt="a fox", style="ink")
    assert "no → version 1" in await said(mo, workshop, "mod undo", case=4)
    assert "already" in await said(mo, workshop, "style add", name="ink", text="{prompt}")
    await workshop.restart()
    await ada.slash(workshop.channel, "imagine", prompt="a fox --style ink")
    assert (await workshop.ended(4))[-1].request.style_ref.number == 1


async def test_a_style_that_this_server_cannot_paint_is_refused(workshop: Workshop) -> None:
    mo = workshop.member("mo", moderator=True)
    for changes, words in (
        ({"text": "ink"}, "have `{prompt}` once"),
        ({"model": "lost"}, "There is no model"),
        ({"sampler": "lost"}, "There is no sampler"),
        ({"aspect": "wide"}, "neither a shape"),
        ({"lora": "lost"}, "There is no LoRA"),
        ({"model": "first"}, "has no LoRAs"),
        ({"name": "a b"}, "small letters"),
    ):
        assert words in await said(mo, workshop, "style add", **{"name": "ink"} | INK | changes), changes
    assert "no styles yet" in await said(mo, workshop, "style list")


async def test_a_style_goes_to_another_server_as_one_line(workshop: Workshop) -> None:
    mo, ada = workshop.member("mo", moderator=True), workshop.member("ada")
    await said(mo, workshop, "style add", name="ink", description="black ink", **INK)
    shared = await said(ada, workshop, "style share", name="ink")
    line = shared.split("```")[1].strip()
    other, there = workshop.elsewhere()
    taken = (await other.slash(there, "style import", line=line)).response.content
    assert "the style `ink` no → version 1" in taken
    assert (await other.slash(there, "style import", line=line)).response.content.startswith("This server has a style")
    assert "version 1" in (await other.slash(there, "style import", line=line, name="ink2")).response.content
    assert "damaged" in (await other.slash(there, "style import", line=line[:-9])).response.content
    rows = await workshop.app.database.fetch_all("SELECT guild_id FROM styles WHERE name = 'ink2'")
    theirs = await workshop.app.styles.of(rows[0]["guild_id"])
    assert theirs["ink"] == (await workshop.app.styles.of(workshop.guild.id))["ink"]
    assert theirs["ink2"].number == 2


async def test_the_list_shows_a_sample_that_the_person_may_see(workshop: Workshop) -> None:
    mo, ada, grace = workshop.member("mo", moderator=True), workshop.member("ada"), workshop.member("grace")
    for number in range(7):
        await said(mo, workshop, "style add", name=f"s{number}", text="{prompt}", description="*bold*")
    closed = discord.PermissionOverwrite(view_channel=False)
    opened = discord.PermissionOverwrite(view_channel=True, read_message_history=True)
    overwrites = {workshop.guild.default_role: closed, ada: opened, workshop.guild.me: opened}
    secret = workshop.guild.create_text_channel("secret", overwrites=overwrites)
    await ada.slash(secret, "imagine", prompt="a fox", style="s0")
    await workshop.ended()
    page = (await grace.slash(workshop.channel, "style list")).response
    assert page.attachments == [], "the only picture is in a channel that she may not read"
    await ada.slash(workshop.channel, "imagine", prompt="a fox", style="s0")
    await workshop.ended(2)
    page = (await grace.slash(workshop.channel, "style list")).response
    assert "7 styles" in page.content
    assert "`s5`" in page.content
    assert "`s6`" not in page.content
    assert r"\*bold\*" in page.content
    assert [file.filename for file in page.attachments] == ["styles.png"]
    turned = (await grace.click(page, label="More ▶")).response
    assert "`s6`" in turned.content
    assert "`s5`" not in turned.content


async def test_a_result_becomes_a_style_for_moderators_alone(workshop: Workshop) -> None:
    mo, ada = workshop.member("mo", moderator=True), workshop.member("ada")
    await ada.slash(workshop.channel, "imagine", prompt="a fox, black ink, cross-hatching --model second --steps 5")
    (job,) = await workshop.ended()
    message = workshop.message(job.destination.message_id)
    assert "Use as style" not in str((await ada.click(message, label=MORE)).response.components)
    menu = (await mo.click(message, label=MORE)).response
    opened = await mo.click(menu, label="Use as style")
    assert "{prompt}, black ink, cross-hatching" in str(opened.modal)
    texts = {"name": "hatched", "text": "{prompt}, cross-hatching", "negative": "", "description": ""}
    answer = await mo.submit_modal(opened, texts)
    assert "the style `hatched` no → version 1" in answer.response.content
    style = (await workshop.app.styles.of(workshop.guild.id))["hatched"]
    assert (style.model, style.steps, style.prompt) == ("second", 5, "{prompt}, cross-hatching")

    await workshop.app.search.finish()
    await ada.slash(workshop.channel, "imagine", prompt="a wolf", style="hatched")
    await workshop.ended(2)
    await workshop.app.search.finish()
    found = await said(ada, workshop, "search", query="style:Hatched")
    assert "a wolf" in found
    assert "a fox" not in found
    # What a moderator took from the words of a person goes with that person's words.
    await workshop.app.forgetting.forget(ada.id)
    style = (await workshop.app.styles.of(workshop.guild.id))["hatched"]
    assert (style.prompt, style.steps) == ("{prompt}", 5)


async def test_styles_are_offered_by_name_and_description(workshop: Workshop) -> None:
    mo = workshop.member("mo", moderator=True)
    await said(mo, workshop, "style add", name="ink", text="{prompt}", description="black lines")
    await said(mo, workshop, "style add", name="oil", text="{prompt}")
    for typed, wanted in (("", ["ink", "oil"]), ("LINES", ["ink"]), ("o", ["oil"])):
        offered = await mo.autocomplete(workshop.channel, "imagine", "style", typed, prompt="a fox")
        assert [choice["value"] for choice in offered] == wanted


async def test_a_style_has_a_reference_picture_in_each_version_which_the_list_shows(workshop: Workshop) -> None:
    mo, ada = workshop.member("mo", moderator=True), workshop.member("ada")
    await ada.slash(workshop.channel, "imagine", prompt="a fox", images=2, seed=3)
    (job,) = await workshop.ended(1)
    for typed, words in (("x", "names no picture"), ("99", "no such result"), (f"{job.id}/4", "no such result")):
        assert words in await said(mo, workshop, "style add", name="ink", text="{prompt}, ink", reference=typed)
    stranger, elsewhere = workshop.elsewhere()
    refused = await stranger.slash(elsewhere, "style add", name="ink", text="{prompt}, ink", reference=str(job.id))
    assert "no such result" in refused.response.content
    answer = await said(mo, workshop, "style add", name="ink", text="{prompt}, ink", reference=f"{job.id}/2")
    assert f"- reference: {job.id}/2" in answer
    assert "No model here can paint after it (IP-Adapter)" in answer
    listed = await ada.slash(workshop.channel, "style list")
    assert "Samples of the styles ink" in str([each.description for each in listed.response.attachments])
    await said(mo, workshop, "style edit", name="ink", clear="reference")
    assert not (await ada.slash(workshop.channel, "style list")).response.attachments
    versions = await workshop.app.database.fetch_all(
        "SELECT content ->> '$.reference' AS shown FROM styles ORDER BY version"
    )
    assert [row["shown"] for row in versions] == [f"{job.id}/2", None]
    await said(mo, workshop, "style edit", name="ink", reference=f"#{job.id}")
    await workshop.app.removals.remove_own(job.requester, job.id)
    assert not (await ada.slash(workshop.channel, "style list")).response.attachments, "it is gone with the result"


async def test_the_line_of_a_style_says_that_it_has_a_reference_and_has_no_picture(workshop: Workshop) -> None:
    mo, ada = workshop.member("mo", moderator=True), workshop.member("ada")
    await ada.slash(workshop.channel, "imagine", prompt="a fox")
    (job,) = await workshop.ended(1)
    await said(mo, workshop, "style add", name="ink", text="{prompt}, ink", reference=str(job.id))
    line = (await said(mo, workshop, "style share", name="ink")).split("```")[1].strip()
    assert rules.from_line(line).reference == rules.ELSEWHERE
    stranger, elsewhere = workshop.elsewhere()
    imported = await stranger.slash(elsewhere, "style import", line=line)
    assert "Its reference picture stayed" in imported.followups[-1].content
    assert "reference:" not in imported.response.content
