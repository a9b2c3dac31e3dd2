"""/host engines: the host sees every lane of the engines, drains one and brings it back."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import discord
from discord import app_commands
from discord.ext import commands

from bot import responses
from bot.client import Client
from bot.errors import UserError, cut
from bot.jobs import JobId, PictureRef
from bot.language import mark, say
from bot.queue.lane_states import LaneState
from bot.storage.lanes import Lanes
from cogs import _words
from cogs._buttons import add_cog, button, pressed

NOT_THE_HOST = mark("Only the host of Atelier can see and drain engines.")

_MOST_BUTTONS = 25
_NAME = 50
"""Characters of the name of an engine on a button."""


@app_commands.allowed_installs(guilds=True, users=False)
@app_commands.allowed_contexts(guilds=True, dms=True, private_channels=False)
@app_commands.default_permissions(manage_guild=True)
class HostCog(commands.GroupCog, group_name="host", group_description="The engines, for the host of Atelier"):
    """Shows lanes, and gives one nothing new or new requests again."""

    def __init__(self, client: Client, lanes: Lanes, states: Callable[[], list[LaneState]]) -> None:
        self._client = client
        self._lanes = lanes
        self._states = states
        super().__init__()

    @app_commands.command(description="See every engine, drain one and bring it back (host)")
    async def engines(self, interaction: discord.Interaction[Client]) -> None:
        """Show every lane with its button, to the host alone."""
        await self._check(interaction)
        words, view = self._shown()
        await responses.send(interaction, words, view=view, ephemeral=True)

    @pressed("drain", "bringback")
    async def change_pressed(self, interaction: discord.Interaction[Client], about: PictureRef, action: str) -> None:
        """Drain the lane of a button, or bring it back, and show what holds now."""
        await self._check(interaction)
        state = next((state for state in self._states() if _number(state.name) == about.job_id), None)
        if state is None:
            raise UserError("There is no such engine any more. {command host engines} lists the engines.")
        await (self._lanes.drain if action == "drain" else self._lanes.bring_back)(state.name)
        words, view = self._shown()
        await responses.edit(interaction, words, view=view)

    async def _check(self, interaction: discord.Interaction[Client]) -> None:
        if not await self._client.is_owner(interaction.user):
            raise UserError(NOT_THE_HOST)

    def _shown(self) -> tuple[str, discord.ui.View]:
        states, view = self._states(), discord.ui.View(timeout=None)
        lines = [say("**Engines**"), *map(_line, states)]
        missing = sorted(set(self._lanes.drained) - {state.name for state in states})
        if missing:
            names = ", ".join(map(_words.inert, missing))
            lines.append(say("-# Drained, and missing since the last start: {names}", names=names))
        if all(state.is_drained for state in states):
            lines.append(say("Every engine is drained. Requests wait, and their messages say so."))
        for state in states[:_MOST_BUTTONS]:
            about, name = PictureRef(_number(state.name)), cut(state.name, _NAME)
            if state.is_drained:
                view.add_item(button("bringback", about, say("Bring back {engine}", engine=name)))
            else:
                view.add_item(button("drain", about, say("Drain {engine}", engine=name)))
        if len(states) > _MOST_BUTTONS:
            lines.append(say("-# `atelier engines` drains those without a button."))
        return _words.fitting(lines), view


def _number(name: str) -> JobId:
    """The number of a lane in the custom id of its button: the lanes may be others after a restart."""
    return JobId(zlib.crc32(name.encode()))


def _line(state: LaneState) -> str:
    sign = "⏸️" if state.is_drained else "🟢" if state.is_up and not state.troubles else "🔴"
    lines = [f"{sign} **{_words.inert(state.name)}** — {state.words}", f"-# {_words.inert(state.details)}"]
    lines += [f"-# {_words.inert(trouble)}" for trouble in state.reasons]
    return "\n".join(lines)


async def setup(client: Client) -> None:
    """Add the cog, its command and its buttons."""
    app = client.app
    await add_cog(client, HostCog(client, app.lanes, app.lane_states))
