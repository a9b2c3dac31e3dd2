"""What each of Discord's refusals means: the whole table, and what has no code."""

from __future__ import annotations

import pytest

from cogs._verdicts import Verdict, classify


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
    assert {refusal: classify(*refusal) for refusal in refusals} == dict.fromkeys(refusals, verdict)
