"""The nearest pictures and the groups of same ones, against what a loop over all of them finds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.search import looks as module
from bot.search.looks import DIMENSIONS, NEAR_BITS, SAME_BITS, Look, Looks

MOST = 1000


def everything(count: int = 100) -> np.ndarray:
    return np.arange(count + 1) > 0


def signed(value: int) -> int:
    return value - 2**64 if value >> 63 else value


def vector(seed: int) -> bytes:
    return np.random.default_rng(seed).integers(-127, 128, DIMENSIONS).astype(np.int8).tobytes()


def test_what_differs_in_few_bits_comes_first_and_then_what_looks_alike() -> None:
    looks, mine = Looks(), np.frombuffer(vector(1), np.int8)
    turned = np.where(np.arange(DIMENSIONS) < 40, -mine, mine).astype(np.int8).tobytes()
    known = [
        (1, 1, Look(0, vector(2))),
        (2, 2, Look(0b1111, None)),
        (3, 1, Look(-1, turned)),
        (4, 1, Look(None, vector(3))),
    ]
    looks.put([*known, *((name, 1, Look(-1, vector(name))) for name in range(10, 60))])
    found = looks.nearest(Look(1, mine.tobytes()), everything(), MOST)
    assert [(each.job_id, each.number, each.bits) for each in found[:3]] == [(1, 1, 1), (2, 2, 3), (3, 1, None)]
    assert found[2].cosine == pytest.approx(0.69, abs=0.1)
    allowed = everything()
    allowed[[1, 3]] = False
    assert [each.job_id for each in looks.nearest(Look(1, mine.tobytes()), allowed, MOST)][:1] == [2]
    assert looks.nearest(Look(None, None), everything(), MOST) == []


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 30), st.integers(1, 2), st.integers(0, 5), st.booleans()), max_size=60))
def test_looks_that_are_added_replaced_and_dropped_are_those_of_fresh_ones(changes) -> None:
    followed, now = Looks(), {}
    for job_id, number, seed, is_gone in changes:
        if is_gone:
            followed.drop([job_id])
            now = {key: look for key, look in now.items() if key[0] != job_id}
        else:
            now[job_id, number] = Look(signed(2**64 - 1 - seed), vector(seed) if seed else None)
            followed.put([(job_id, number, now[job_id, number])])
    fresh = Looks()
    fresh.put((*key, look) for key, look in now.items())
    for looks in (followed, fresh):
        assert {key: looks.of(*key) for key in now} == now
    look = Look(signed(2**64 - 4), vector(2))
    one, other = (looks.nearest(look, everything(), MOST) for looks in (followed, fresh))
    assert [(each.job_id, each.bits) for each in one] == [(each.job_id, each.bits) for each in other]
    assert [each.cosine for each in one] == pytest.approx([each.cosine for each in other], abs=1e-4)
    assert followed.groups(everything(), MOST) == fresh.groups(everything(), MOST)


def test_rows_of_pictures_that_are_gone_are_used_again() -> None:
    looks = Looks()
    for name in range(1, 5000):
        looks.put([(name, 1, Look(name, vector(name % 7)))])
        if name > 10:
            looks.drop([name - 10])
    assert len(looks._ids) < 3000
    assert [group[0][0] for group in looks.groups(np.arange(6000) > 0, MOST)] != []
    assert looks.of(4999, 1) == Look(4999, vector(4999 % 7))
    assert looks.of(4000, 1) is None


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 2**64 - 1), max_size=8), st.lists(st.tuples(st.integers(0, 7), st.integers(0, 63))))
def test_groups_are_those_of_a_loop_over_all_pairs(base, flips) -> None:
    hashes = [*base, *(base[at % len(base)] ^ (1 << bit) for at, bit in flips if base)]
    hashes += [value ^ 0b1011 for value in hashes[:3]]
    looks = Looks()
    looks.put((name, 1, Look(signed(value), None)) for name, value in enumerate(hashes, start=1))
    wanted = {name: {name} for name in range(1, len(hashes) + 1)}
    for one in wanted:
        for other in wanted:
            if (hashes[one - 1] ^ hashes[other - 1]).bit_count() <= SAME_BITS and wanted[one] is not wanted[other]:
                wanted[one] |= wanted[other]
                for each in wanted[other]:
                    wanted[each] = wanted[one]
    expected = {tuple(sorted(group)) for group in wanted.values() if len(group) > 1}
    found = looks.groups(everything(), MOST)
    assert {tuple(name for name, _ in group) for group in found} == expected
    assert [len(group) for group in found] == sorted((len(group) for group in found), reverse=True)


def test_many_pictures_with_an_equal_part_are_compared_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_COMPARED", 7)
    looks = Looks()
    # Each differs from the next in one bit, so that all are one group.
    looks.put((name, 1, Look(signed(((1 << (name % 40)) - 1) << 20), None)) for name in range(1, 90))
    (group,) = looks.groups(everything(), MOST)
    assert len(group) == 89
    assert NEAR_BITS > SAME_BITS
