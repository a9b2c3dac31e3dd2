"""/help as member, moderator and stranger; the greeting of a new server; answers to mentions."""

from __future__ import annotations

import sys
from typing import Any

import discord
import pytest

from bot.client import INTENTS, Client
from bot.config import Config, ModelConfig
from bot.engine.fake import FakeEngine
from tests.cogs.test_limits import confirmed
from tests.conftest import Workshop

SCREEN = 1100
"""Characters that fit on the screen of a phone, more or less."""
MANY = tuple(
    ModelConfig(name=f"model{n}", source="org/m", width=64, height=64, description=f"the {n}th of many")
    for n in range(9)
)


@pytest.fixture
def many(config: Config) -> Config:
    return config.model_copy(update={"models": MANY})


async def test_help_fits_a_screen_and_names_only_commands_that_exist(workshop: Workshop) -> None:
    asked = await workshop.member("ada").slash(workshop.channel, "help")
    assert asked.ephemeral
    tour = asked.response.content
    assert len(tour) <= SCREEN
    for words in (
        "`/imagine prompt:",
        "`emoji`",
        "up to 4 pictures with 150 steps each",
        "10 min of 10 min of painting time is left: about ",
    ):
        assert words in tour
    assert "moderators" not in tour
    known = {command.name for command in workshop.env.bot.tree.get_commands()}
    named = {word.strip("`,/") for word in tour.split() if word.startswith("`/")}
    assert named <= known
    assert {"queue", "quota", "history", "privacy", "animate", "cancel"} <= named
    assert "It knows 348 things, such as" in tour


async def test_help_shows_moderators_their_commands(workshop: Workshop) -> None:
    asked = await workshop.member("mod", moderator=True).slash(workshop.channel, "help")
    assert "For moderators: `/limits`, `/mod`, `/stats`" in asked.response.content


async def test_help_says_what_a_rule_leaves_of_it(workshop: Workshop) -> None:
    mod, ada = workshop.member("mod", moderator=True), workshop.member("ada")
    await mod.slash(workshop.channel, "limits set", images=2, steps=30, member=ada)
    assert "up to 2 pictures with 30 steps each" in (await ada.slash(workshop.channel, "help")).response.content
    await confirmed(mod, await mod.slash(workshop.channel, "mod pause"))
    paused = (await ada.slash(workshop.channel, "help")).response.content
    assert "**Not now:** A moderator paused painting" in paused
    assert "`/mod resume`" in paused
    assert len(paused) <= SCREEN


async def test_help_names_a_few_of_many_models_and_the_usual_one(many: Config, engine: FakeEngine) -> None:
    workshop = Workshop(many, engine)
    await workshop.open()
    try:
        tour = (await workshop.member("ada").slash(workshop.channel, "help")).response.content
    finally:
        await workshop.close()
    assert "- the model `model0` (if you name none): the 0th of many" in tour
    assert "- and 5 more models" in tour
    assert "`model4`" not in tour
    assert len(tour) <= SCREEN


async def test_help_outside_a_server_says_where_pictures_are_painted(workshop: Workshop) -> None:
    asked = await workshop.env.create_user("eve").slash("help")
    assert "I paint on servers" in asked.response.content


def guild_of(workshop: Workshop) -> discord.Guild:
    bot: Client = workshop.env.bot  # type: ignore[assignment]
    guild = bot.get_guild(workshop.guild.id)
    assert guild is not None
    return guild


def greeting_of(workshop: Workshop) -> Any:
    """The cog; discord.py loads its module anew, so its class is not that of an import here."""
    return workshop.env.bot.get_cog("Greeting")


async def joined(workshop: Workshop, guild: discord.Guild | None = None) -> None:
    """As discord.py announces that the bot joined a server; this Discord announces every server as an old one."""
    bot: Client = workshop.env.bot  # type: ignore[assignment]
    with workshop.env.time_context():
        for listener in bot.extra_events["on_guild_join"]:
            await listener(guild or guild_of(workshop))


