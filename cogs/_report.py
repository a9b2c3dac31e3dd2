"""A report as words, as a chart, and as a table of comma-separated values."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from bot.charts.plot import Chart, Panel, Series
from bot.jobs import GuildId
from bot.money import dollars
from bot.requests.defaults import Source
from bot.requests.presets import difference
from bot.search.quality import interval
from bot.storage.drift import ModelStep
from bot.storage.reports import GROUP, Figures, Report
from cogs import _words

HEADER = ("start", "end", "measure", "of", "value")
"""The columns of the table: each row has one value, of one step or of the whole span."""

_ALT = 1024
_SHOWN_SERVERS = 5
_SHOWN_LIKED = 5
_LONGEST_NAME = 16
_DRAWN_MODELS = 3
"""As many lines as can be told apart."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_UNITS = (("hours", 3600.0), ("minutes", 60.0), ("seconds", 1.0))


def is_empty(report: Report) -> bool:
    """Whether there were no requests, not even refused ones."""
    return not report.total.asked and not report.refused


def empty(report: Report) -> str:
    """The text for a report without requests."""
    return f"There were no requests in the last {report.period}."


def text(report: Report, names: Mapping[GuildId, str]) -> str:
    """A report in words; `names` of servers, in a report on all of them."""
    total, promises = report.total, report.promises
    people = "1 person" if total.people == 1 else f"{total.people} people"
    lines = [
        f"**{title(report)}**",
        f"- {_words.pictures(total.pictures)} for {people} in {_words.seconds(total.gpu_seconds)} of GPU time",
        f"- {total.asked} requests: {total.delivered} delivered, {total.failed} failed, "
        f"{total.cancelled} cancelled, {total.open} open",
    ]
    if total.micros:
        lines.append(f"- {dollars(total.micros)} for providers, with what they may have charged for nothing")
    if total.start_median is not None and total.start_p95 is not None:
        lines.append(f"- Half started within {_words.seconds(total.start_median)}, {_most(total.start_p95)}")
    if total.wait_median is not None and total.wait_p95 is not None:
        lines.append(f"- Half had their pictures within {_words.seconds(total.wait_median)}, {_most(total.wait_p95)}")
    if promises.error_median is not None:
        lines.append(
            f"- Start-time estimates were right {promises.kept / promises.told:.0%} of the time "
            f"({promises.told} estimates); half were off by {_words.seconds(promises.error_median)} or less"
        )
    if report.refused:
        lines.append(f"- Refused: {', '.join(f'{count} by {rule}' for rule, count in report.refused.items())}")
    for model in report.models:
        liked = model.reception
        said = f"fewer than {GROUP} people rated it" if liked is None else f"👍 {liked.up}, 👎 {liked.down}"
        if liked is not None and liked.others:
            said += f", {liked.others} other reactions"
        lines.append(f"- `{model.model}`: {_requests(model.results)} delivered, {said}")
    lines += ranking(report)
    lines += chosen(report)
    servers = report.servers or ()
    for server in servers[:_SHOWN_SERVERS]:
        name = _words.inert(names.get(server.guild_id, f"server {server.guild_id}"), 100)
        use = f"{_words.pictures(server.pictures)}, {_words.seconds(server.gpu_seconds)} of GPU time"
        lines.append(f"- {name}: {use}")
    if len(servers) > _SHOWN_SERVERS:
        lines.append(f"-# and {len(servers) - _SHOWN_SERVERS} more servers")
    return _words.fitting(lines)


def ranking(report: Report) -> list[str]:
    """Models, styles and samplers that at least GROUP people rated, the best first, each with its interval.

    They are ordered by the lower end, as search orders pictures, so that few people never beat many.
    """
    lines = []
    for kind in ("model", "style", "sampler"):
        intervals = [(one, *interval(one.share, one.people)) for one in report.liked if one.kind == kind]
        if len(intervals) > 1 or (intervals and kind == "style"):
            best = sorted(intervals, key=lambda each: (-each[1], each[0].name))[:_SHOWN_LIKED]
            told = [
                f"`{one.name}` {one.share:.0%} ({low:.0%}–{high:.0%}, {one.people} people)" for one, low, high in best
            ]
            lines.append(f"- Liked, by {kind}: {', '.join(told)}")
    if lines:
        lines.append("-# In brackets are 95 % intervals. Where two overlap, it is not known which one is liked better.")
    return lines


def chosen(report: Report) -> list[str]:
    """Whether presets that ratings choose help: nothing where none were chosen."""
    known = {each.source: each for each in report.chosen}
    if Source.LEARNED not in known:
        return []
    learned, control = known[Source.LEARNED], known.get(Source.CONTROL)
    if learned.share is None or control is None or control.share is None:
        return [
            f"- Ratings chose the preset of {_requests(learned.results)}; fewer than {GROUP} people rated them or "
            "those with the usual settings, so it is not known whether that helps"
        ]
    by_ratings, by_lot = (
        f"{share:.0%} ({low:.0%}–{high:.0%}, {people} people)"
        for share, people in ((learned.share, learned.people), (control.share, control.people))
        for low, high in [interval(share, people)]
    )
    low, high = difference((learned.share, learned.people), (control.share, control.people))
    verdict = "it helps" if low > 0 else "it does harm" if high < 0 else "it is not known whether it helps"
    points = f"{100 * (learned.share - control.share):+.0f} points ({100 * low:+.0f} to {100 * high:+.0f})"
    return [
        f"- Liked where ratings chose the preset: {by_ratings}; with the usual settings by lot: {by_lot}. "
        f"{points}: {verdict}"
    ]


