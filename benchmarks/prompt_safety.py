"""What the check of a request's words costs, as docs/performance.md says it: `python -m benchmarks.prompt_safety`.

It measures the processor's time, on texts of 6,000 characters that are as bad as they can be.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from bot.policy.words import MOST_TERMS
from bot.prompt_safety import block
from bot.prompt_safety.fold import fold
from bot.prompt_safety.terms import Terms

LENGTH = 6000
ROUNDS = 20
TEXTS = {
    "ordinary prose": "A majestic oil painting of a raccoon Queen wearing a red French royal gown, near John Smith. ",
    "accents and invisible characters": "nüde ｎ\u200b ",
    "single letters": "a b c d ",
    "pieces of words": "te en ",
    "names beside nudity": "nude. John Smith a ",
    "asterisks": "n*de ",
    "phrases that are spared": "naked eye ",
    "weights": "(child:1.0) ",
    "Chinese": "幼",
}


def milliseconds(work: Callable[[], object]) -> float:
    """The least time of the processor that a function took."""
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time()
        work()
        best = min(best, time.process_time() - began)
    return best * 1000


def main() -> None:
    block.load()
    letters = "abcdefghijklmnopqrst"
    terms = [f"term {letters[n // 400 % 20]}{letters[n // 20 % 20]}{letters[n % 20]}x" for n in range(MOST_TERMS)]
    listed = Terms(terms)
    print(f"| {LENGTH:,} characters of | hard block | a list of {MOST_TERMS:,} terms |\n| --- | --- | --- |")
    for name, part in TEXTS.items():
        text = (part * LENGTH)[:LENGTH]
        hard = milliseconds(lambda text=text: block.objection(text))
        own = milliseconds(lambda text=text: list(listed.found(fold(text))))
        print(f"| {name} | {hard:.1f} ms | {own:.1f} ms |")
    print(f"\nCompiling the list takes {milliseconds(lambda: Terms(terms)):.0f} ms, in a thread, after each change.")


if __name__ == "__main__":
    main()
