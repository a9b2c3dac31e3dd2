"""Words that may not be painted: through every command, button and form, in whatever spelling, also while they wait."""

from __future__ import annotations

import ast
from itertools import product
from pathlib import Path
from typing import Any

import discord
import pytest
import simcord

from bot.config import BillConfig, Config, LimitsConfig, ModelConfig
from bot.engine.fake import FakeEngine
from bot.jobs import JobStatus
from bot.policy.words import LONGEST_TERM, MOST_TERMS, rule_of
from tests.bot.prompt_safety.evasions import CATEGORIES
from tests.cogs.test_blend import PICTURES
from tests.cogs.test_every_control import PAINTS
from tests.cogs.test_moderation import said
from tests.conftest import Workshop

TERM = "zeppelin"
NOT_ALLOWED = "the moderators of this server do not allow"
NEVER = "is never painted"


@pytest.fixture
def config(tmp_path: Any) -> Config:
    model = ModelConfig(name="quick", source="embedded", draft_steps=2)
    limits = LimitsConfig(pace=10**4, depth=10**4, quota=10**6)
    return Config(data=tmp_path / "data", models=[model], limits=limits)


async def listed(workshop: Workshop, *terms: str) -> simcord.MemberActor:
    """A moderator who has put terms on the list."""
    moderator = workshop.member("mod", moderator=True)
    await said(moderator, workshop, "terms add", terms=", ".join(terms or (TERM,)))
    return moderator


def public(workshop: Workshop) -> str:
    """Everything that everybody can read in the channel."""
    return "\n".join(message.content for message in workshop.channel.history())


def told(answer: Any) -> str:
    """What the person alone was told, with the prompt that came back."""
    message = answer.response or answer.followups[-1]
    assert message.ephemeral
    return message.content


@pytest.mark.parametrize("category", CATEGORIES)
async def test_a_term_is_refused_in_every_spelling_with_the_prompt_and_never_in_public(
    workshop: Workshop, category: str, caplog: pytest.LogCaptureFixture
) -> None:
    await listed(workshop)
    ada = workshop.member("ada")
    prompt = f"a big {CATEGORIES[category](TERM)} at sea"
    caplog.clear()
    answer = await ada.slash(workshop.channel, "imagine", prompt=prompt)
    assert answer.ephemeral
    assert NOT_ALLOWED in answer.response.content
    assert "Moderators can change this with `/mod terms remove`." in answer.response.content
    assert prompt.replace("``", "`\u200b`") in answer.response.content
    assert TERM not in answer.response.content.split("Your prompt, to copy")[0]
    assert await workshop.jobs() == []
    assert workshop.channel.history() == []
    assert TERM not in caplog.text


@pytest.mark.parametrize("prompt", ["zeppelins at sea", "a zeppel on the sky", "a zepp elinor", "prezeppelin"])
async def test_a_term_is_whole_words_and_nothing_else_is_refused(workshop: Workshop, prompt: str) -> None:
    await listed(workshop)
    answer = await workshop.member("ada").slash(workshop.channel, "imagine", prompt=prompt)
    assert "Queued" in answer.response.content


WAYS: dict[str, dict[str, Any]] = {
    "prompt": {"prompt": "a zep-pelin"},
    "negative prompt": {"prompt": "a cat", "negative_prompt": "z e p p e l i n, text"},
    "flag": {"prompt": "a cat --no z3ppelin --seed 7"},
    "words after a flag": {"prompt": "a cat --ar 1:1 zeppelin"},
    "a big request": {"prompt": "a zeppelin", "images": 4},
    "with a picture": {"prompt": "a zeppelin", "image": ("cat.png", PICTURES[0])},
    "draft": {"prompt": "a zeppelin --draft"},
}


@pytest.mark.parametrize("way", WAYS)
async def test_no_option_and_no_flag_is_a_way_round(workshop: Workshop, way: str) -> None:
    await listed(workshop)
    answer = await workshop.member("ada").slash(workshop.channel, "imagine", **WAYS[way])
    assert NOT_ALLOWED in told(answer)
    assert await workshop.jobs() == []
    assert "pelin" not in public(workshop)


