from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.worker.residency import Model, Switch, decide

GIB = 2**30
A = Model("a", 4 * GIB, 10.0, used_at=1.0)
B = Model("b", 4 * GIB, 10.0, used_at=2.0)
C = Model("c", 4 * GIB, 10.0, used_at=3.0)
HERE = {"resident": True}

CASES = {
    "nobody waits": ([replace(A, **HERE), B], 8, Switch()),
    "who waits for a resident model needs no switch": ([replace(A, **HERE, waits=(99.0,))], 8, Switch()),
    "an idle machine loads at once": ([replace(A, waits=(0.0,))], 8, Switch("a")),
    "there is room for both": ([replace(A, **HERE), replace(B, waits=(0.0,))], 8, Switch("b")),
    "the idle one makes room": ([replace(A, **HERE), replace(B, waits=(0.0,))], 7, Switch("b", ("a",))),
    "the least recently used makes room": (
        [replace(B, **HERE), replace(A, **HERE), replace(C, waits=(0.0,))],
        8,
        Switch("c", ("a",)),
    ),
    "an idle one makes room before a busy one that was used earlier": (
        [replace(A, **HERE, painting=1), replace(B, **HERE), replace(C, waits=(10.0,))],
        8,
        Switch("c", ("b",)),
    ),
    "as many as needed make room": (
        [replace(A, **HERE), replace(B, **HERE), replace(C, size=6 * GIB, waits=(0.0,))],
        8,
        Switch("c", ("a", "b")),
    ),
    "too large for the budget: it is tried alone": (
        [replace(A, **HERE), replace(B, size=99 * GIB, waits=(0.0,))],
        8,
        Switch("b", ("a",)),
    ),
    "loading beside two who paint does not pay yet": (
        [replace(A, **HERE, painting=2), replace(B, waits=(12.0, 7.9))],
        8,
        Switch(),
    ),
    "those who wait have waited as long as loading makes the two wait": (
        [replace(A, **HERE, painting=2), replace(B, waits=(12.0, 8.0))],
        8,
        Switch("b"),
    ),
    "one who must come back costs twice": ([replace(A, **HERE, painting=1), replace(B, waits=(19.9,))], 7, Switch()),
    "nobody new begins where people still paint": (
        [replace(A, **HERE, painting=1, waits=(3.0,)), replace(B, waits=(20.0,))],
        7,
        Switch(hold=frozenset("a")),
    ),
    "a model with waiting but no painting requests goes": (
        [replace(A, **HERE, waits=(3.0,)), replace(B, waits=(20.0,))],
        7,
        Switch("b", ("a",)),
    ),
    "whose request has waited longest comes first": (
        [replace(A, waits=(1.0, 1.0, 1.0)), replace(B, waits=(2.0,))],
        8,
        Switch("b"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_table(case: str) -> None:
    models, budget, expected = CASES[case]
    assert decide(models, budget * GIB) == expected


@given(st.integers(0, 2**32), st.integers(1, 4), st.integers(1, 8))
def test_nobody_starves_and_memory_is_never_overdrawn(seed: int, room: int, slots: int) -> None:
    """Random requests for five models keep every slot taken; each begins within a bound all the same."""
    chance = random.Random(seed)
    models = {name: Model(name, GIB, chance.uniform(1, 5)) for name in "abcde"}
    painting: list[tuple[str, float]] = []
    waiting: list[tuple[str, float]] = []
    now, longest = 0.0, 0.0
    for _ in range(300):
        now += 1.0
        painting = [(name, left - 1) for name, left in painting if left > 1]
        while len(painting) + len(waiting) < slots:
            waiting.append((chance.choice("aaaaabcde"), now))
        switch = decide(
            [
                replace(
                    model,
                    painting=sum(name == model.name for name, _ in painting),
                    waits=tuple(now - since for name, since in waiting if name == model.name),
                )
                for model in models.values()
            ],
            room * GIB,
        )
        for name in switch.evict:
            assert models[name].resident
            assert all(other != name for other, _ in painting), "nobody is thrown out"
            models[name] = replace(models[name], resident=False)
        if switch.load:
            now += models[switch.load].load_seconds
            models[switch.load] = replace(models[switch.load], resident=True)
        assert sum(model.resident for model in models.values()) <= room
        for entry in [entry for entry in waiting if models[entry[0]].resident and entry[0] not in switch.hold]:
            waiting.remove(entry)
            longest = max(longest, now - entry[1])
            painting.append((entry[0], float(chance.randint(1, 4))))
            models[entry[0]] = replace(models[entry[0]], used_at=now)
    # A model is loaded when its one request has waited for every slot's worth of two loads, and others come before it.
    assert longest <= 5 * (2 * 5 * slots + 4 + 5 * 5)


def test_stream_of_requests_does_not_keep_another_model_out() -> None:
    painting: list[float] = []
    since, began = 5.0, None
    for now in map(float, range(200)):
        painting = [ends for ends in painting if ends > now]
        waits = (now - since,) if now >= since else ()
        switch = decide([replace(A, **HERE, painting=len(painting)), replace(B, waits=waits)], 7 * GIB)
        if switch.load:
            began = now
            break
        if "a" not in switch.hold:
            painting.append(now + 3.0)
    assert began is not None
    assert began - since <= 3 * (A.load_seconds + B.load_seconds) + 3.0, "three paint at a time, for three seconds each"