def title(report: Report) -> str:
    """The title: which servers, and which time."""
    where = "This server" if report.servers is None else "All servers"
    return f"{where}, the last {report.period}"


def chart(report: Report) -> Chart:
    """The report over time."""
    steps = report.steps
    gpu, gpu_unit = _scaled([figures.gpu_seconds for figures in steps])
    half, _ = _scaled([figures.wait_median for figures in steps], of=[figures.wait_p95 for figures in steps])
    most, wait_unit = _scaled([figures.wait_p95 for figures in steps])
    return Chart(
        f"{title(report)} (UTC)",
        _names(report.span.starts, report.span.step),
        (
            Panel("Pictures", (Series("pictures", [figures.pictures for figures in steps]),)),
            Panel(f"GPU time, {gpu_unit}", (Series("GPU time", gpu),)),
            Panel(f"Wait, {wait_unit}", (Series("half within", half), Series("95 % within", most)), lines=True),
            Panel(
                "Not painted",
                (
                    Series("failed", [figures.failed for figures in steps]),
                    Series("cancelled", [figures.cancelled for figures in steps]),
                    Series("refused", [sum(rules.values()) for rules in report.refusals]),
                ),
            ),
        ),
    )


def drift(report: Report) -> Chart | None:
    """Each model over time: the ones with the most requests. None if there was nothing to paint."""
    models = _drawn_models(report)
    if not models:
        return None
    known = {(each.model, each.step): each for each in report.drift}

    def series(value: Callable[[ModelStep], float | None]) -> list[Series]:
        steps = range(report.span.count)
        return [
            Series(
                _short(name), [value(each) if (each := known.get((name, step))) is not None else None for step in steps]
            )
            for name in models
        ]

    _, unit = _scaled([each.wait_median for each in report.drift if each.model in models])
    size = dict(_UNITS)[unit]
    return Chart(
        f"Models of {title(report)[0].lower()}{title(report)[1:]}",
        _names(report.span.starts, report.span.step),
        (
            Panel("Liked, %", series(lambda each: _percent(each.share)), lines=True),
            Panel(
                f"Half waited at most, {unit}",
                series(lambda each: None if each.wait_median is None else each.wait_median / size),
                lines=True,
            ),
            Panel("Failed, %", series(lambda each: _percent(each.failed_share)), lines=True),
            Panel("GPU seconds for a step", series(lambda each: each.step_seconds), lines=True),
        ),
    )


def _drawn_models(report: Report) -> list[str]:
    asked: Counter[str] = Counter()
    for each in report.drift:
        asked[each.model] += each.asked
    return [name for name, _ in sorted(asked.items(), key=lambda item: (-item[1], item[0]))[:_DRAWN_MODELS]]


def _short(name: str) -> str:
    """The name of a model, so that three of them fit beside the title of a panel."""
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def drift_alt(report: Report) -> str:
    """What the chart of models shows, for people who cannot see it: each model in its first and last step."""
    parts = []
    for name in _drawn_models(report):
        steps = [each for each in report.drift if each.model == name]
        facts = [_requests(sum(each.asked for each in steps))]
        if seconds := [f"{each.step_seconds:.3f}" for each in steps if each.step_seconds is not None]:
            facts.append(f"GPU seconds for a step first {seconds[0]}, then {seconds[-1]}")
        if shares := [f"{each.share:.0%}" for each in steps if each.share is not None]:
            facts.append(f"liked first by {shares[0]}, then by {shares[-1]}")
        parts.append(f"{name}: {', '.join(facts)}")
    return f"Four charts of models over time. {'; '.join(parts)}."[:_ALT]


def alt(report: Report) -> str:
    """What the chart shows, for people who cannot see it."""
    steps, starts = report.steps, report.span.starts
    busiest = max(range(len(steps)), key=lambda number: steps[number].pictures)
    every = {timedelta(hours=1): "hour", timedelta(days=1): "day"}.get(report.span.step, "week")
    words = f"{title(report)}, by the {every}, in UTC. {_words.pictures(report.total.pictures)} in all"
    if steps[busiest].pictures:
        begun = f"{starts[busiest]:%H:%M}" if every == "hour" else f"{starts[busiest].day} {starts[busiest]:%B}"
        words += f", most in the {every} of {begun}: {steps[busiest].pictures}"
    words += f"; {_words.seconds(report.total.gpu_seconds)} of GPU time"
    if report.total.wait_median is not None:
        words += f"; half had their pictures within {_words.seconds(report.total.wait_median)}"
    ends = (report.total.failed, "failed"), (report.total.cancelled, "cancelled"), (_sum(report.refused), "refused")
    words += "; " + ", ".join(f"{count} {what}" for count, what in ends)
    return f"Four charts. {words}."[:_ALT]