async def test_blend_is_no_way_round(workshop: Workshop) -> None:
    await listed(workshop)
    pictures = {f"image{number}": (f"{number}.png", PICTURES[number - 1]) for number in (1, 2)}
    answer = await workshop.member("ada").slash(workshop.channel, "blend", prompt="a Zeppelin", **pictures)
    assert NOT_ALLOWED in told(answer)
    assert await workshop.jobs() == []


async def test_a_style_is_no_way_round_for_its_words_or_for_the_persons(workshop: Workshop) -> None:
    ada, moderator = workshop.member("ada"), workshop.member("mod", moderator=True)
    await moderator.slash(workshop.channel, "style add", name="air", text="{prompt} with a zeppelin")
    await moderator.slash(workshop.channel, "style add", name="ship", text="{prompt}pelin", negative_prompt="text")
    await moderator.slash(workshop.channel, "style add", name="bare", text="{prompt}, nude")
    assert "Queued" in (await ada.slash(workshop.channel, "imagine", prompt="a sky", style="air")).response.content
    await said(moderator, workshop, "terms add", terms=TERM)
    for options in (
        {"prompt": "a sky", "style": "air"},
        {"prompt": "a sky --style air"},
        {"prompt": "a zep", "style": "ship"},
    ):
        assert NOT_ALLOWED in told(await ada.slash(workshop.channel, "imagine", **options))
    assert NEVER in told(await ada.slash(workshop.channel, "imagine", prompt="a child", style="bare"))
    assert len(await workshop.jobs()) == 1


BUTTONS = [
    *("again", "vary", "varysubtle", "varystrong", "upscale", "zoomsome", "zoomfar"),
    *("panleft", "panright", "panup", "pandown", "finish"),
]


async def press(person: Any, workshop: Workshop, message: discord.Message, custom_id: str) -> Any:
    """Press a button under a message, also one that does not stand there."""
    shown = workshop.env.backend.get_message(message.channel.id, message.id)
    kept = shown.components
    shown.components = [{"type": 1, "components": [{"type": 2, "style": 2, "label": "Forged", "custom_id": custom_id}]}]
    try:
        return await person.click(message, custom_id=custom_id)
    finally:
        shown.components = kept


