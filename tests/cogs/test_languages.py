"""People read everything in their own language: imagine, the queue, a refusal, and what a moderator does."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pytest
import simcord
from simcord import interactions

from bot.engine.fake import FakeEngine
from bot.jobs import JobStatus
from bot.language import NAMES, Language, say, speaking
from tests.conftest import Workshop


@dataclass(frozen=True, slots=True)
class Words:
    """What a person reads in a language, and Discord's name of the language."""

    locale: str
    language: Language
    public: str
    painting: str
    mine: str
    queued: str
    cancelled: str
    refused: str
    unknown: str
    case: str


WALKS = [
    Words(
        *("de", Language.GERMAN, "In der Warteschlange", "wird gemalt", "**Deine**", "Platz 1", "Abgebrochen"),
        refused="Ein Moderator hat dich auf diesem Server gesperrt. Grund: „spam“",
        unknown="--steps braucht eine ganze Zahl",
        case="gesperrt",
    ),
    Words(
        *("fr", Language.FRENCH, "En file", "en cours", "**Les tiennes**", "place 1", "Annulé"),
        refused="Un modérateur t'a bloqué sur ce serveur. Raison : « spam »",
        unknown="--steps demande un nombre entier",
        case="bloqué",
    ),
    Words(
        *("es-419", Language.SPANISH, "En cola", "se está pintando", "**Los tuyos**", "puesto 1", "Cancelado"),
        refused="Un moderador te bloqueó en este servidor. Motivo: «spam»",
        unknown="--steps necesita un número entero",
        case="bloqueo",
    ),
    Words(
        *("pt-BR", Language.PORTUGUESE, "Na fila", "sendo pintado", "**Seus**", "lugar 1", "Cancelado"),
        refused="Um moderador bloqueou você neste servidor. Motivo: “spam”",
        unknown="--steps precisa de um número inteiro",
        case="bloqueio",
    ),
    Words(
        *("ja", Language.JAPANESE, "待機中", "生成中", "**あなたのリクエスト**", "1 番目", "キャンセルしました"),
        refused="モデレーターがこのサーバーであなたをブロックしました。理由: 「spam」",
        unknown="--steps には整数が必要です",
        case="をブロック",
    ),
    Words(
        *("pl", Language.POLISH, "W kolejce", "malowane", "**Twoje**", "miejsce 1", "Anulowano"),
        refused="Moderator zablokował cię na tym serwerze. Powód: „spam”",
        unknown="--steps wymaga liczby całkowitej",
        case="zablokowano",
    ),
]

_ENGLISH = re.compile(r"\b(the|your|you|requests?|pictures?|with|blocked|were)\b", re.IGNORECASE)


@pytest.fixture
def engine() -> FakeEngine:
    """An engine that holds what it is given."""
    engine = FakeEngine()
    engine.open.clear()
    return engine


@pytest.fixture
def speaks(monkeypatch: pytest.MonkeyPatch) -> dict[int, str]:
    """The locale of Discord that a person has, by their id; others have English."""
    locales: dict[int, str] = {}
    made = interactions.base_payload

    def localized(*args: Any, **values: Any) -> tuple[Any, dict[str, Any]]:
        record, payload = made(*args, **values)
        payload["locale"] = locales.get(values["user_id"], "en-US")
        return record, payload

    monkeypatch.setattr(interactions, "base_payload", localized)
    return locales


@pytest.mark.parametrize("words", WALKS, ids=lambda words: words.language.value)
async def test_a_person_and_a_moderator_read_their_language(
    workshop: Workshop, speaks: dict[int, str], words: Words
) -> None:
    ada, moderator = workshop.member("ada"), workshop.member("mo", moderator=True)
    await workshop.open_group("mod", moderator)
    speaks[ada.id] = speaks[moderator.id] = words.locale
    read: list[str] = []

    async def said(actor: simcord.MemberActor, command: str, **options: Any) -> str:
        answer = await actor.slash(workshop.channel, command, **options)
        read.append(answer.response.content)
        return answer.response.content

    with speaking(words.language):
        chosen = say(
            "The language of public messages here: {language}. A moderator chose it.", language=NAMES[words.language]
        )
    assert chosen in await said(moderator, "language", language=words.language.value)

    shown = await ada.slash(workshop.channel, "imagine", prompt="a zebra")
    first = (await workshop.jobs())[0]
    await workshop.reached(first.id, JobStatus.RUNNING)
    assert words.public in shown.response.content
    read.append(shown.response.content)
    await ada.slash(workshop.channel, "imagine", prompt="a llama")
    queue = await said(ada, "queue")
    assert f"🖌️ a zebra — {words.painting}" in queue
    assert words.mine in queue
    assert words.queued in queue
    assert words.unknown in await said(ada, "imagine", prompt="a zebra --steps many")
    assert words.cancelled in await said(ada, "cancel", request=str((await workshop.jobs())[1].id))

    assert words.case in await said(moderator, "mod block", member=ada, reason="spam")
    assert words.refused in await said(ada, "imagine", prompt="an owl")
    assert words.case in await said(moderator, "mod cases", case=2)
    assert [text for text in read if _ENGLISH.search(text)] == []


async def test_everyone_reads_public_messages_in_the_language_of_the_server(
    workshop: Workshop, speaks: dict[int, str]
) -> None:
    ada, moderator = workshop.member("ada"), workshop.member("mo", moderator=True)
    speaks[ada.id] = "de"
    await moderator.slash(workshop.channel, "language", language=Language.JAPANESE.value)
    shown = await ada.slash(workshop.channel, "imagine", prompt="a zebra")
    assert "待機中" in shown.response.content
    assert "**Deine**" in (await ada.slash(workshop.channel, "queue")).response.content
    back = await moderator.slash(workshop.channel, "language", language="discord")
    assert f"The language of public messages here: {NAMES[Language.ENGLISH]}" in back.response.content


async def test_discord_gets_the_names_of_commands_in_every_language(workshop: Workshop) -> None:
    with workshop.env.time_context():
        found = {command.name: command for command in await workshop.env.bot.tree.fetch_commands()}
    queue = {locale.value: name for locale, name in found["queue"].name_localizations.items()}
    assert queue["de"] == "warteschlange"
    assert queue["es-ES"] == queue["es-419"] == "cola"
    assert {locale.value for locale in found["imagine"].description_localizations} == {
        *("de", "fr", "es-ES", "es-419", "pt-BR", "ja", "pl"),
    }


async def test_the_message_of_a_contest_is_in_the_language_of_the_server(workshop: Workshop) -> None:
    moderator = workshop.member("mod", moderator=True)
    await moderator.slash(workshop.channel, "language", language=Language.GERMAN.value)
    receipt = await moderator.slash(workshop.channel, "contest start", theme="foxes", entries="2d")

    def contests() -> list[str]:
        return [
            sent.content for sent in workshop.channel.history() if sent.content.startswith("**Wettbewerb 1: foxes**")
        ]

    await workshop.seen(lambda: bool(contests()))
    assert "Reich eines deiner Bilder ein" in contests()[0]
    assert "Case" in receipt.response.content, "who asked reads their own language"