def table(report: Report) -> str:
    """The report as a table with HEADER: first all of the span, then each of its steps; times in UTC, ISO 8601.

    It names no person and quotes no prompt, and a spreadsheet reads no cell of it as a formula.
    """
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(HEADER)
    span = report.span
    for measure, of, value in _of_all(report):
        writer.writerow(_cells(span.since, span.until, measure, of, value))
    for step, (start, figures, refusals) in enumerate(zip(span.starts, report.steps, report.refusals, strict=True)):
        refused = (("refused", rule, refusals[rule]) for rule in refusals)
        models = (row for each in report.drift if each.step == step for row in _of_model(each))
        for measure, of, value in (*_of_figures(figures), *refused, *models):
            writer.writerow(_cells(start, start + span.step, measure, of, value))
    return file.getvalue()


def _of_all(report: Report) -> Iterator[tuple[str, str, float]]:
    yield "people", "", report.total.people
    yield from _of_figures(report.total)
    yield "start_times_stated", "", report.promises.told
    yield "start_times_kept", "", report.promises.kept
    if report.promises.error_median is not None:
        yield "start_time_error_seconds_median", "", report.promises.error_median
    for rule, count in report.refused.items():
        yield "refused", rule, count
    for model in report.models:
        yield "results", model.model, model.results
        if model.reception is not None:
            yield "thumbs_up", model.model, model.reception.up
            yield "thumbs_down", model.model, model.reception.down
            yield "other_reactions", model.model, model.reception.others
    for one in report.liked:
        low, high = interval(one.share, one.people)
        for measure, value in (("people", one.people), ("share", one.share), ("share_low", low), ("share_high", high)):
            yield f"liked_{one.kind}_{measure}", one.name, value
    for each in report.chosen:
        yield f"chosen_by_{each.source}_results", "", each.results
        if each.share is not None:
            yield f"chosen_by_{each.source}_people", "", each.people
            yield f"chosen_by_{each.source}_share", "", each.share
    for server in report.servers or ():
        yield "server_pictures", str(server.guild_id), server.pictures
        yield "server_gpu_seconds", str(server.guild_id), server.gpu_seconds


def _of_model(each: ModelStep) -> Iterator[tuple[str, str, float]]:
    values = {
        "model_requests": each.asked,
        "model_failed": each.failed,
        "model_wait_seconds_median": each.wait_median,
        "model_step_seconds": each.step_seconds,
        "model_liked_share": each.share,
    }
    for measure, value in values.items():
        if value is not None:
            yield measure, each.model, value


def _of_figures(figures: Figures) -> Iterator[tuple[str, str, float]]:
    values: dict[str, float | None] = {
        "requests": figures.asked,
        "delivered": figures.delivered,
        "failed": figures.failed,
        "cancelled": figures.cancelled,
        "open": figures.open,
        "pictures": figures.pictures,
        "gpu_seconds": figures.gpu_seconds,
        "micro_dollars": figures.micros or None,
        "start_seconds_median": figures.start_median,
        "start_seconds_p95": figures.start_p95,
        "wait_seconds_median": figures.wait_median,
        "wait_seconds_p95": figures.wait_p95,
    }
    for measure, value in values.items():
        if value is not None:
            yield measure, "", value


def _cells(start: datetime, end: datetime, measure: str, of: str, value: float) -> tuple[str, ...]:
    return f"{start:%Y-%m-%dT%H:%M:%SZ}", f"{end:%Y-%m-%dT%H:%M:%SZ}", measure, inert_cell(of), number_cell(value)


def number_cell(value: float) -> str:
    """A number with up to three digits behind the point."""
    return f"{value:.3f}".rstrip("0").rstrip(".")


def inert_cell(text: str) -> str:
    """A text that a spreadsheet does not take for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _scaled(
    seconds: Sequence[float | None], of: Iterable[float | None] | None = None
) -> tuple[list[float | None], str]:
    """Durations in the largest unit of which the longest has at least two, and that unit; `of` are the longest ones."""
    longest = max((value for value in of or seconds if value is not None), default=0.0)
    unit, size = next((one for one in _UNITS if longest >= 2 * one[1]), _UNITS[-1])
    return [None if value is None else value / size for value in seconds], unit


def _names(starts: Sequence[datetime], step: timedelta) -> list[str]:
    return [f"{start:%H:%M}" if step < timedelta(days=1) else f"{start.day} {start:%b}" for start in starts]


def _most(seconds: float) -> str:
    return f"95 % within {_words.seconds(seconds)}"


def _requests(count: int) -> str:
    return "1 request" if count == 1 else f"{count} requests"


def _sum(counts: Mapping[str, int]) -> int:
    return sum(counts.values())