async def test_no_button_under_a_result_paints_a_term_that_was_added_since(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    await ada.slash(workshop.channel, "imagine", prompt="a zeppelin --draft")
    (job,) = await workshop.ended()
    message = workshop.message(job.destination.message_id)
    await listed(workshop)
    for action in BUTTONS:
        answer = await press(ada, workshop, message, f"a2:{action}:{job.id}:1")
        assert NOT_ALLOWED in told(answer), action
    assert len(await workshop.jobs()) == 1


@pytest.mark.parametrize(
    ("form", "texts"),
    [
        ("remix", {"prompt": "a zeppelin"}),
        ("remix", {"prompt": "a dog", "negative": "ｚｅｐｐｅｌｉｎ"}),
        ("remix", {"prompt": "a dog --no zeppelin"}),
        ("region", {"prompt": "a zep.pe.lin"}),
        ("use", {"prompt": "a z*ppelin"}),
    ],
)
async def test_no_form_is_a_way_round(workshop: Workshop, form: str, texts: dict[str, str]) -> None:
    ada = workshop.member("ada")
    await ada.slash(workshop.channel, "imagine", prompt="a cat")
    (job,) = await workshop.ended()
    await listed(workshop)
    sent = await ada.send(workshop.channel, "mine", attachments=[("mine.png", PICTURES[0])])
    shown = await press(ada, workshop, workshop.message(job.destination.message_id), f"a2:remix:{job.id}:1")
    about = f"{job.id}:1" if form != "use" else f"{sent.id}:0"
    shown._interaction.modal["custom_id"] = f"a2:{form}:{about}" + (":3" if form == "region" else "")
    answer = await ada.submit_modal(shown, texts)
    assert NOT_ALLOWED in told(answer)
    assert texts["prompt"].split(" --")[0] in told(answer)
    assert len(await workshop.jobs()) == 1


async def test_reproduce_is_no_way_round(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    await ada.slash(workshop.channel, "imagine", prompt="a zeppelin")
    (job,) = await workshop.ended()
    await listed(workshop)
    answer = await ada.slash(workshop.channel, "reproduce", id=job.id)
    assert NOT_ALLOWED in told(answer)
    assert len(await workshop.jobs()) == 1


async def test_the_hard_block_needs_no_list_and_no_setting_opens_it(workshop: Workshop) -> None:
    ada = workshop.member("ada")
    for prompt in ("a nude child", "n u d e  t0ddler", "Emma Watson naked"):
        answer = await ada.slash(workshop.channel, "imagine", prompt=prompt)
        assert answer.ephemeral
        assert NEVER in answer.response.content
        assert "Moderators can change this" not in answer.response.content
    moderator = workshop.member("mod", moderator=True)
    explained = await moderator.slash(workshop.channel, "limits explain", member=ada)
    assert "**safety**" in explained.response.content
    assert "nude" not in explained.response.content
    assert await workshop.jobs() == []


async def test_a_big_request_is_checked_again_when_its_bill_is_accepted(config: Config, engine: FakeEngine) -> None:
    workshop = Workshop(config.model_copy(update={"bill": BillConfig(seconds=0)}), engine)
    await workshop.open()
    ada = workshop.member("ada")
    bill = await ada.slash(workshop.channel, "imagine", prompt="a zeppelin")
    assert "Paint it?" in bill.response.content
    await listed(workshop)
    answer = await ada.click(bill.response, label="Paint it")
    assert NOT_ALLOWED in told(answer)
    assert await workshop.jobs() == []
    await workshop.close()


async def test_a_waiting_request_with_a_new_term_is_refused_when_its_turn_comes_and_shows_no_prompt(
    workshop: Workshop, engine: FakeEngine
) -> None:
    engine.open.clear()
    ada, grace = workshop.member("ada"), workshop.member("grace")
    await ada.slash(workshop.channel, "imagine", prompt="a zeppelin that is being painted")
    await workshop.reached((await workshop.jobs())[0].id, JobStatus.RUNNING)
    for number in range(8):
        await grace.slash(workshop.channel, "imagine", prompt=f"cat {number}")
    await ada.slash(workshop.channel, "imagine", prompt="a zeppelin that waits")
    waiting = [job for job in await workshop.jobs() if job.status is JobStatus.QUEUED]
    assert [job.request.prompt for job in waiting][-1] == "a zeppelin that waits"
    await listed(workshop)
    engine.open.set()
    ended = await workshop.ended(10)
    refused = ended[-1]
    assert [job.status for job in ended] == [JobStatus.DELIVERED] * 9 + [JobStatus.FAILED], "the first was begun before"
    shown = workshop.message(refused.destination.message_id).content
    assert NOT_ALLOWED in shown
    assert "zeppelin" not in shown
    assert f"<@{ada.id}>" in shown
    assert "`/history` shows you your prompt." in shown
    assert "a zeppelin that waits" in (await ada.slash(workshop.channel, "history")).response.content


async def test_a_term_counts_at_once_only_on_its_server_and_an_undo_takes_it_back(workshop: Workshop) -> None:
    moderator, ada = await listed(workshop, "zeppelin", "some phrase"), workshop.member("ada")
    other, there = workshop.elsewhere()
    assert "Queued" in (await other.slash(there, "imagine", prompt="a zeppelin")).response.content
    assert NOT_ALLOWED in told(await ada.slash(workshop.channel, "imagine", prompt="SOME  phrase"))
    assert "**2 terms**: ||some phrase||, ||zeppelin||" in await said(moderator, workshop, "terms list")
    assert await said(moderator, workshop, "terms add", terms="Zeppelin") == (
        "Case 2: terms add for this server: the spelling of a term. `/mod undo case:2` undoes it."
    )
    assert await said(moderator, workshop, "terms add", terms="Zeppelin") == "These terms are on the list already."
    assert (await said(moderator, workshop, "terms remove", terms="ZEPPELIN")).startswith(
        "Case 3: terms remove for this server: removed the term ||Zeppelin||."
    )
    assert "Queued" in (await ada.slash(workshop.channel, "imagine", prompt="a zeppelin")).response.content
    await said(moderator, workshop, "undo", case=3)
    assert NOT_ALLOWED in told(await ada.slash(workshop.channel, "imagine", prompt="a zeppelin"))
    await workshop.restart()
    assert NOT_ALLOWED in told(await ada.slash(workshop.channel, "imagine", prompt="a zeppelin"))
    assert "removed the term ||some phrase||" in await said(
        moderator, workshop, "terms remove", terms="some phrase, unknown"
    )
    assert "The list has none" in await said(moderator, workshop, "terms remove", terms="unknown")
    choices = await moderator.autocomplete(workshop.channel, "mod terms remove", "terms", "zep")
    assert [choice["value"] for choice in choices] == ["Zeppelin"]


@pytest.mark.parametrize(
    ("terms", "says"),
    [
        ("x", "Term 1 has less than 2 letters or digits"),
        ("spam, !", "Term 2 has less than 2 letters or digits"),
        (" , ,", "Name the terms, with commas between them"),
        ("x" * 200, f"Term 1 has 200 characters, and at most {LONGEST_TERM} are possible."),
    ],
)
async def test_a_term_that_cannot_be_one_changes_nothing_and_is_not_repeated(
    workshop: Workshop, terms: str, says: str
) -> None:
    answer = await said(workshop.member("mod", moderator=True), workshop, "terms add", terms=terms)
    assert answer.startswith(says)
    assert answer.endswith("Nothing was changed.")
    assert await workshop.app.rules.books() == {}


async def test_a_list_has_an_end_and_a_long_one_comes_as_a_file(workshop: Workshop) -> None:
    moderator = await listed(workshop)
    guild = workshop.requester(moderator).guild_id
    letters = product("abcdefghjk", repeat=3)  # digits would be read as letters
    names = [f"word {''.join(each)}x of many" for each in letters][: MOST_TERMS - 1]
    rows = [(guild, rule_of(name), f'"{name}"') for name in names]

    async def fill(connection: Any) -> None:
        await connection.executemany("INSERT INTO rules VALUES (?, 'server', 0, ?, ?)", rows)

    await workshop.app.database.write(fill)
    workshop.app.rules.changed()
    full = await said(moderator, workshop, "terms add", terms="one more")
    assert full.startswith("The list would have 1,001 terms, and at most 1,000 are possible.")
    await said(moderator, workshop, "terms remove", terms=names[0])
    removal = (await workshop.app.cases.latest(guild, 1))[0].number
    await said(moderator, workshop, "terms add", terms="one more")
    undone = await said(moderator, workshop, "undo", case=removal)
    assert undone.startswith("The list would have 1,001 terms"), "an undo does not pass the end either"
    await said(moderator, workshop, "terms remove", terms="one more")
    assert "undo of case" in await said(moderator, workshop, "undo", case=removal)
    shown = await moderator.slash(workshop.channel, "mod terms list")
    assert "**1,000 terms** are in the file." in shown.response.content
    assert (await shown.response.attachments[0].read()).decode().count("\n") == MOST_TERMS - 1
    ada = workshop.member("ada")
    assert NOT_ALLOWED in told(await ada.slash(workshop.channel, "imagine", prompt="word abcx of many"))
    assert "Queued" in (await ada.slash(workshop.channel, "imagine", prompt="word abcx of few")).response.content


async def test_compare_is_no_way_round_for_the_prompt_or_a_setting(workshop: Workshop) -> None:
    await listed(workshop)
    ada = workshop.member("ada")
    for options in (
        {"prompt": "a zep-pelin", "first": "--steps 2"},
        {"prompt": "a cat", "first": "--no zeppelin"},
        {"prompt": "a cat", "first": "--steps 2", "second": "--no z3ppelin"},
    ):
        answer = await ada.slash(workshop.channel, "compare", **options)
        assert NOT_ALLOWED in told(answer)
        assert await workshop.jobs() == []
        assert workshop.channel.history() == []


async def test_words_that_a_model_gave_for_a_picture_are_no_way_round(workshop: Workshop) -> None:
    await listed(workshop)
    ada = workshop.member("ada")
    sent = await ada.send(workshop.channel, "mine", attachments=[("mine.png", PICTURES[0])])
    shown = await ada.context_menu(workshop.channel, "Use this picture", sent)
    shown._interaction.modal["custom_id"] = "a2:described:0:0"
    assert NOT_ALLOWED in told(await ada.submit_modal(shown, {"prompt": "a painting of a zeppelin"}))
    assert await workshop.jobs() == []


TO_THE_MODEL = {
    *("imagine", "blend", "animate", "film", "compare", "send:animate", "variants", "send:variants"),
    *("send:remix", "send:region", "send:use", "send:described"),
    *("send:improved", "send:storyboard", "send:panelwords"),
}
"""Every way for words that become a prompt; the tests above try each. A style is tried through `imagine`, and so are
choices and wildcards (test_series.py). Offers are tried in test_improve.py, storyboards in test_storyboards.py,
animations in test_animate.py, and variants in test_variants.py."""
ELSEWHERE = {
    "describe": "only a picture; its words come back as the form `described`",
    "verify": "only a picture, which is looked at and not painted",
    "report": "a reason, for moderators",
    "contest": "a theme, which moderators choose and nothing is painted from, times, and the number of a result",
    "send:report": "a reason, for moderators",
    **dict.fromkeys(("search", "history"), "words to find results"),
    **dict.fromkeys(("stats", "dataset"), "choices"),
    "tag": "words on a result",
    "settings": "names of models and samplers, and a negative prompt, which `Admission.quote` adds before its check",
    "style": "a template, which `Admission.quote` fills in before its check",
    "send:asstyle": "a template, the same",
    "mod": "names, reasons, terms, and defaults, which `Admission.quote` adds before its check",
    "limits": "names and reasons",
    "language": "a choice and a reason",
    "cancel": "a number",
    "presets": "names of presets, which have no words",
}


async def test_every_way_for_words_is_tried_or_is_known_to_reach_no_model(workshop: Workshop) -> None:
    """Derived from the commands and forms: a new one is in neither table, and fails."""
    bot = workshop.env.bot
    texts = {discord.AppCommandOptionType.string, discord.AppCommandOptionType.attachment}
    ways = {f"send:{name}" for name in bot.forms}
    for command in bot.tree.walk_commands():
        if isinstance(command, discord.app_commands.Command) and any(
            parameter.type in texts for parameter in command.parameters
        ):
            name = command.qualified_name
            ways.add(name if name in TO_THE_MODEL else name.split()[0])
    assert ways - set(ELSEWHERE) == TO_THE_MODEL
    assert set(ELSEWHERE) - ways == set(), "what is gone need not be explained"
    assert set(BUTTONS) == PAINTS


def test_nothing_becomes_a_job_except_through_a_quote_and_no_quote_is_made_without_the_check() -> None:
    """A way that another feature opens has to pass `Admission.quote`: only there is a `Quote` made."""

    def calls(tree: ast.AST, name: str) -> list[ast.Call]:
        found = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        return [each for each in found if name in (getattr(each.func, "id", ""), getattr(each.func, "attr", ""))]

    trees = {
        path: ast.parse(path.read_text(encoding="utf-8"))
        for part in ("bot", "cogs")
        for path in Path(part).rglob("*.py")
    }
    admission = Path("bot/requests/admission.py")
    # The sample of the try page is Atelier's own, and the requests of a series are quotes.
    makers = {
        "Quote": {admission},
        "enqueue": {admission, Path("bot/try_page/sample.py")},
        "enqueue_series": {Path("bot/requests/series.py")},
    }
    for name, where in makers.items():
        assert {path for path, tree in trees.items() if calls(tree, name)} == where, name
    assert [path for path, tree in trees.items() if "INSERT INTO jobs" in path.read_text()] == [
        Path("bot/storage/new_jobs.py")
    ]
    (quote,) = [
        node for node in ast.walk(trees[admission]) if isinstance(node, ast.AsyncFunctionDef) and node.name == "quote"
    ]
    (checked,), (made,) = calls(quote, "check_words"), calls(quote, "Quote")
    assert checked.lineno < made.lineno
    assert len(calls(trees[admission], "Quote")) == 1
