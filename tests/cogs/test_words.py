"""What messages say: whatever a person typed stays inert, and everything fits into a message."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.config import ControlNetConfig, ModelConfig
from bot.engine.catalog import SAMPLERS
from bot.errors import UserError
from bot.jobs import (
    HELD,
    ChannelId,
    Destination,
    GenerationRequest,
    GuildId,
    Image,
    Job,
    JobId,
    JobStatus,
    MessageId,
    Operation,
    Queued,
    Requester,
    Upload,
    UserId,
    utcnow,
)
from bot.requests.options import Options
from bot.requests.resolve import PROMPT_LIMIT, SEEDS, resolve
from cogs import _requests, _words

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
DISCORD_LIMIT = 2000
SNOWFLAKE = 2**63 - 1

CONTROLNET = ControlNetConfig(name="c" * 32, source="org/c", weight=0.123456)
MODEL = ModelConfig(name="m" * 32, source="org/m", width=4096, height=4096, controlnets=(CONTROLNET,))
UPLOAD = Upload(b"", 64, 64, "a" * 64)
LONGEST_SAMPLER = max(SAMPLERS, key=len)

MESSAGES: dict[str, Callable[[Job], str]] = {
    "queued": lambda job: _requests.queued(job, Queued(10_000, NOON + timedelta(days=9))),
    "painting": lambda job: _requests.painting(job, 600, 600),
    "retrying": _requests.retrying,
    "failed": lambda job: _requests.failed(job, "Painting this was cut off 2 times, so it was given up."),
    "cancelled": _requests.cancelled,
    "result": lambda job: _requests.result(job, ()),
}


def a_job(request: GenerationRequest) -> Job:
    return Job(
        id=JobId(10**9),
        requester=Requester(UserId(SNOWFLAKE), GuildId(SNOWFLAKE)),
        destination=Destination(ChannelId(SNOWFLAKE), MessageId(SNOWFLAKE)),
        request=request,
        status=JobStatus.RENDERED,
        attempt=1,
        asked_at=NOON,
        started_at=NOON + timedelta(hours=1),
        painted_at=NOON + timedelta(hours=2),
    )


def asked_for(prompt: str, negative_prompt: str = "", images: int = 4) -> Job:
    """A job as it comes out of options: the only way in for what people type."""
    options = Options(
        prompt,
        negative_prompt=negative_prompt,
        images=images,
        seed=SEEDS[1] - images,
        steps=150,
        guidance_scale=29.123456,
        aspect="8192x8192",
        sampler=LONGEST_SAMPLER,
        image=UPLOAD,
        mask=UPLOAD,
        strength=0.123456,
        control=UPLOAD,
    )
    return a_job(resolve(options, [MODEL], tuple(SAMPLERS)).request)


def unescaped(shown: str) -> str:
    """What is left for Discord to make something of."""
    return re.sub(r"\\[\\*_`~|<>\[\]()#-]", "", shown)


def read(shown: str) -> str:
    """What people see."""
    return re.sub(r"\\([\\*_`~|<>\[\]()#-])", r"\1", shown).replace("\u200b", "")


def is_inert(shown: str) -> bool:
    left = unescaped(shown)
    return not re.search(r"[\\*_`~|<>\[\]()#-]|@everyone|@here|@[!&]?\d{17,20}|://", left)


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("a cat", "a cat"),
        ("@everyone", "@\u200beveryone"),
        ("@here", "@\u200bhere"),
        ("<@123>", "\\<@123\\>"),
        ("<@!123456789012345678>", "\\<@\u200b!123456789012345678\\>"),
        ("<@&1>", "\\<@&1\\>"),
        ("<#123>", "\\<\\#123\\>"),
        ("<:apple:123>", "\\<:apple:123\\>"),
        ("<t:0:R>", "\\<t:0:R\\>"),
        ("</imagine:1>", "\\</imagine:1\\>"),
        ("[x](http://evil)", "\\[x\\]\\(http:\u200b//evil\\)"),
        ("https://evil.example/x_y", "https:\u200b//evil.example/x\\_y"),
        ("# big", "\\# big"),
        ("-# small", "\\-\\# small"),
        ("> quoted", "\\> quoted"),
        (">>> all of it", "\\>\\>\\> all of it"),
        ("- item", "\\- item"),
        ("* item", "\\* item"),
        (
            "**bold** __under__ ~~gone~~ ||hidden||",
            "\\*\\*bold\\*\\* \\_\\_under\\_\\_ \\~\\~gone\\~\\~ \\|\\|hidden\\|\\|",
        ),
        ("`code`", "\\`code\\`"),
        ("\\*not bold\\*", "\\\\\\*not bold\\\\\\*"),
        ("\\", "\\\\"),
    ],
)
def test_what_people_type_is_shown_as_it_is(typed: str, shown: str) -> None:
    assert _words.inert(typed) == shown
    assert is_inert(shown)
    assert read(shown) == typed


@given(st.text(max_size=300) | st.text(alphabet="\\*_`~|<>[]()#-@&!:/ 0123456789everyonh", max_size=300))
@settings(max_examples=300, deadline=None)
def test_any_text_is_inert_and_reads_as_it_was_typed(text: str) -> None:
    shown = _words.inert(text)
    assert is_inert(shown)
    assert read(shown) == text.replace("\u200b", "")


@pytest.mark.parametrize(
    ("typed", "limit", "shown"),
    [("abcdef", 6, "abcdef"), ("abcdefg", 6, "abcde…"), ("*****", 4, "\\*\\*\\*…"), ("<@123>", 3, "\\<@…")],
)
def test_long_text_is_cut_before_it_is_escaped(typed: str, limit: int, shown: str) -> None:
    assert _words.inert(typed, limit) == shown


NASTY = {
    "everyone": "@everyone @here <@123> <@&1>",
    "a link in disguise": "[free pictures](http://evil)",
    "2,000 backticks": "`" * 2000,
    "1,000 backticks": "`" * 1000,
    "a right-to-left override": "a cat \u202egnp.exe\u202c \u2066x\u2069",
    "zalgo": "".join(letter + "\u0317\u0336\u030d" * 20 for letter in "a cat"),
    "a heading": "# BIG",
    "a heading on a line of its own": "a cat\n# BIG\n-# small\n> quoted\n- item\n1. item",
    "a bold end": "a cat** and more **",
    "a backslash at the end": "a cat\\",
    "spoilers": "||" * 400,
    "mentions": "<@123456789012345678>" * 40,
    "everyone, often": "@everyone" * 100,
    "links": "://" * 300,
    "astronauts": "👩‍🚀" * 300,
    "escapes all the way": "\\" * PROMPT_LIMIT,
    "emoji all the way": "🪿" * PROMPT_LIMIT,
    "backticks all the way": "`" * PROMPT_LIMIT,
    "brackets all the way": "(" * PROMPT_LIMIT,
}


@pytest.mark.parametrize("message", MESSAGES)
@pytest.mark.parametrize("typed", NASTY.values(), ids=NASTY)
def test_messages_keep_what_was_typed_inert_and_fit(message: str, typed: str) -> None:
    try:
        job = asked_for(typed, negative_prompt=typed)
    except UserError:
        assert len(typed) > PROMPT_LIMIT, "refused before it becomes a message"
        job = asked_for(typed[:PROMPT_LIMIT], negative_prompt=typed[:PROMPT_LIMIT])
    said = MESSAGES[message](job)
    assert len(said.encode("utf-16-le")) // 2 <= DISCORD_LIMIT
    headline, *rest = said.split("\n")
    who = f"** — <@{SNOWFLAKE}>"
    assert headline.startswith("**")
    assert headline.endswith(who)
    assert is_inert(headline.removeprefix("**").removesuffix(who))
    assert headline.count(f"<@{SNOWFLAKE}>") == 1
    if message == "failed":
        assert rest[1].endswith("Your prompt, to copy:")
        assert (rest[2], rest[4]) == ("```", "```")
        assert "```" not in rest[3], "what was typed stays in its frame"
        rest = rest[:1] + rest[5:]
    assert len(rest) == 1, "nothing that was typed begins a line of its own"
    if message == "result":
        assert is_inert(rest[0].partition(" · without ")[2].partition(" · painted in ")[0])
    assert "\u202e" not in said


def test_the_longest_request_that_is_accepted_fits_into_every_message_with_room_to_spare() -> None:
    job = asked_for("*" * PROMPT_LIMIT, negative_prompt="_" * PROMPT_LIMIT)
    assert {name for name, say in MESSAGES.items() if len(say(job)) > DISCORD_LIMIT - 200} == set()


def test_what_failed_hands_a_whole_prompt_back() -> None:
    prompt = "a cat " * 180
    assert f"Your prompt, to copy:\n```\n{prompt.strip()}\n```" in _requests.failed(asked_for(prompt), "No.")


def test_what_failed_says_where_only_the_beginning_of_a_prompt_is_handed_back() -> None:
    said = _requests.failed(asked_for("a cat " * 600), "No.")
    assert "Only its beginning fits here. Your prompt, to copy:\n```\na cat a cat" in said
    assert said.endswith("…\n```")


def test_a_long_reason_leaves_the_prompt_what_room_there_is() -> None:
    for length in (0, 500, 900):
        said = _requests.failed(asked_for("🍎" * PROMPT_LIMIT), "x" * length)
        assert said.endswith("\n```")
        assert len(said.encode("utf-16-le")) // 2 <= DISCORD_LIMIT


def test_a_result_says_everything_needed_to_paint_it_again() -> None:
    said = _requests.result(asked_for("a cat", "text"), ())
    for fact in (
        "**a cat**",
        f"seeds `{SEEDS[1] - 4}`–`{SEEDS[1] - 1}`",
        f"model `{MODEL.name}`",
        "8192×8192",
        "150 steps",
        "guidance 29.1235",
        f"sampler `{LONGEST_SAMPLER}`",
        "a part repainted at strength 0.123456",
        f"ControlNet `{CONTROLNET.name}:0.123456`",
        "without text",
        "painted in 60 min",
        "2.0 h after the request",
    ):
        assert fact in said


@pytest.mark.parametrize(("asked", "started", "painted"), [(60, 0, 5), (0, 9, 5), (5, 4, 6), (3600, 3700, 10)], ids=str)
def test_a_clock_set_back_shows_no_negative_duration(asked: int, started: int, painted: int) -> None:
    asked_at, started_at, painted_at = (NOON + timedelta(seconds=second) for second in (asked, started, painted))
    job = replace(asked_for("a cat"), asked_at=asked_at, started_at=started_at, painted_at=painted_at)
    said = _requests.result(job, ())
    assert "model `" in said
    assert not re.search(r"\bpainted in|after the request|-\d", said), "what is not known is not said"


@pytest.mark.parametrize("count", [-0.1, -3534.3, -1e9])
def test_no_duration_is_shorter_than_nothing(count: float) -> None:
    assert _words.seconds(count) == "0.0 s"


def test_what_has_been_is_not_said_to_come() -> None:
    past, future = utcnow() - timedelta(hours=1), utcnow() + timedelta(hours=1)
    assert _words.past(past) == _words.relative(past)
    shown = re.fullmatch(r"<t:(\d+):R>", _words.past(future))
    assert shown is not None
    assert int(shown[1]) <= utcnow().timestamp()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "seed `7` · model `emoji` · 64×64 · 20 steps · guidance 3"),
        ({"num_images_per_prompt": 3}, "seeds `7`–`9` · model `emoji` · 64×64 · 20 steps · guidance 3"),
        ({"guidance_scale": 7.5}, "seed `7` · model `emoji` · 64×64 · 20 steps · guidance 7.5"),
        ({"sampler": "ddim"}, "seed `7` · model `emoji` · 64×64 · 20 steps · guidance 3 · sampler `ddim`"),
        ({"negative_prompt": "*x*"}, "seed `7` · model `emoji` · 64×64 · 20 steps · guidance 3 · without \\*x\\*"),
    ],
)
def test_parameters_leave_out_what_is_not_special(changes: dict[str, object], said: str) -> None:
    values: dict[str, object] = {
        "prompt": "a cat",
        "model": "emoji",
        "width": 64,
        "height": 64,
        "num_inference_steps": 20,
        "guidance_scale": 3.0,
        "seed": 7,
    }
    assert _requests.parameters(GenerationRequest(**(values | changes))) == said  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "0.0 s"), (1.234, "1.2 s"), (10, "10 s"), (89, "89 s"), (90, "2 min"), (600, "10 min"), (7200, "2.0 h")],
)
def test_durations(count: float, said: str) -> None:
    assert _words.seconds(count) == said


def test_the_bar_fills_with_the_steps() -> None:
    def bar(step: int) -> str:
        said = _requests.painting(asked_for("a cat"), step, 20)
        found = re.search(rf"Painting `?(\S{{10}}?)`? {step * 5}%", said)
        assert found, said
        return found[1]

    empty, full = bar(0)[0], bar(20)[0]
    assert empty != full
    assert [bar(step) for step in (0, 1, 10, 19, 20)] == [
        full * cells + empty * (10 - cells) for cells in (0, 0, 5, 9, 10)
    ]


@pytest.mark.parametrize(
    ("news", "said"),
    [
        (Queued(3, None), "Queued: place 3, starts in a moment"),
        (Queued(3, NOON + timedelta(seconds=60)), "Queued: place 3, starts <t:1777636860:R>"),
        (HELD, "A moderator paused painting. This request keeps its place."),
    ],
)
def test_a_queued_request_says_when_it_starts(news: Queued, said: str) -> None:
    assert said in _requests.queued(asked_for("a cat"), news)


@pytest.mark.parametrize(("count", "said"), [(0, "0 pictures"), (1, "1 picture"), (4, "4 pictures")])
def test_pictures_are_counted_in_words(count: int, said: str) -> None:
    assert _words.pictures(count) == said


def test_many_notes_fit_into_a_message() -> None:
    said = _words.notes(["🪿" * 100] * 30)
    assert len(said.encode("utf-16-le")) // 2 <= DISCORD_LIMIT
    assert said.endswith("\n…")
    assert len(_words.fitting(["🪿" * 3000]).encode("utf-16-le")) // 2 <= DISCORD_LIMIT


@pytest.mark.parametrize(
    ("note", "said"),
    [
        ("steps 999 became 150", "About your request: steps 999 became 150."),
        ("mentions are left out. It knows it.", "About your request: mentions are left out. It knows it."),
        ("This small model can't draw “corgi”.", "This small model can't draw “corgi”."),
    ],
)
def test_a_single_note_is_a_sentence(note: str, said: str) -> None:
    assert _words.notes([note]) == said


def test_an_enlarged_picture_says_its_size_once() -> None:
    asked = asked_for("a cat")
    job = replace(asked, request=replace(asked.request, operation=Operation.UPSCALE, width=512, height=512))
    picture = Image(b"", 7, 2048, 2048, "")
    assert f"-# model `{job.request.model}` · enlarged to 2048×2048" in _requests.result(job, [picture])


def test_changes_are_listed_one_a_line() -> None:
    assert _words.notes(["steps 999 became 150", "images 9 became 4"]).split("\n")[1:] == [
        "- steps 999 became 150",
        "- images 9 became 4",
    ]


@pytest.mark.parametrize(
    ("sentence", "words"),
    [
        ("Up to 3 ({origin host}).", "Up to 3 (this bot's default)."),
        ("Up to 3 ({origin server}).", "Up to 3 (the rule for this server)."),
        ("Up to 3 ({origin channel:7}).", "Up to 3 (the rule for <#7>)."),
        ("Up to 3 ({origin role:7}).", "Up to 3 (the rule for <@&7>)."),
        ("Up to 3 ({origin person:7}).", "Up to 3 (the rule for <@7>)."),
        ("Up to 3 ({origin person:0}).", "Up to 3 (the rule for a person)."),
        ("Paused for {subject server}, {subject channel:7}.", "Paused for this server, <#7>."),
        ("It will work {time 2026-05-01T12:00:00+00:00}.", "It will work <t:1777636801:R>."),
        ("Moderators use {command limits set}.", "Moderators use `/limits set`."),
        ("“{time for tea} {subject host} {origin of all} {x}”", "“{time for tea} {subject host} {origin of all} {x}”"),
    ],
)
def test_what_a_sentence_refers_to_is_said_as_discord_shows_it(sentence: str, words: str) -> None:
    assert _words.said(sentence) == words
