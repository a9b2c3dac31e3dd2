"""/imagine: from what a person typed to an accepted, answered request."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import discord
from discord import app_commands
from discord.ext import commands

from bot.client import Client
from bot.config import ModelConfig
from bot.errors import UserError
from bot.requests.adapters import MOST_LORAS, is_adapter
from bot.requests.admission import Admission
from bot.requests.flags import with_flags
from bot.requests.options import PROMPT_HELP, Option, Options, table
from bot.requests.uploads import UPLOAD_NAMES
from bot.storage.styles import Styles
from cogs import _people, _words
from cogs._buttons import add_cog
from cogs._lists import Choices, aspect_choices, model_choices, next_of_list, style_choices, usable_models
from cogs.series import Series


def taking(options: Sequence[Option]) -> Callable[[Callable[..., Any]], Any]:
    """Make a command take a prompt and these options, instead of the keywords that its method is written with.

    Options that are only flags are left to the prompt.
    """
    options = [option for option in options if not option.flag_only]

    def decorate(command: Callable[..., Any]) -> Any:
        known = inspect.signature(command).parameters.values()
        own = [parameter for parameter in known if parameter.kind is not parameter.VAR_KEYWORD]
        keyword = inspect.Parameter.KEYWORD_ONLY
        prompt = inspect.Parameter("prompt", keyword, annotation=str)
        taken = [
            inspect.Parameter(option.name, keyword, annotation=_annotation(option), default=None) for option in options
        ]
        command.__signature__ = inspect.Signature([*own, prompt, *taken])  # type: ignore[attr-defined]
        helps = {option.name: option.help for option in options}
        return app_commands.describe(prompt=PROMPT_HELP, **helps)(command)

    return decorate


def _annotation(option: Option) -> Any:
    """The type under which discord.py asks for an option."""
    if option.is_upload:
        return discord.Attachment | None
    if option.between is not None:
        return app_commands.Range[option.type, *option.between] | None
    return option.type | None


class Create(commands.Cog):
    """Takes requests for pictures."""

    def __init__(self, series: Series, admission: Admission, styles: Styles, command: str) -> None:
        self._series = series
        self._styles = styles
        self._admission = admission
        # Another bot on the server may have a command /imagine, so the host can choose another name.
        self.imagine.name = command

    @app_commands.command(name="imagine", description="Paint a picture of what you describe")
    @app_commands.allowed_installs(guilds=True, users=False)
    @app_commands.allowed_contexts(guilds=True, dms=True, private_channels=False)
    @taking(table())
    async def imagine(self, interaction: discord.Interaction[Client], **given: Any) -> None:
        """Accept the request and answer with the message that will become the result."""
        attachments: dict[str, discord.Attachment] = {
            name: given.pop(name) for name in UPLOAD_NAMES if given.get(name) is not None
        }
        options = Options(**{name: value for name, value in given.items() if name not in UPLOAD_NAMES})
        await self._series.take(interaction, options, attachments)

    @imagine.autocomplete("model")
    async def _models(self, interaction: discord.Interaction[Client], typed: str) -> Choices:
        return model_choices(await usable_models(self._admission, interaction), typed)

    @imagine.autocomplete("style")
    async def _styles_here(self, interaction: discord.Interaction[Client], typed: str) -> Choices:
        return await style_choices(self._styles, interaction, typed)

    @imagine.autocomplete("sampler")
    async def _samplers(self, interaction: discord.Interaction[Client], typed: str) -> Choices:
        samplers = self._admission.samplers((await self._model(interaction)).name)
        return [app_commands.Choice(name=name, value=name) for name in samplers if typed.lower() in name][:25]

    @imagine.autocomplete("lora")
    async def _loras(self, interaction: discord.Interaction[Client], typed: str) -> Choices:
        known = (await self._model(interaction)).loras
        return next_of_list([lora.name for lora in known], typed, lambda entry: is_adapter(entry, known), MOST_LORAS)

    @imagine.autocomplete("controlnet")
    async def _controlnets(self, interaction: discord.Interaction[Client], typed: str) -> Choices:
        return [
            app_commands.Choice(name=f"{net.name} — {net.description}"[:100].rstrip(" —"), value=net.name)
            for net in (await self._model(interaction)).controlnets
            if typed.strip().lower() in f"{net.name} {net.description}".lower()
        ][:25]

    async def _model(self, interaction: discord.Interaction[Client]) -> ModelConfig:
        """The model that the person has chosen so far: by a flag, by the option, or by default."""
        options = Options(getattr(interaction.namespace, "prompt", None) or "")
        name = getattr(interaction.namespace, "model", None)
        with suppress(UserError):
            name = with_flags(options).model or name
        models = {model.name: model for model in self._admission.models}
        usable = await usable_models(self._admission, interaction)
        return models.get((name or "").lower(), usable[0] if usable else self._admission.models[0])

    @imagine.autocomplete("aspect")
    async def _aspects(self, interaction: discord.Interaction[Client], typed: str) -> Choices:
        if not _people.is_served(interaction):
            return aspect_choices(typed)
        model = await self._model(interaction)
        sizes = await self._admission.delivered_sizes(
            _people.requester(interaction), _people.destination(interaction), model
        )
        return [
            app_commands.Choice(name=f"{aspect} — {width}×{height}", value=aspect)
            for aspect, (width, height) in sizes.items()
            if aspect.startswith(typed.strip())
        ]


async def setup(client: Client) -> None:
    """Add the cog."""
    app = client.app
    cog = Create(Series.of(client), app.admission, app.styles, app.config.discord.command)
    client.said = _words.said
    await add_cog(client, cog)
