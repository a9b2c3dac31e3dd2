"""A report as a table of comma-separated values: for programs, and so in English."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import datetime

from bot.search.quality import interval
from bot.storage.drift import ModelStep
from bot.storage.reports import Figures, Report

HEADER = ("start", "end", "measure", "of", "value")
"""The columns of the table: each row has one value, of one step or of the whole span."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


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
