"""The texts of messages. Text that a person typed is shown inert: it pings no one, shows no link, formats nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import discord

from bot.errors import Reference, format_references
from bot.jobs import GenerationRequest, Scope, Subject, utcnow
from bot.language import Language, current, lasting, mark, say, say_many, speaking
from bot.language.catalogues import COMMAND, OPTION
from bot.logs import hide
from bot.money import dollars, micros_of_cents
from bot.policy.limits import HOST, LimitName, Origin, spoken
from bot.policy.words import LONGEST_TERM
from bot.requests.improving import Addition
from bot.requests.wording import is_sentence
from bot.responses import MESSAGE, fitted, units
from bot.translator import shown_name

_SHOWN_PROMPT = 400
SPARE = 250
"""Characters kept free in a failure message."""

# Discord shows a card for an invitation, even if its address has no https://.
_INVITE = re.compile(r"discord(?:app)?\.(?:gg|com)(?=/)", re.IGNORECASE)


REFUSED = mark("This request was not accepted.")
ANSWERED = mark("You already answered this.")
EXPIRED_BILL = mark("Atelier was restarted, or this message is too old. Ask again; your quota is unchanged.")
BUSY = mark("I get more requests at the moment than I can answer in time. Try again in a few seconds.")
EXPIRED = mark("This button has expired.")
FORGOTTEN = mark(
    "Deleted. I now delete my messages with your requests and pictures one by one. You can ask for new pictures "
    "whenever you like; the part of your quota that you used today still counts."
)
_NEAR = timedelta(seconds=15)


def inert(text: str, limit: int = _SHOWN_PROMPT) -> str:
    """Show a person's text as it is: formatting and mentions escaped, links without preview, cut at `limit`."""
    # If Discord refuses the message, its error quotes this text: keep it out of the log.
    hide(text)
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    text = re.sub(r"([\\*_`~|<>\[\]()#-])", r"\\\1", text)
    text = _INVITE.sub("\\g<0>\u200b", text.replace("://", ":\u200b//"))
    return discord.utils.escape_mentions(text)


def relative(at: datetime) -> str:
    """A time that Discord shows as a countdown."""
    return f"<t:{int(at.timestamp())}:R>"


def coming(at: datetime) -> str:
    """A time to come as a countdown; one that is near is "in a moment", because Discord would count into the past."""
    return say("in a moment") if at - utcnow() < _NEAR else relative(at)


def moment(at: datetime) -> str:
    """A time that Discord shows as a date and a time of day, with how far it is away."""
    return f"<t:{int(at.timestamp())}:f> ({relative(at)})"


def past(at: datetime) -> str:
    """A past time that Discord shows as "… ago". A time in the future, because the clock was set back, becomes now."""
    return relative(min(at, utcnow()))


def seconds(count: float) -> str:
    """A duration for people; a negative one is shown as 0."""
    count = max(count, 0.0)
    if count < 10:
        return say("{number:.1f} s", number=count)
    if count < 90:
        return say("{number:.0f} s", number=count)
    if count < 5400:
        return say("{number:.0f} min", number=count / 60)
    return say("{number:.1f} h", number=count / 3600)


def pictures(count: int) -> str:
    """A number of pictures."""
    return say_many("1 picture", "{count} pictures", count)


def requests(count: int) -> str:
    """A number of requests."""
    return say_many("1 request", "{count} requests", count)


def amount(request: GenerationRequest) -> str:
    """How much a request paints."""
    if not request.frames:
        return pictures(request.num_images_per_prompt)
    if request.operation.is_film:
        return say_many("a film of {count} frame", "a film of {count} frames", request.frames)
    return say_many("an animation of {count} frame", "an animation of {count} frames", request.frames)


def subject(about: Subject) -> str:
    """The server, channel, role or person that a rule is about, as a mention."""
    scope, subject_id = about
    match scope:
        case Scope.SERVER:
            return say("this server")
        case Scope.CHANNEL:
            return f"<#{subject_id}>"
        case Scope.ROLE:
            return f"<@&{subject_id}>"
        case Scope.PERSON:
            return f"<@{subject_id}>" if subject_id else say("a person")


def origin(decided: Origin) -> str:
    """Who decided a limit, in words."""
    if decided == HOST or decided.scope is None:
        return say("this bot's default")
    if decided.scope is Scope.SERVER:
        return say("the rule for this server")
    return say("the rule for {subject}", subject=subject((decided.scope, decided.subject_id)))


def command(name: str) -> str:
    """The name of one of the bot's commands as the reader sees it, with its slash."""
    return f"`/{command_name(name)}`"


def command_name(name: str) -> str:
    """The name of a command as the reader sees it."""
    return " ".join(shown_name(COMMAND, word) for word in name.split())


def limit(name: LimitName, value: Any) -> str:
    """The value of a limit as people read it."""
    if name is LimitName.CHANNELS:
        if value is None:
            return say("every channel")
        return ", ".join(subject((Scope.CHANNEL, channel_id)) for channel_id in value) or say("no channel")
    if name is LimitName.MODELS:
        if value is None:
            return say("every model")
        return ", ".join(f"`{model}`" for model in value) or say("no model")
    if name is LimitName.QUOTA:
        return str(lasting(value))
    if name in (LimitName.MONEY, LimitName.SERVER_MONEY):
        return dollars(micros_of_cents(value))
    return say("{number:,}", number=value)


