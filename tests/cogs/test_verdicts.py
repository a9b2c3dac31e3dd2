"""What each of Discord's refusals means: the whole table, what has no code, and pages of servers in front of it."""

from __future__ import annotations

from types import SimpleNamespace

import discord
import pytest

from cogs._verdicts import Verdict, classify


def refusal(status: int, code: int) -> discord.HTTPException:
    """What Discord answers in its own JSON."""
    response = SimpleNamespace(status=status, reason="", headers={"content-type": "application/json"})
    return discord.HTTPException(response, {"code": code, "message": "no"})  # type: ignore[arg-type]


def page(status: int) -> discord.HTTPException:
    """What a server in front of Discord answers."""
    response = SimpleNamespace(status=status, reason="", headers={"content-type": "text/html"})
    return discord.HTTPException(response, "<html>error code: 1015</html>")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("verdict", "refusals"),
    [
        (
            Verdict.FINAL,
            [
                *[(403, 50001), (403, 50013), (404, 10003), (404, 10004), (403, 50007), (403, 50278), (400, 200000)],
                *[(400, 20009), (400, 400001), (401, 0), (403, 0), (404, 0)],
            ],
        ),
        (Verdict.ELSEWHERE, [(401, 50027), (404, 10015), (404, 10062), (404, 10008), (400, 30046)]),
        (Verdict.TOO_LARGE, [(413, 40005), (400, 50045), (413, 0)]),
        (Verdict.LATER, [(429, 0), (429, 20028), (503, 130000), (400, 130000), (500, 0), (502, 0), (503, 0), (504, 0)]),
        (Verdict.BUG, [(400, 50035), (400, 40060), (400, 0), (405, 0)]),
    ],
)
def test_every_refusal_has_its_verdict(verdict: Verdict, refusals: list[tuple[int, int]]) -> None:
    assert {each: classify(refusal(*each)) for each in refusals} == dict.fromkeys(refusals, verdict)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 503])
def test_a_page_says_nothing_about_the_channel(status: int) -> None:
    assert classify(page(status)) is Verdict.LATER


def test_a_page_may_say_that_the_files_are_too_large() -> None:
    assert classify(page(413)) is Verdict.TOO_LARGE
