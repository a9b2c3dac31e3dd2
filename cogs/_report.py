"""A report in words, in the language of its reader."""

from __future__ import annotations

from collections.abc import Mapping

from bot.jobs import GuildId
from bot.language import mark, say, say_many
from bot.money import dollars
from bot.policy.words import SAFETY, TERMS
from bot.requests.defaults import Source
from bot.requests.presets import difference
from bot.search.quality import interval
from bot.storage.reports import GROUP, Liked, ModelReport, Period, Report
from cogs import _words

_SHOWN_SERVERS = 5
_SHOWN_LIKED = 5

_TITLES = {
    Period.DAY: (mark("This server, the last 24 hours"), mark("All servers, the last 24 hours")),
    Period.WEEK: (mark("This server, the last 7 days"), mark("All servers, the last 7 days")),
    Period.MONTH: (mark("This server, the last 30 days"), mark("All servers, the last 30 days")),
    Period.QUARTER: (mark("This server, the last 90 days"), mark("All servers, the last 90 days")),
    Period.YEAR: (mark("This server, the last 12 months"), mark("All servers, the last 12 months")),
}
_EMPTY = {
    Period.DAY: mark("There were no requests in the last 24 hours."),
    Period.WEEK: mark("There were no requests in the last 7 days."),
    Period.MONTH: mark("There were no requests in the last 30 days."),
    Period.QUARTER: mark("There were no requests in the last 90 days."),
    Period.YEAR: mark("There were no requests in the last 12 months."),
}

_RULES = {
    "block": mark("a block"),
    "engine": mark("what a model can do"),
    "pause": mark("a pause"),
    TERMS: mark("the words of this server"),
    SAFETY: mark("what is never painted"),
}
"""What refuses requests beside the limits."""


def is_empty(report: Report) -> bool:
    """Whether there were no requests, not even refused ones."""
    return not report.total.asked and not report.refused


def empty(report: Report) -> str:
    """The text for a report without requests."""
    return say(_EMPTY[report.period])


def title(report: Report) -> str:
    """The title: which servers, and which time."""
    here, everywhere = _TITLES[report.period]
    return say(here if report.servers is None else everywhere)


def text(report: Report, names: Mapping[GuildId, str]) -> str:
    """A report in words; `names` of servers, in a report on all of them."""
    return _words.fitting(
        [
            f"**{title(report)}**",
            *(f"- {line}" for line in _figures(report)),
            *(f"- {_model(model)}" for model in report.models),
            *_ranking(report),
            *_chosen(report),
            *_servers(report, names),
        ]
    )


def _figures(report: Report) -> list[str]:
    """What was painted and waited for, and what went wrong."""
    total, promises = report.total, report.promises
    lines = [
        say(
            "{pictures} for {people} in {time} of painting time",
            pictures=_words.pictures(total.pictures),
            people=_people(total.people),
            time=_words.seconds(total.gpu_seconds),
        ),
        say(
            "{requests}: {delivered} delivered, {failed} failed, {cancelled} cancelled, {open} open",
            requests=_words.requests(total.asked),
            delivered=total.delivered,
            failed=total.failed,
            cancelled=total.cancelled,
            open=total.open,
        ),
    ]
    if total.micros:
        money = dollars(total.micros)
        lines.append(say("{money} for providers, including what failed requests may have cost", money=money))
    if total.start_median is not None and total.start_p95 is not None:
        half, most = _words.seconds(total.start_median), _words.seconds(total.start_p95)
        lines.append(say("Half started within {half}, 95 % within {most}", half=half, most=most))
    if total.wait_median is not None and total.wait_p95 is not None:
        half, most = _words.seconds(total.wait_median), _words.seconds(total.wait_p95)
        lines.append(say("Half had their pictures within {half}, 95 % within {most}", half=half, most=most))
    if promises.error_median is not None:
        lines.append(
            say_many(
                "Start-time estimates were right {share:.0%} of the time (1 estimate); it was off by {error}",
                "Start-time estimates were right {share:.0%} of the time ({count} estimates); half were off by {error} "
                "or less",
                promises.told,
                share=promises.kept / promises.told,
                error=_words.seconds(promises.error_median),
            )
        )
    if report.refused:
        rules = [say("{count} by {rule}", count=count, rule=_rule(rule)) for rule, count in report.refused.items()]
        lines.append(say("Refused: {rules}", rules=", ".join(rules)))
    return lines