def usual_pictures(seconds: float, usual: float) -> str:
    """How many usual pictures a painting time is enough for, at the speed of now."""
    return say_many("about {count:,} usual picture", "about {count:,} usual pictures", int(seconds / usual + 1e-6))


def limit_said(name: LimitName, value: Any) -> str:
    """What a value of a limit allows, such as "at most 4 pictures per prompt"."""
    return str(spoken(name, value)) if isinstance(value, int) else limit(name, value)


def said(sentence: str) -> str:
    """A sentence in words, with its references formatted for Discord."""
    return format_references(str(sentence), _FORMATTERS)


def _subject_of(text: str) -> str:
    about = Origin.parse(text)
    if about.scope is None:
        raise ValueError(text)
    return subject((about.scope, about.subject_id))


_FORMATTERS: Mapping[Reference, Callable[[str], str]] = {
    Reference.ORIGIN: lambda text: origin(Origin.parse(text)),
    Reference.SUBJECT: _subject_of,
    # Discord counts down in whole seconds. Add one second, so that the time has come when the countdown ends.
    Reference.TIME: lambda text: relative(datetime.fromisoformat(text) + timedelta(seconds=1)),
    Reference.COMMAND: command,
    Reference.OPTION: lambda text: f"`{option(text)}`",
    # Discord would take bare underscores for underlining.
    Reference.WILDCARD: lambda text: f"`__{text}__`",
}


def offer(additions: Sequence[Addition], notes: Sequence[str] = ()) -> str:
    """What would improve a prompt, and how it is liked; nothing is changed yet."""
    lines = [say("People here like pictures whose prompts have this. Nothing is changed yet.")]
    lines += [
        say(
            "- **{words}**: liked by {share:.0%} of the {people} people who rated pictures with it",
            words=inert(addition.text, 80),
            share=addition.reception.share,
            people=addition.reception.people,
        )
        for addition in additions
    ]
    return fitting([*lines, *(say("-# About your request: {note}", note=said(note)) for note in notes)])


def presence(waiting: int, running: int) -> str:
    """The status under the bot's name: how many requests are painted and how many wait."""
    if not waiting and not running:
        return say("Ready to paint")
    return say("Painting {running}, {waiting} waiting", running=running, waiting=waiting)


def declined(back: str) -> str:
    """The answer after a person declined a big request; `back` returns the prompt."""
    return f"{say('Your quota is unchanged.')} {back}"


_DESCRIBED = mark("This is what I see. Only you see this message.")


def described(said: str) -> str:
    """The answer to a person who wants a picture described; `said` is the sentence of the model."""
    before, after = _around_description()
    room = MESSAGE - units(before) - units(after)
    return before + fitted(said.replace("``", "`\u200b`"), room) + after


def _around_description() -> tuple[str, str]:
    """What stands before and after the sentence of a model."""
    return f"{say(_DESCRIBED)}\n```\n", "\n```"


def described_in(message: str) -> str:
    """The sentence in a message that `described` made, in any language; nothing if there is none."""
    for language in dict.fromkeys((current(), *Language)):
        with speaking(language):
            before, after = _around_description()
        if message.startswith(before) and message.endswith(after):
            return message[len(before) : len(message) - len(after)]
    return ""


def handed_back(prompt: str, room: int) -> str:
    """A prompt to copy, with its frame in at most `room` UTF-16 units; a longer prompt is cut."""
    inert_prompt = prompt.replace("``", "`\u200b`")
    heading = say("Your prompt, to copy:")
    whole = f"{heading}\n```\n{inert_prompt}\n```"
    if units(whole) <= room:
        return whole
    before = f"{say('Only its beginning fits here.')} {heading}\n```\n"
    after = "\n```"
    return before + fitted(inert_prompt, room - units(before) - units(after)) + after


def notes(remarks: Iterable[str]) -> str:
    """The notes for the person whose request was accepted: changed values, words that the model does not know."""
    lines = [said(remark) for remark in remarks]
    if len(lines) == 1:
        (note,) = lines
        return fitting([note if is_sentence(note) else say("About your request: {note}.", note=note.rstrip(".。"))])
    return fitting([say("About your request:"), *(f"- {line}" for line in lines)])


def fitting(lines: Sequence[str], room: int = MESSAGE) -> str:
    """As many whole lines as `room` UTF-16 units hold. The first line is cut if it alone is too long."""
    text = "\n".join(lines)
    if units(text) <= room:
        return text
    cut = fitted(text, room - 1)
    whole = cut.rpartition("\n")[0]
    return f"{whole}\n…" if whole else cut


def pages(text: str, room: int = MESSAGE) -> list[str]:
    """A page of several parts as messages: as many whole parts in each as `room` UTF-16 units hold."""
    found: list[str] = []
    for part in re.split(r"\n(?=## )", text.strip()):
        together = f"{found[-1]}\n{part}" if found else part
        if found and units(together) <= room:
            found[-1] = together
        else:
            found.append(fitting(part.splitlines(), room))
    return found


def hidden(text: str) -> str:
    """A text that a person typed, behind a spoiler."""
    return f"||{inert(text, LONGEST_TERM)}||"


def pair(name: str, value: str) -> str:
    """What something is called and what it is, as a list shows it."""
    return say("{name}: {value}", name=name, value=value)


def option(name: str) -> str:
    """The name of an option as the reader sees it."""
    return shown_name(OPTION, name)
