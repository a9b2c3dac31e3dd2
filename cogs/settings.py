"""/settings: a person's own defaults, on all servers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import discord
from discord import app_commands
from discord.ext import commands

from bot import responses
from bot.client import Client
from bot.config import IMAGES, ModelConfig
from bot.errors import UserError
from bot.jobs import UserId
from bot.language import mark, say
from bot.requests.admission import Admission
from bot.requests.shapes import check_aspect
from bot.storage.preferences import NAMES, Preferences, PreferenceStore
from cogs import _words
from cogs._lists import Choices, aspect_choices, known_model, model_choices, usable_models

_ALL = "everything"
_LABELS = {
    "images": mark("pictures of a request"),
    "aspect": mark("shape"),
    "model": mark("model"),
    "spoiler": mark("hide my results until they are clicked"),
    "ping": mark("ping me after a long wait"),
    "send_to_me": mark("send my results to me, too"),
}
_USUAL = {
    "images": "1",
    "aspect": mark("the model's own"),
    "spoiler": mark("no"),
    "ping": mark("yes"),
    "send_to_me": mark("no"),
}
"""What holds without a setting; the usual model depends on the place."""


class Settings(commands.Cog):
    """Shows and changes a person's own defaults, and no other person's."""

    def __init__(self, preferences: PreferenceStore, admission: Admission, command: str) -> None:
        self._preferences = preferences
        self._admission = admission
        self._command = command

    @app_commands.command(description="Set your own defaults for every request; without options, show them")
    @app_commands.allowed_installs(guilds=True, users=False)
    @app_commands.allowed_contexts(guilds=True, dms=True, private_channels=False)
    @app_commands.describe(
        images="How many pictures you want if you do not say",
        aspect="The shape you want, like 16:9, or a size like 768x512",
        model="The model that paints for you",
        spoiler="Whether your results are hidden until they are clicked",
        ping="Whether you are pinged after a long wait",
        send_to_me="Whether your results are also sent to you as a direct message",
        clear="A default to remove",
    )
    @app_commands.choices(clear=[app_commands.Choice(name=name, value=name) for name in (*NAMES, _ALL)])
    async def settings(
        self,
        interaction: discord.Interaction[Client],
        images: app_commands.Range[int, *IMAGES] | None = None,
        aspect: str | None = None,
        model: str | None = None,
        spoiler: bool | None = None,
        ping: bool | None = None,
        send_to_me: bool | None = None,
        clear: str | None = None,
    ) -> None:
        """Change what is given, and show all defaults."""
        typed = {
            "images": images,
            "aspect": aspect,
            "model": model,
            "spoiler": spoiler,
            "ping": ping,
            "send_to_me": send_to_me,
        }
        values: dict[str, Any] = {name: value for name, value in typed.items() if value is not None}
        if aspect is not None:
            check_aspect(aspect, self._admission.models[0])
            values["aspect"] = aspect.strip()
        if model is not None:
            values["model"] = known_model(self._admission, model)
        cleared = NAMES if clear == _ALL else (clear,) if clear else ()
        if both := next((name for name in cleared if name in values), None):
            raise UserError(
                "You set {option} and clear it in one command. Do one of the two.", option=_words.option(both)
            )
        user_id = UserId(interaction.user.id)
        is_change = bool(values or cleared)
        mine = (
            await self._preferences.change(user_id, values, cleared)
            if is_change
            else await self._preferences.of(user_id)
        )
        usable = await usable_models(self._admission, interaction)
        lines = [
            say("**Your defaults**, saved:") if is_change else say("**Your defaults**"),
            *(_line(name, mine, usable) for name in NAMES),
            say(
                "-# They hold on all servers. Flags and options of {command} win over them. `/settings clear:` removes "
                "one.",
                command=_words.command(self._command),
            ),
        ]
        await responses.send(interaction, "\n".join(lines), ephemeral=True)

    @settings.autocomplete("model")
    async def _models(self, interaction: discord.Interaction[Client], typed: str) -> Choices:
        return model_choices(await usable_models(self._admission, interaction), typed)

    @settings.autocomplete("aspect")
    async def _aspects(self, _: discord.Interaction[Client], typed: str) -> Choices:
        return aspect_choices(typed)


def _line(name: str, mine: Preferences, usable: Sequence[ModelConfig]) -> str:
    """One default, as people read it."""
    value = getattr(mine, name)
    if value is None:
        usual = say("{model} here", model=f"`{usable[0].name}`") if usable else say("none here")
        if name in _USUAL:
            usual = say(_USUAL[name])
        return say("- {setting}: not set, so {usual}", setting=say(_LABELS[name]), usual=usual)
    shown = f"`{_words.inert(str(value), 40)}`"
    if isinstance(value, bool):
        shown = say("yes") if value else say("no")
    if name == "model" and value not in [model.name for model in usable]:
        shown = say("{model} (cannot be used here now)", model=shown)
    return f"- {_words.pair(say(_LABELS[name]), f'**{shown}**')}"


async def setup(client: Client) -> None:
    """Add the cog."""
    app = client.app
    await client.add_cog(Settings(app.preferences, app.admission, app.config.discord.command))
