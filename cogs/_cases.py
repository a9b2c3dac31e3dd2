"""Cases in words: who did what in `/mod` and `/limits`, when and why; and what holds since."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import discord

from bot.jobs import PictureLimits, Scope, Subject
from bot.language import NAMES, Language, mark, say, say_many
from bot.policy.language import RULE as LANGUAGE
from bot.policy.limits import BLOCKED, GALLERY, LOG, PAUSED, QUOTA_FROM, LimitName
from bot.policy.picture_limits import THRESHOLD_RULES
from bot.policy.wildcards import WILDCARD
from bot.policy.words import TERM
from bot.requests.defaults import RULES as DEFAULT_RULES
from bot.requests.presets import RULE as PRESETS
from bot.responses import MESSAGE
from bot.storage.cases import CANCEL, CONTEST, DELETE, Case, is_final
from bot.storage.consents import CHANNEL as DATASET
from bot.storage.styles import RULE as STYLE_RULE
from cogs import _words

SHOWN = 10
"""Cases in one message."""

_SHOWN_TERMS = 5
_MENTION = re.compile(r"<(@&|@|#)(\d+)>|<t:(\d+)(?::\w)?>")


def receipt(case: Case, was: Mapping[str, str] | None = None) -> str:
    """What a moderator did, and the command that undoes it; `was` says what held before, by the name of a limit."""
    words = say("Case {number}: {change}.", number=case.number, change=change(case, was))
    if is_final(case.action):
        return words
    return f"{words} {say('`/mod undo case:{number}` undoes it.', number=case.number)}"


def said(case: Case | None, otherwise: str) -> str:
    """What a moderator did; or other words, if that was nothing."""
    return otherwise if case is None else receipt(case)


def change(case: Case, was: Mapping[str, str] | None = None) -> str:
    """What a case changed, with the old and the new values; `was` says what held before, by the name of a limit."""
    names = list(dict.fromkeys((*case.before, *case.after)))
    if names and all(name in list(LimitName) for name in names):
        return _limits_changed(case, names, was or {})
    done = say(case.action)
    if case.undoes is not None:
        done = say("undo of case {number}", number=case.undoes)
    if case.subject[0] is Scope.SERVER:
        what = say("{action} for this server", action=done)
    else:
        what = say("{action} for {subject}", action=done, subject=_words.subject(case.subject))
    if case.action == DELETE:
        words = say(
            "{what}: {pictures} of message {message}",
            what=what,
            pictures=_words.pictures(case.before["pictures"]),
            message=case.before["message"],
        )
        # Cases from before have no such count.
        if count := case.before.get("requests", 0):
            words = say_many(
                "{removed}; {count} open request of this message was cancelled",
                "{removed}; {count} open requests of this message were cancelled",
                count,
                removed=words,
            )
        return words
    if case.action == CANCEL:
        return _words.pair(what, _words.requests(len(case.after)))
    if names and all(name.startswith(CONTEST) for name in names):
        (state,) = case.after.values()
        words = say(_CONTEST_STATES[state], number=names[0].removeprefix(CONTEST))
        return words if case.undoes is None else _undone(case.undoes, words)
    if case.undoes is None and case.action in _PLAIN:
        here, there = _PLAIN[case.action]
        if isinstance(until := case.after.get(BLOCKED), str):
            ends = _words.moment(datetime.fromisoformat(until))
            return say("blocked {subject} until {when}", subject=_words.subject(case.subject), when=ends)
        return say(here) if case.subject[0] is Scope.SERVER else say(there, subject=_words.subject(case.subject))
    if names and all(name.startswith(TERM) for name in names):
        return _words.pair(what, _terms_changed(case))
    changes = [_changed(name, case) for name in names if _value(name, case.before) != _value(name, case.after)]
    return _words.pair(what, ", ".join(changes)) if changes else what


def _changed(name: str, case: Case) -> str:
    """What a case did to one rule. A rule that is called as the action is not named again."""
    value = _value(name, case.after)
    if name in case.before or name not in _OFF:
        value = f"{_value(name, case.before)} → {value}"
    return value if _rule(name) == say(case.action) and case.undoes is None else f"{_rule(name)} {value}"


def _limits_changed(case: Case, names: Sequence[str], was: Mapping[str, str]) -> str:
    """Which limits a case changed, for whom, and what held before."""
    parts = []
    for name in names:
        before = was.get(name) or _value(name, case.before)
        if name in case.after:
            parts.append(
                say(
                    "{limit} (before: {before})",
                    limit=_words.limit_said(LimitName(name), case.after[name]),
                    before=before,
                )
            )
        else:
            parts.append(
                say("the limit {limit} is removed (it was: {before})", limit=_words.option(name), before=before)
            )
    changes = "; ".join(parts)
    words = say("{changes}, for {subject}", changes=changes, subject=_words.subject(case.subject))
    if case.subject[0] is Scope.SERVER:
        words = say("{changes}, for everyone here", changes=changes)
    if case.undoes is not None:
        return _undone(case.undoes, words)
    return words


def _undone(number: int, changes: str) -> str:
    return say("undo of case {number}: {changes}", number=number, changes=changes)


_CONTEST_STATES = {
    "entries": mark("contest {number} takes entries now"),
    "voting": mark("contest {number} takes votes now"),
    "counted": mark("contest {number} is over, and its votes are counted"),
    "cancelled": mark("contest {number} is cancelled"),
}

_PLAIN = {
    "block": (mark("blocked everyone on this server"), mark("blocked {subject}")),
    "unblock": (mark("unblocked everyone on this server"), mark("unblocked {subject}")),
    "pause": (mark("paused painting for this server"), mark("paused painting for {subject}")),
    "resume": (mark("resumed painting for this server"), mark("resumed painting for {subject}")),
}
"""What moderators did where the name of the action says all: for the server, and for another subject."""

_ACTIONS = (
    *(mark("block"), mark("unblock"), mark("pause"), mark("resume"), mark("cancel"), mark("delete")),
    *(mark("limits set"), mark("limits clear"), mark("quota reset"), mark("gallery"), mark("defaults")),
    *(mark("pictures"), mark("log"), mark("language"), mark("presets"), mark("dataset channel"), mark("dismiss")),
    *(mark("terms add"), mark("terms remove"), mark("wildcards add"), mark("wildcards remove")),
    *(mark("contest start"), mark("contest end"), mark("contest cancel")),
    *(mark("style add"), mark("style edit"), mark("style remove"), mark("style import")),
)
"""The actions of cases. One that is missing here is shown by its English name."""


def _terms_changed(case: Case) -> str:
    """Which terms a case put on the list of a server, and which it took off."""
    parts = []
    if terms := [str(term) for name, term in case.after.items() if name not in case.before]:
        parts.append(say_many("added the term {terms}", "added the terms {terms}", len(terms), terms=_shown(terms)))
    if terms := [str(term) for name, term in case.before.items() if name not in case.after]:
        parts.append(say_many("removed the term {terms}", "removed the terms {terms}", len(terms), terms=_shown(terms)))
    return ", ".join(parts) or say("the spelling of a term")


def _shown(terms: Sequence[str]) -> str:
    """The first terms of several, behind spoilers, and how many more there are."""
    shown = ", ".join(map(_words.hidden, terms[:_SHOWN_TERMS]))
    more = len(terms) - _SHOWN_TERMS
    return say("{listed} and {count} more", listed=shown, count=more) if more > 0 else shown


_RULES = {
    QUOTA_FROM: mark("painting time that counts"),
    LOG: mark("log channel"),
    PRESETS: mark("presets among which ratings choose"),
    DATASET: mark("results for data sets"),
    LANGUAGE: mark("language"),
    THRESHOLD_RULES["block"]: mark("pictures: block"),
    THRESHOLD_RULES["spoiler"]: mark("pictures: spoiler"),
    DEFAULT_RULES["images"]: mark("usual images"),
    DEFAULT_RULES["aspect"]: mark("usual aspect"),
    DEFAULT_RULES["model"]: mark("usual model"),
    GALLERY: mark("gallery"),
    PAUSED: mark("paused"),
    BLOCKED: mark("blocked"),
}


def _rule(name: str) -> str:
    """What a rule is called."""
    if name.startswith(STYLE_RULE):
        return say("the style `{style}`", style=name.removeprefix(STYLE_RULE))
    if name.startswith(WILDCARD):
        return say("the wildcard `{wildcard}`", wildcard=f"__{name.removeprefix(WILDCARD)}__")
    if name in list(LimitName):
        return _words.option(name)
    return say(_RULES.get(name, name.replace(":", " ")))


def defaults_of(place: Subject, rules: Mapping[str, Any]) -> str:
    """What the requests of a place get if people choose nothing."""
    lines = [f"- {_words.pair(_words.option(name), _value(rule, rules))}" for name, rule in DEFAULT_RULES.items()]
    heading = say("**Defaults of {subject}**", subject=_words.subject(place))
    if place[0] is Scope.SERVER:
        heading = say("**Defaults of this server**")
    wins = say("-# What a person types or sets with `/settings` wins. `clear:` removes a default.")
    return "\n".join([heading, *lines, wins])


def thresholds_of(place: Subject, rules: Mapping[str, Any], limits: PictureLimits, *, is_off: bool) -> str:
    """How explicit pictures may be in a place: what holds, and which of it moderators have set there."""
    if is_off:
        return say(
            "The host has switched the safety check off: no picture is checked, and these thresholds have no effect."
        )
    lines = [say("**Pictures in {subject}**", subject=_words.subject(place))]
    if place[0] is Scope.SERVER:
        lines = [say("**Pictures in this server**")]
    for name, rule in THRESHOLD_RULES.items():
        value = limits.block if name == "block" else limits.spoiler
        holds = say("never") if value is None else say("from {share:.0%}", share=value)
        origin = say("not set here")
        if rule in rules:
            origin = say("set here to {share:.0%}", share=float(rules[rule]) / 100)
        lines.append(f"- {_words.pair(_words.option(name), holds)} ({origin})")
    lines.append(
        say("-# The safety check says of each picture, also of those that people send, how explicit it is, in percent.")
    )
    return "\n".join(lines)


_OFF = (PAUSED, BLOCKED, GALLERY, LOG, DATASET, PRESETS)


def _value(name: str, rules: Mapping[str, Any]) -> str:
    """The value of a rule in words; without the rule, words that say so."""
    if name not in rules:
        is_off = name in _OFF or name.startswith((STYLE_RULE, WILDCARD))
        return say("all of it") if name == QUOTA_FROM else say("no") if is_off else say("no rule")
    value = rules[name]
    if name.startswith(STYLE_RULE):
        return say("version {version}", version=value)
    if name.startswith(WILDCARD):
        return f"{_words.inert(', '.join(value), 100)} ({len(value)})"
    if name == GALLERY:
        channel_id, threshold = value
        place = _words.subject((Scope.CHANNEL, channel_id))
        return say_many(
            "{channel}, for results with {count} favourite or more",
            "{channel}, for results with {count} favourites or more",
            threshold,
            channel=place,
        )
    if name == PRESETS:
        return ", ".join(f"`{style}`" for style in value)
    if name == LOG:
        return _words.subject((Scope.CHANNEL, value))
    if name in list(LimitName):
        return _words.limit(LimitName(name), value)
    if name in (BLOCKED, QUOTA_FROM) and isinstance(value, str):
        at = datetime.fromisoformat(value)
        return (
            say("since {when}", when=_words.moment(at))
            if name == QUOTA_FROM
            else say("until {when}", when=_words.moment(at))
        )
    if name in DEFAULT_RULES.values():
        return f"`{_words.inert(str(value), 40)}`"
    if name in THRESHOLD_RULES.values():
        return say("{share:.0%}", share=value / 100)
    if name == LANGUAGE and value in list(Language):
        return NAMES[Language(value)]
    return say("yes") if value in (None, True) else str(value)


def page(cases: Sequence[Case]) -> str:
    """As many cases as one message holds, and the way to the older ones."""
    for count in range(len(cases), 0, -1):
        lines = [_line(case) for case in cases[:count]]
        last = cases[count - 1].number
        more = last > 1 and (count < len(cases) or count == SHOWN)
        older = "\n" + say("-# Older ones: `/mod cases before:{case}`", case=last) if more else ""
        room = MESSAGE - len(older)
        if count == 1 or len("\n".join(lines)) <= room:
            return _words.fitting(lines, room) + older
    return say("There are no such cases.")


def _line(case: Case) -> str:
    reason = f" — {_words.inert(case.reason, 300)}" if case.reason else ""
    return f"**{case.number}** {_words.past(case.at)} <@{case.by}>: {change(case)}{reason}"


def plain(words: str, guild: discord.Guild | None) -> str:
    """What a case changed, without Discord's mark-up, which no list of choices reads; spoilers stay shut."""

    def name(found: re.Match[str]) -> str:
        kind, number, at = found[1], int(found[2] or 0), found[3]
        if at is not None:
            return datetime.fromtimestamp(int(at), UTC).strftime("%Y-%m-%d %H:%M UTC")
        if guild is None:
            return found[0]
        if kind == "@":
            # Without the privileged intent, Discord tells nobody's name.
            there: discord.abc.Snowflake | None = guild.get_member(number)
            if there is None:
                return say("a member")
        else:
            there = guild.get_role(number) if kind == "@&" else guild.get_channel_or_thread(number)
        shown = getattr(there, "display_name", None) or getattr(there, "name", number)
        return f"{kind[0]}{shown}"

    words = re.sub(r"\|\|.*?\|\|", "…", words)
    return re.sub(r"\\(?=\W)|`", "", _MENTION.sub(name, words))