def said(workshop: Workshop) -> list[str]:
    return [message.content for message in workshop.channel.history()]


async def test_a_new_server_is_greeted_once_also_after_a_restart(workshop: Workshop) -> None:
    await joined(workshop)
    (hello,) = said(workshop)
    assert hello.startswith("Hello! I paint what you describe: `/imagine prompt:")
    assert "`/help`" in hello
    await joined(workshop)
    await workshop.restart()
    await joined(workshop)
    assert said(workshop) == [hello]


async def test_the_greeting_goes_where_the_bot_may_write(workshop: Workshop) -> None:
    me = workshop.guild.me
    assert me is not None
    closed = workshop.guild.create_text_channel(
        "closed", overwrites={me: discord.PermissionOverwrite(send_messages=False)}
    )
    with workshop.env.time_context():
        guild = guild_of(workshop)
        guild._system_channel_id = closed.id
        assert guild.system_channel is not None
    await joined(workshop)
    assert closed.history() == []
    assert len(said(workshop)) == 1


async def test_a_server_that_is_there_again_after_an_outage_or_a_restart_is_not_greeted(workshop: Workshop) -> None:
    assert "on_guild_available" not in workshop.env.bot.extra_events
    await workshop.restart()
    assert said(workshop) == []


async def test_a_server_where_the_bot_may_write_nowhere_is_left_in_peace(workshop: Workshop) -> None:
    guild = workshop.env.create_guild("Mute")
    bot: Client = workshop.env.bot  # type: ignore[assignment]
    await workshop.env.settle()
    await joined(workshop, bot.get_guild(guild.id))
    assert workshop.env.errors == []


async def test_a_mention_is_answered_once_a_minute(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    ada, me = workshop.member("ada"), workshop.env.bot.user
    assert me is not None
    cog = greeting_of(workshop)
    clock = [0.0]
    monkeypatch.setattr(cog, "_now", lambda: clock[0])

    def answers() -> list[str]:
        return [message.content for message in workshop.channel.history() if message.author.id == me.id]

    await ada.send(workshop.channel, f"hello <@{me.id}>, what is this?")
    assert len(answers()) == 1
    assert "`/help`" in answers()[0]
    for later, count in ((59.0, 1), (60.0, 2), (61.0, 2), (120.0, 3)):
        clock[0] = later
        await ada.send(workshop.channel, f"<@{me.id}>")
        assert len(answers()) == count


async def test_nothing_else_is_answered(workshop: Workshop) -> None:
    ada, grace, me = workshop.member("ada"), workshop.member("grace"), workshop.env.bot.user
    assert me is not None
    asked = await ada.slash(workshop.channel, "imagine", prompt="a cat")
    await workshop.ended()
    for words in ("hello", f"hello <@{grace.id}>", "@everyone", "imagine a cat"):
        await ada.send(workshop.channel, words)
    await ada.send(workshop.channel, "nice!", reply_to=workshop.message(asked.response.id))
    me_member = workshop.guild.me
    assert me_member is not None
    closed = workshop.guild.create_text_channel(
        "closed", overwrites={me_member: discord.PermissionOverwrite(send_messages=False)}
    )
    await ada.send(closed, f"<@{me.id}>")
    mine = [message for message in workshop.channel.history() if message.author.id == me.id]
    assert [message.id for message in mine] == [asked.response.id]
    assert [message.author.id for message in closed.history()] == [ada.id]


async def test_only_so_many_channels_are_remembered(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    cog = greeting_of(workshop)
    monkeypatch.setattr(sys.modules[type(cog).__module__], "REMEMBERED", 3)
    assert [cog._is_time(number) for number in (1, 2, 3, 1, 4)] == [True, True, True, False, True]
    assert len(cog._answered) == 3


def test_no_intent_is_privileged() -> None:
    privileged = discord.Intents(message_content=True, members=True, presences=True)
    assert INTENTS.value & privileged.value == 0
