"""A report as charts, and what they show in words for people who cannot see them.

The charts are in the language of the task that makes them, as far as the font that draws them has its letters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, timedelta

from bot.charts.plot import Chart, Panel, Series
from bot.language import Language, current, day, mark, say, speaking
from bot.storage.drift import ModelStep
from bot.storage.reports import Report
from cogs import _report, _words

_NOT_IN_THE_FONT = (Language.JAPANESE,)
"""The languages that matplotlib's own font cannot write: their charts are in English."""

_ALT = 1024
_LONGEST_NAME = 16
_DRAWN_MODELS = 3
"""As many lines as can be told apart."""

_UNITS = (("hours", 3600.0), ("minutes", 60.0), ("seconds", 1.0))
_GPU_TIME = {
    "hours": mark("GPU time, hours"),
    "minutes": mark("GPU time, minutes"),
    "seconds": mark("GPU time, seconds"),
}
_WAIT = {"hours": mark("Wait, hours"), "minutes": mark("Wait, minutes"), "seconds": mark("Wait, seconds")}
_HALF_WAITED = {
    "hours": mark("Half waited at most, hours"),
    "minutes": mark("Half waited at most, minutes"),
    "seconds": mark("Half waited at most, seconds"),
}
_TITLES = {
    timedelta(hours=1): mark("{title}, by the hour (UTC)"),
    timedelta(days=1): mark("{title}, by the day (UTC)"),
    timedelta(days=7): mark("{title}, by the week (UTC)"),
}
_MOST = {
    timedelta(hours=1): mark("Most were painted in the hour from {begun}: {count}."),
    timedelta(days=1): mark("Most were painted on {begun}: {count}."),
    timedelta(days=7): mark("Most were painted in the week from {begun}: {count}."),
}


def charts(report: Report) -> list[tuple[Chart, str]]:
    """The charts of a report, each with its alternative text: all requests, and if there are some, the models."""
    drawn = [(_of_all, _alt)] if not _drawn_models(report) else [(_of_all, _alt), (_of_models, _alt_of_models)]
    words = [alt(report)[:_ALT] for _, alt in drawn]
    with speaking(Language.ENGLISH if current() in _NOT_IN_THE_FONT else current()):
        return [(chart(report), alt) for (chart, _), alt in zip(drawn, words, strict=True)]


def _of_all(report: Report) -> Chart:
    """The report over time."""
    steps = report.steps
    gpu, gpu_unit = scaled([figures.gpu_seconds for figures in steps])
    half, _ = scaled([figures.wait_median for figures in steps], of=[figures.wait_p95 for figures in steps])
    most, wait_unit = scaled([figures.wait_p95 for figures in steps])
    return Chart(
        say("{title} (UTC)", title=_report.title(report)),
        _names(report.span.starts, report.span.step),
        (
            Panel(say("Pictures"), (Series(say("pictures"), [figures.pictures for figures in steps]),)),
            Panel(say(_GPU_TIME[gpu_unit]), (Series(say("GPU time"), gpu),)),
            Panel(
                say(_WAIT[wait_unit]), (Series(say("half within"), half), Series(say("95 % within"), most)), lines=True
            ),
            Panel(
                say("Not painted"),
                (
                    Series(say("failed"), [figures.failed for figures in steps]),
                    Series(say("cancelled"), [figures.cancelled for figures in steps]),
                    Series(say("refused"), [sum(rules.values()) for rules in report.refusals]),
                ),
            ),
        ),
        say("none"),
    )


def _of_models(report: Report) -> Chart:
    """Each model over time: the ones with the most requests."""
    known = {(each.model, each.step): each for each in report.drift}
    models = _drawn_models(report)

    def series(value: Callable[[ModelStep], float | None]) -> list[Series]:
        steps = range(report.span.count)
        return [
            Series(
                _short(name), [value(each) if (each := known.get((name, step))) is not None else None for step in steps]
            )
            for name in models
        ]

    _, unit = scaled([each.wait_median for each in report.drift if each.model in models])
    size = dict(_UNITS)[unit]
    return Chart(
        say("Models: {title}", title=_report.title(report)),
        _names(report.span.starts, report.span.step),
        (
            Panel(say("Liked, %"), series(lambda each: _percent(each.share)), lines=True),
            Panel(
                say(_HALF_WAITED[unit]),
                series(lambda each: None if each.wait_median is None else each.wait_median / size),
                lines=True,
            ),
            Panel(say("Failed, %"), series(lambda each: _percent(each.failed_share)), lines=True),
            Panel(say("GPU seconds for a step"), series(lambda each: each.step_seconds), lines=True),
        ),
        say("none"),
    )


def _alt(report: Report) -> str:
    """What the chart of all requests shows."""
    steps, starts, step = report.steps, report.span.starts, report.span.step
    total = report.total
    sentences = [
        say("Four charts.") + " " + say(_TITLES[step], title=_report.title(report)) + ".",
        say(
            "{pictures} in all, {time} of painting time.",
            pictures=_words.pictures(total.pictures),
            time=_words.seconds(total.gpu_seconds),
        ),
    ]
    busiest = max(range(len(steps)), key=lambda number: steps[number].pictures)
    if steps[busiest].pictures:
        (begun,) = _names([starts[busiest]], step)
        sentences.append(say(_MOST[step], begun=begun, count=steps[busiest].pictures))
    if total.wait_median is not None:
        sentences.append(say("Half had their pictures within {half}.", half=_words.seconds(total.wait_median)))
    sentences.append(
        say(
            "{failed} failed, {cancelled} cancelled, {refused} refused.",
            failed=total.failed,
            cancelled=total.cancelled,
            refused=_sum(report.refused),
        )
    )
    return " ".join(sentences)


def _alt_of_models(report: Report) -> str:
    """What the chart of models shows: each model in its first and last step."""
    sentences = [say("Four charts of models over time.")]
    for name in _drawn_models(report):
        steps = [each for each in report.drift if each.model == name]
        facts = [_words.requests(sum(each.asked for each in steps))]
        if seconds := [each.step_seconds for each in steps if each.step_seconds is not None]:
            words = mark("GPU seconds for a step first {first:.3f}, then {last:.3f}")
            facts.append(say(words, first=seconds[0], last=seconds[-1]))
        if shares := [each.share for each in steps if each.share is not None]:
            words = mark("liked first by {first:.0%}, then by {last:.0%}")
            facts.append(say(words, first=shares[0], last=shares[-1]))
        sentences.append(f"{name}: {', '.join(facts)}.")
    return " ".join(sentences)


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


def scaled(seconds: Sequence[float | None], of: Iterable[float | None] | None = None) -> tuple[list[float | None], str]:
    """Durations in the largest unit of which the longest has at least two, and that unit; `of` are the longest ones."""
    longest = max((value for value in of or seconds if value is not None), default=0.0)
    unit, size = next((one for one in _UNITS if longest >= 2 * one[1]), _UNITS[-1])
    return [None if value is None else value / size for value in seconds], unit


def _names(starts: Sequence[date], step: timedelta) -> list[str]:
    return [f"{start:%H:%M}" if step < timedelta(days=1) else day(start) for start in starts]


def _sum(counts: Mapping[str, int]) -> int:
    return sum(counts.values())
