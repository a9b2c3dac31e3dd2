"""Gives Discord the names and descriptions of commands, options and choices in every language."""

from __future__ import annotations

import discord
from discord import app_commands
from discord.app_commands import TranslationContextLocation as Location

from bot.language import Language, catalogues, current, of_locale

_CONTEXTS = {
    Location.command_name: catalogues.COMMAND,
    Location.group_name: catalogues.COMMAND,
    Location.parameter_name: catalogues.OPTION,
    Location.choice_name: catalogues.CHOICE,
}


class CommandTranslator(app_commands.Translator):
    """Looks texts of commands up in the catalogues. What has no translation stays English."""

    async def translate(
        self, string: app_commands.locale_str, locale: discord.Locale, context: app_commands.TranslationContextTypes
    ) -> str | None:
        """One text in one of Discord's locales; None where Discord is to show the English one."""
        return translated(string.message, locale.value, context.location)


def translated(text: str, locale: str, location: Location) -> str | None:
    """One text of a command in one of Discord's locales; None where it stays English."""
    language = of_locale(locale)
    if language is None or language is Language.ENGLISH:
        return None
    context = _CONTEXTS.get(location)
    found = catalogues.translation(language, text) if context is None else catalogues.name(language, context, text)
    return found if found != text else None


def shown_name(context: str, text: str) -> str:
    """The name of a command, an option or a choice as Discord shows it to the person to whom this task speaks."""
    return text if current() is Language.ENGLISH else catalogues.name(current(), context, text)
