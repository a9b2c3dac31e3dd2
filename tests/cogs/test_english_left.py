"""What a person who speaks Japanese or Polish reads: no answer, button, menu or form has an English sentence left."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import discord
import pytest
import simcord
from translating import messages_of_code

from bot.engine.fake import FakeEngine, flat_image
from bot.errors import PaintFailed
from bot.language import Language, catalogues
from bot.language.catalogues import translation
from tests.cogs.test_every_control import Stage
from tests.cogs.test_languages import speaks
from tests.conftest import Workshop

__all__ = ["speaks"]

_SHOWN = ("content", "label", "placeholder", "title", "description", "text", "name")
"""The fields of what is sent to Discord that people read."""
_FIELD = re.compile(r"\{[^{}]*\}")
_WORDS = re.compile(r"[A-Za-z']{2,} [A-Za-z']{2,}")
_COMMON = re.compile(
    r"\b(the|your|you|is|are|was|with|of|this|there|cannot|have|has|not|which|what|no)\b", re.IGNORECASE
)
_TYPED = ("a zebra", "a llama", "spam and eggs")
"""What people type here; it is shown as it is."""


def shown(value: Any) -> Iterator[str]:
    """Every text in a request to Discord that people read."""
    if isinstance(value, dict):
        for key, each in value.items():
            if isinstance(each, str):
                if key in _SHOWN:
                    yield each
            else:
                yield from shown(each)
    elif isinstance(value, list):
        for each in value:
            yield from shown(each)


def fragments(language: Language) -> list[str]:
    """Parts of English sentences, without fields, that the translations do not have."""
    found = set()
    for text, context in messages_of_code():
        for each in (text,) if isinstance(text, str) else text:
            said = translation(language, text if isinstance(text, str) else text[0])
            parts = [part for part in _FIELD.split(each) if _WORDS.search(part)]
            if context is None and parts and (part := max(parts, key=len)) not in said:
                found.add(part.strip())
    return sorted(found)


def english(texts: Iterable[str], language: Language) -> list[str]:
    """The texts with English in them."""
    known = fragments(language)
    found = []
    for text in dict.fromkeys(texts):
        own = text
        for typed in _TYPED:
            own = own.replace(typed, "")
        # Commands, flags, and what stands in code are the same in every language.
        own = re.sub(r"```.*?```|`[^`]*`|https?://\S+|<[^>]*>", "", own, flags=re.DOTALL)
        if _COMMON.search(own) or any(part in own for part in known):
            found.append(text)
    return found


def test_english_is_found() -> None:
    assert english(["これは `the end` です。", "a zebra"], Language.JAPANESE) == []
    left = ["Paint as typed", "結果: You left.", "all of it is broken"]
    assert english(left, Language.JAPANESE) == left


@pytest.mark.parametrize(("language", "locale"), [(Language.JAPANESE, "ja"), (Language.POLISH, "pl")])
async def test_nobody_reads_english(
    workshop: Workshop, engine: FakeEngine, speaks: dict[int, str], language: Language, locale: str
) -> None:
    catalogues.preload()
    ada, ben = workshop.member("ada"), workshop.member("ben")
    mo = workshop.member("mo", moderator=True)
    for person in (ada, ben, mo):
        speaks[person.id] = locale
    channel = workshop.channel
    for group in ("mod", "limits", "stats", "language", "dedup", "host"):
        await workshop.open_group(group, mo)
    await mo.slash(channel, "language", language=language.value)
    workshop.env.http_requests.clear()

    async def use(actor: simcord.MemberActor, command: str, **options: Any) -> Any:
        return await actor.slash(channel, command, **options)

    await use(ada, "imagine", prompt="a zebra", images=2)
    (job,) = await workshop.ended()
    engine.raises.append(PaintFailed("The model {model} has no LoRA {name} any more.", model="emoji", name="ink"))
    await use(ada, "imagine", prompt="a llama")
    await workshop.ended(2)
    for bad in (
        "a zebra --steps many",
        "a zebra --model nothing",
        "a zebra --size 3x3",
        "a zebra --sampler nothing",
        "{a",
    ):
        await use(ada, "imagine", prompt=bad)
    await use(ada, "imagine", prompt="a zebra --enhance")
    await use(ada, "animate", prompt="a zebra", to="a llama", frames=2)
    await use(ada, "film", prompt="a zebra")
    await use(ada, "variants", thing="a zebra", colours="a llama, a zebra")
    await use(ada, "compare", prompt="a llama", first="--steps 5")
    await use(ada, "compare", prompt="a llama", first="--steps 5", second="--steps 5")
    for command in (
        "help",
        "queue",
        "quota",
        "history",
        "dataset status",
        "dataset join",
        "dataset leave",
        "privacy show",
    ):
        await use(ada, command)
    await use(ada, "dataset join", agree=True)
    await use(ada, "dataset status")
    await use(ada, "dataset leave")
    for query in ("zebra", "owl:7", "by:", "rated:many", "before:soon", "nowhere", "-", "size:9999x9999"):
        await use(ada, "search", query=query)
    await use(ada, "search")
    for scope in ("mine", "server", "all"):
        await use(ada, "search", query="zebra", **{"in": scope})
    await use(ada, "settings")
    await use(ada, "settings", aspect="16:9")
    await use(ada, "style list")
    await use(ada, "contest list")
    await use(ada, "tag add", id=job.id, tags="spam and eggs")
    await use(ada, "show", id=job.id)
    await use(ada, "show", id=999)
    await use(ada, "cancel", request="999")
    await use(ada, "report", message=str(job.destination.message_id))

    stage = Stage(workshop, ada, job)
    for action in ("more", "original", "prompt", "family", "heart", "show", "alike", "lookalike", "improve", "single"):
        await stage.press(ada, action)
    for form in ("remix", "region", "animate", "variants", "asstyle", "report"):
        await stage.press(ada, form)
    await stage.press(ben, "delete")
    await stage.press(ada, "nothing")
    picture = await ada.send(channel, "", attachments=[("owl.png", flat_image(1, 64, 48).png)])
    for menu in [each.name for each in workshop.env.bot.tree.get_commands(type=discord.AppCommandType.message)]:
        await ada.context_menu(channel, menu, picture)

    await use(mo, "dataset channel", channel=channel)
    await use(mo, "style add", name="ink", text="{prompt}, spam and eggs")
    await use(mo, "style list")
    await use(mo, "contest start", theme="spam and eggs", entries="1d")
    await use(mo, "mod cases")
    await use(mo, "mod reports")
    await use(mo, "mod pause")
    await use(mo, "mod resume")
    await use(mo, "mod block", member=ben, reason="spam and eggs")
    await use(ben, "imagine", prompt="a zebra")
    await use(mo, "mod undo", case=2)
    await use(mo, "mod terms add", terms="spam and eggs")
    await use(ada, "imagine", prompt="spam and eggs")
    await use(mo, "limits show")
    await use(mo, "limits set", pace=1)
    await use(mo, "limits explain", member=ada)
    await use(mo, "host engines")
    await use(mo, "dedup")
    read = [text for request in workshop.env.http_requests for text in shown(request.json)]
    assert len(read) > 200
    assert english(read, language) == []
