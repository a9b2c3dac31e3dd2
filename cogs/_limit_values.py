"""The values of limits as moderators type and read them."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence

import discord

from bot.client import Client
from bot.config import ModelConfig
from bot.errors import UserError
from bot.jobs import RuleValue, Subject, utcnow
from bot.language import in_quotes, lasting, mark, say, say_many, sentence
from bot.money import dollars
from bot.policy.limits import SERVER, Limit, LimitName, Limits, Origin
from bot.policy.policy import Policy
from bot.policy.purse import HOST_MONEY, WHOSE
from bot.storage.refusals import Refusal
from cogs import _words
from cogs._times import seconds_of

ALL = "all"
NONE = "none"
_MOST_CHANNELS = 25
# The word for pictures in each language that Atelier speaks.
_PICTURES = re.compile(
    r"(\d{1,6})\s*(?:pictures?|images?|bild(?:er)?|imágen(?:es)?|imagen(?:es)?|imagens|imagem|obraz\w*|枚|画像)",
    re.IGNORECASE,
)
_SIZE = re.compile(r"(\d{1,5})\s*[x×]\s*(\d{1,5})", re.IGNORECASE)
_CHANNEL = re.compile(r"(?:<#)?(\d{15,20})>?")

_OTHER_RULES = {
    "block": mark("a block"),
    "pause": mark("a pause"),
    "terms": mark("the list of terms"),
    "safety": mark("prompt safety"),
    "engine": mark("the engine"),
    HOST_MONEY: mark("the budget of this Atelier"),
}
"""What refuses a request and is no limit that moderators set."""


class LimitValues:
    """Reads what moderators type, and says what it means with the models and the speed of this machine."""

    def __init__(self, policy: Policy, models: Sequence[ModelConfig]) -> None:
        self._policy = policy
        self._models = models

    def quota(self, text: str) -> int:
        """Seconds of painting time, from a duration or a number of usual pictures. Raises UserError for other words."""
        if (seconds := seconds_of(text)) is not None:
            return seconds
        if count := _PICTURES.fullmatch(text.strip()):
            return math.ceil(int(count[1]) * self._policy.usual_seconds())
        raise UserError(
            "`quota:` takes painting time, such as 10 min, or pictures, such as 500 pictures. A number alone means "
            "seconds: 600 are enough for about {count:,} pictures here. Nothing was changed.",
            count=int(600 / self._policy.usual_seconds()),
        )

    def models(self, text: str) -> tuple[str, ...] | None:
        """The models of a list; None for all of them. Raises UserError for an unknown one."""
        names = [name.strip().lower() for name in text.split(",") if name.strip()]
        if names == [ALL]:
            return None
        if names == [NONE]:
            return ()
        known = [model.name for model in self._models]
        if not names or (strange := [name for name in names if name not in known]):
            among = sentence(
                "Choose from: {models}; or write `all` or `none`. Nothing was changed.", models=", ".join(known)
            )
            if names:
                typed = in_quotes(_words.inert(strange[0], 60))
                raise UserError("There is no model {model}. {choose}", model=typed, choose=among)
            raise UserError(among)
        return tuple(sorted(set(names)))

    def is_shown(self, name: LimitName) -> bool:
        """Whether a limit concerns anything here: without a provider nothing costs money."""
        return name not in (LimitName.MONEY, LimitName.SERVER_MONEY) or any(model.provider for model in self._models)

    def table(self, limits: Limits, subject: Subject, changed: Collection[str] = ()) -> list[str]:
        """Every limit of a subject and who decided it, with a mark at those that were changed just now."""
        title = say("Limits for {subject}:", subject=_words.subject(subject))
        if subject == SERVER:
            title = say("Limits for everyone here:")
        shown = [name for name in LimitName if self.is_shown(name)]
        lines = {name: self.line(name, limits[name]) for name in shown}
        return [title, *(f"{line} ✏️" if name in changed else line for name, line in lines.items())]

    def line(self, name: LimitName, limit: Limit[RuleValue]) -> str:
        """One limit and who decided it."""
        value = _words.limit_said(name, limit.value)
        if more := self._more(name, limit.value):
            value = say("{limit} ({more})", limit=value, more=more)
        return say(
            "- **{limit}**: {value} — {origin}",
            limit=_words.option(name),
            value=value,
            origin=_words.origin(limit.origin),
        )

    def lowered(self, name: LimitName, before: Limit[RuleValue], after: Limit[RuleValue]) -> str:
        """From what to what a change lowers a limit."""
        value = _words.limit(name, after.value)
        if more := self._more(name, after.value):
            value = say("{limit} ({more})", limit=value, more=more)
        return say(
            "{limit} from {before} to {after}",
            limit=_words.option(name),
            before=_words.limit(name, before.value),
            after=value,
        )

    def _more(self, name: LimitName, value: object) -> str:
        """What makes a value of a limit easy to imagine; empty where nothing is needed."""
        if not isinstance(value, int):
            return ""
        if name is LimitName.QUOTA:
            return _words.usual_pictures(value, self._policy.usual_seconds())
        if name is LimitName.ANIMATION:
            model = self._models[0]
            count = value // (model.width * model.height)
            size = f"{model.width}×{model.height}"
            return say_many("{count:,} frame of {size}", "{count:,} frames of {size}", count, size=size)
        return ""


def pixels_of(text: str) -> int:
    """Pixels, from a size or a number. Raises UserError for other words."""
    if match := _SIZE.fullmatch(text.strip()):
        return int(match[1]) * int(match[2])
    digits = text.replace(",", "").replace("_", "").strip()
    if digits.isascii() and digits.isdigit() and len(digits) < 12:
        return int(digits)
    raise UserError(
        "“{typed}” is not a size. Write one like 1024x1024. Nothing was changed.", typed=_words.inert(text, 60)
    )


def channels_named(text: str, interaction: discord.Interaction[Client]) -> tuple[int, ...] | None:
    """The channels of a list; None for all of them. Raises UserError for one that is not of the server."""
    entries = text.replace(",", " ").replace("><", "> <").split()
    if entries == [ALL]:
        return None
    if entries == [NONE]:
        return ()
    if len(entries) > _MOST_CHANNELS:
        raise UserError("You can name up to {most} channels. Nothing was changed.", most=_MOST_CHANNELS)
    ids = [int(match[1]) if (match := _CHANNEL.fullmatch(entry)) else 0 for entry in entries]
    here = set() if interaction.guild is None else {channel.id for channel in interaction.guild.channels}
    strange = [entry for entry, channel_id in zip(entries, ids, strict=True) if channel_id not in here]
    if strange or not ids:
        said = _words.inert(strange[0] if strange else text, 60)
        raise UserError(
            "“{typed}” is not a channel of this server. Name some like #art #sketches. Nothing was changed.",
            typed=said,
        )
    return tuple(sorted(set(ids)))


def was(name: LimitName, limit: Limit[RuleValue]) -> str:
    """What held before a change, and who decided it."""
    return say("{value}, {origin}", value=_words.limit(name, limit.value), origin=_words.origin(limit.origin))


def short(name: LimitName, limit: Limit[RuleValue]) -> str:
    """A value of a limit, and who decided it."""
    return f"{_words.limit(name, limit.value)} ({_words.origin(limit.origin)})"


def refusal_said(refusal: Refusal) -> str:
    """A refusal as a line of a list: when, by which rule, and what was compared."""
    rule = say(_OTHER_RULES.get(refusal.rule, refusal.rule))
    if refusal.rule in list(LimitName):
        rule = _words.option(refusal.rule)
    line = f"- {_words.past(refusal.at)} **{rule}**"
    if refusal.asked is not None:
        asked: object = say("{number:,.0f}", number=refusal.asked)
        allowed: object = say("{number:,.0f}", number=refusal.allowed or 0)
        if refusal.rule == LimitName.QUOTA:
            asked, allowed = lasting(refusal.asked), lasting(refusal.allowed or 0)
        if refusal.rule in WHOSE:
            asked, allowed = dollars(round(refusal.asked)), dollars(round(refusal.allowed or 0))
        numbers = say("{asked} asked for, {allowed} allowed", asked=asked, allowed=allowed)
        if refusal.rule == LimitName.QUOTA or refusal.rule in WHOSE:
            numbers = say("{asked} used and asked for together, {allowed} allowed", asked=asked, allowed=allowed)
        line = _words.pair(line, numbers)
    if refusal.origin:
        line += f" ({_words.origin(Origin.parse(refusal.origin))})"
    if refusal.retry_at is not None and refusal.retry_at > utcnow():
        line = say("{refusal}, possible again {when}", refusal=line, when=_words.relative(refusal.retry_at))
    return line
