"""Which limits hold for a person, and who decided them."""

from __future__ import annotations

from itertools import permutations

import pytest
from pydantic import ValidationError

from bot.config import LimitsConfig
from bot.errors import UserError
from bot.jobs import Rule, UserId
from bot.limits import HIGHEST, LimitName, Origin, check_values, resolve

ADA = UserId(1)
DEFAULTS = LimitsConfig(pace=20, depth=5, quota=200)
HOST, SERVER, PERSON = Origin.DEFAULT, Origin.SERVER, Origin.PERSON


@pytest.mark.parametrize(
    ("rules", "pace", "depth", "quota"),
    [
        ([], (20, HOST), (5, HOST), (200, HOST)),
        ([Rule(None, "pace", 3)], (3, SERVER), (5, HOST), (200, HOST)),
        ([Rule(ADA, "pace", 4)], (4, PERSON), (5, HOST), (200, HOST)),
        ([Rule(None, "pace", 3), Rule(ADA, "pace", 4)], (4, PERSON), (5, HOST), (200, HOST)),
        ([Rule(None, "pace", 3), Rule(ADA, "depth", 9)], (3, SERVER), (9, PERSON), (200, HOST)),
        ([Rule(None, "quota", 20), Rule(ADA, "quota", 200)], (20, HOST), (5, HOST), (200, PERSON)),
    ],
)
def test_a_persons_rule_beats_the_servers_which_beats_the_hosts_default(
    rules: list[Rule], pace: tuple[int, Origin], depth: tuple[int, Origin], quota: tuple[int, Origin]
) -> None:
    for order in permutations(rules):
        limits = resolve(DEFAULTS, order)
        decided = [(limits[name].value, limits[name].origin) for name in LimitName]
        assert decided == [pace, depth, quota]


@pytest.mark.parametrize("name", list(LimitName))
@pytest.mark.parametrize(("value", "fits"), [(0, False), (1, True), (-1, False)])
def test_the_lowest_limit_is_one(name: LimitName, value: int, fits: bool) -> None:
    if fits:
        check_values({name: value})
    else:
        with pytest.raises(UserError, match=f"{name} .* goes from 1 to .*; {value} is outside. Nothing was changed."):
            check_values({name: value})


@pytest.mark.parametrize("name", list(LimitName))
def test_moderators_may_set_as_much_as_the_host_may_and_no_more(name: LimitName) -> None:
    highest = HIGHEST[name]
    check_values({name: highest})
    LimitsConfig(**{name: highest})
    with pytest.raises(UserError, match=f"goes from 1 to {highest:,}; {highest + 1:,} is outside"):
        check_values({name: highest + 1})
    with pytest.raises(ValidationError):
        LimitsConfig(**{name: highest + 1})


def test_one_value_that_cannot_be_enforced_refuses_them_all() -> None:
    with pytest.raises(UserError, match="depth"):
        check_values({LimitName.PACE: 5, LimitName.DEPTH: 0})