def _rule(name: str) -> str:
    """What refused requests: a limit by its name, or what else can."""
    return say(_RULES[name]) if name in _RULES else _words.option(name)


def _model(model: ModelReport) -> str:
    """What a model delivered, and how people rate it."""
    liked = model.reception
    requests = _words.requests(model.results)
    if liked is None:
        few = mark("`{model}`: {requests} delivered, fewer than {least} people rated it")
        return say(few, model=model.model, requests=requests, least=GROUP)
    line = say(
        "`{model}`: {requests} delivered, 👍 {up}, 👎 {down}",
        model=model.model,
        requests=requests,
        up=liked.up,
        down=liked.down,
    )
    if not liked.others:
        return line
    return say_many("{line}, 1 other reaction", "{line}, {count} other reactions", liked.others, line=line)


def _ranking(report: Report) -> list[str]:
    """Models, styles and samplers that at least GROUP people rated, the best first, each with its interval.

    They are ordered by the lower end, as search orders pictures, so that few people never beat many.
    """
    lines = []
    for kind, heading in (
        ("model", mark("- Liked, by model: {ranked}")),
        ("style", mark("- Liked, by style: {ranked}")),
        ("sampler", mark("- Liked, by sampler: {ranked}")),
    ):
        rated = [one for one in report.liked if one.kind == kind]
        if len(rated) > 1 or (rated and kind == "style"):
            best = sorted(rated, key=lambda one: (-interval(one.share, one.people)[0], one.name))[:_SHOWN_LIKED]
            lines.append(say(heading, ranked=", ".join(map(_rated, best))))
    if lines:
        lines.append(
            say("-# In brackets are 95 % intervals. Where two overlap, it is not known which one is liked better.")
        )
    return lines


def _rated(one: Liked) -> str:
    return f"`{one.name}` {_share(one.share, one.people)}"


def _share(share: float, people: int) -> str:
    """A share of people with its 95 % interval."""
    low, high = interval(share, people)
    words = mark("{share:.0%} ({low:.0%}–{high:.0%}, {people})")
    return say(words, share=share, low=low, high=high, people=_people(people))


def _chosen(report: Report) -> list[str]:
    """Whether presets that ratings choose help: nothing where none were chosen."""
    known = {each.source: each for each in report.chosen}
    if Source.LEARNED not in known:
        return []
    learned, control = known[Source.LEARNED], known.get(Source.CONTROL)
    if learned.share is None or control is None or control.share is None:
        return [
            say(
                "- Ratings chose the preset of {requests}; fewer than {least} people rated them or those with the "
                "usual settings, so it is not known whether that helps",
                requests=_words.requests(learned.results),
                least=GROUP,
            )
        ]
    low, high = difference((learned.share, learned.people), (control.share, control.people))
    verdict = (
        say("it helps") if low > 0 else say("it does harm") if high < 0 else say("it is not known whether it helps")
    )
    return [
        say(
            "- Liked where ratings chose the preset: {learned}; with the usual settings by lot: {control}. "
            "{points} points ({low} to {high}): {verdict}",
            learned=_share(learned.share, learned.people),
            control=_share(control.share, control.people),
            points=f"{100 * (learned.share - control.share):+.0f}",
            low=f"{100 * low:+.0f}",
            high=f"{100 * high:+.0f}",
            verdict=verdict,
        )
    ]


def _servers(report: Report, names: Mapping[GuildId, str]) -> list[str]:
    """The use of each server, in a report on all of them."""
    servers = report.servers or ()
    lines = []
    for server in servers[:_SHOWN_SERVERS]:
        known = names.get(server.guild_id)
        name = say("server {number}", number=server.guild_id) if known is None else _words.inert(known, 100)
        used, time = _words.pictures(server.pictures), _words.seconds(server.gpu_seconds)
        lines.append(say("- {server}: {pictures}, {time} of painting time", server=name, pictures=used, time=time))
    if more := servers[_SHOWN_SERVERS:]:
        lines.append(say_many("-# and 1 more server", "-# and {count} more servers", len(more)))
    return lines


def _people(count: int) -> str:
    return say_many("1 person", "{count} people", count)
