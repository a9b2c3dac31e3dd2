"""Which limits hold for a person in a channel, and who decided them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bot.config import LimitsConfig
from bot.errors import UserError
from bot.jobs import ChannelId, GuildId, Requester, RoleId, RuleValue, Scope, Subject, UserId, to_text
from bot.policy.limits import (
    BLOCKED,
    BOUNDS,
    HOST,
    PAUSED,
    SERVER,
    LimitName,
    Origin,
    block_of,
    candidates,
    check_values,
    greatest_weight,
    is_paused,
    lowered,
    resolve,
    share_of,
    spoken,
)
from bot.policy.objections import objection, place_refused, told
from tests.bot.storage.conftest import NOON, a_request

ADA: Subject = (Scope.PERSON, 1)
ARTISTS: Subject = (Scope.ROLE, 50)
NEWCOMERS: Subject = (Scope.ROLE, 51)
THREAD: Subject = (Scope.CHANNEL, 701)
EASEL: Subject = (Scope.CHANNEL, 700)
WHO = Requester(UserId(1), GuildId(900), (RoleId(50), RoleId(51)))
WHERE = (ChannelId(701), ChannelId(700))
DEFAULTS = LimitsConfig(pace=20, depth=5, quota=600)
ORDER = [ADA, ARTISTS, NEWCOMERS, THREAD, EASEL, SERVER]
"""The most specific first."""
STRANGERS: list[Subject] = [(Scope.PERSON, 2), (Scope.ROLE, 52), (Scope.CHANNEL, 702)]

numbers = st.integers(1, 64)
names = st.lists(st.sampled_from(["emoji", "sd15", "sdxl"]), unique=True).map(lambda found: tuple(sorted(found)))
channels = st.lists(st.integers(10**17, 10**18), unique=True, max_size=3).map(lambda found: tuple(sorted(found)))
values: dict[LimitName, st.SearchStrategy[Any]] = {
    **dict.fromkeys(LimitName, numbers),
    LimitName.MODELS: st.none() | names,
    LimitName.CHANNELS: st.none() | channels,
}
rules = st.fixed_dictionaries({}, optional={name.value: strategy for name, strategy in values.items()})
books = st.dictionaries(st.sampled_from([*ORDER, *STRANGERS]), rules)


@settings(deadline=None, max_examples=500, derandomize=True)
@given(books)
def test_of_all_rules_the_most_specific_one_holds(book: dict[Subject, dict[str, RuleValue]]) -> None:
    limits = resolve(DEFAULTS, book, WHO, WHERE)
    for name in LimitName:
        holding = next((subject for subject in ORDER if name in book.get(subject, {})), None)
        if holding is None:
            default = getattr(DEFAULTS, name)
            assert (limits[name].value, limits[name].origin) == (None if default == "all" else default, HOST)
        else:
            assert (limits[name].value, limits[name].origin) == (book[holding][name], Origin(*holding))


@settings(deadline=None, max_examples=500, derandomize=True)
@given(books, st.sampled_from(STRANGERS), rules)
def test_what_is_about_others_bears_on_nobody_else(
    book: dict[Subject, dict[str, RuleValue]], stranger: Subject, other: dict[str, RuleValue]
) -> None:
    assert candidates(DEFAULTS, {**book, stranger: other}, WHO, WHERE) == candidates(DEFAULTS, book, WHO, WHERE)


@settings(deadline=None, max_examples=500, derandomize=True)
@given(books, books)
def test_whatever_is_accepted_after_a_change_that_takes_nothing_away_was_accepted_before(
    one: dict[Subject, dict[str, RuleValue]], other: dict[Subject, dict[str, RuleValue]]
) -> None:
    before, after = (resolve(DEFAULTS, book, WHO, WHERE) for book in (one, other))
    if not lowered(before, after):
        for model in ("emoji", "sd15", "sdxl"):
            request = a_request(model=model, width=before.images.value * 8, height=8, num_inference_steps=10)
            if objection(request, before, WHERE) is None:
                assert objection(request, after, WHERE) is None


@settings(deadline=None, max_examples=500, derandomize=True)
@given(st.none() | st.lists(st.sampled_from([700, 701, 702])).map(tuple))
def test_an_allow_list_allows_what_it_names_and_nothing_else(allowed: tuple[int, ...] | None) -> None:
    limits = resolve(DEFAULTS, {SERVER: {"channels": allowed}}, WHO, WHERE)
    accepted = allowed is None or bool({700, 701} & set(allowed))
    assert (place_refused(limits, WHERE) is None) is accepted


def test_every_rule_that_bears_is_told_in_order() -> None:
    book = {SERVER: {"pace": 1}, EASEL: {"pace": 2}, NEWCOMERS: {"pace": 3}, ARTISTS: {"pace": 4}, ADA: {"depth": 9}}
    told = candidates(DEFAULTS, book, WHO, WHERE)
    assert [(limit.value, str(limit.origin)) for limit in told[LimitName.PACE]] == [
        (4, "role:50"),
        (3, "role:51"),
        (2, "channel:700"),
        (1, "server"),
        (20, "host"),
    ]
    assert [limit.value for limit in told[LimitName.DEPTH]] == [9, 5]


@pytest.mark.parametrize("name", list(BOUNDS))
def test_moderators_may_set_as_much_as_the_host_may_and_no_more(name: LimitName) -> None:
    low, high = BOUNDS[name]
    for value in (low, high):
        check_values(Scope.SERVER, {name: value})
        LimitsConfig(**{name: value})
    for value in (low - 1, high + 1):
        with pytest.raises(UserError, match=f"{name}.* can be {low:,} to {high:,}. Nothing"):
            check_values(Scope.SERVER, {name: value})
        with pytest.raises(ValidationError):
            LimitsConfig(**{name: value})


def test_one_value_that_cannot_be_enforced_refuses_them_all() -> None:
    with pytest.raises(UserError, match="depth"):
        check_values(Scope.PERSON, {LimitName.PACE: 5, LimitName.DEPTH: 0})
    with pytest.raises(UserError, match="not for a channel"):
        check_values(Scope.CHANNEL, {LimitName.CHANNELS: (1,)})


def test_an_id_in_the_hosts_configuration_is_a_whole_number() -> None:
    assert LimitsConfig(channels=(1234567890123456789,)).channels == (1234567890123456789,)
    with pytest.raises(ValidationError):
        LimitsConfig(channels=(1.234567890123456789e18,))


@pytest.mark.parametrize(("paused", "holds"), [(SERVER, True), (THREAD, True), (EASEL, True), (STRANGERS[2], False)])
def test_a_pause_holds_where_it_was_made_and_in_the_threads_there(paused: Subject, holds: bool) -> None:
    assert is_paused({paused: {PAUSED: True}}, WHERE) is holds


@pytest.mark.parametrize(
    ("default", "book", "greatest"),
    [
        (100, {}, 100),
        (50, {}, 50),
        (100, {SERVER: {"pace": 5000}}, 100),
        (100, {SERVER: {"weight": 10_000}}, 10_000),
        (100, {SERVER: {"weight": 10}}, 100),
        (100, {SERVER: {"weight": 200}, ADA: {"weight": 400}, ARTISTS: {"weight": 300}}, 400),
    ],
)
def test_a_weight_counts_beside_the_greatest_of_its_server(
    default: int, book: dict[Subject, dict[str, RuleValue]], greatest: int
) -> None:
    assert greatest_weight(LimitsConfig(weight=default), book) == greatest
    assert share_of(greatest, greatest) == 1
    assert share_of(greatest // 2, greatest) == 0.5


@settings(deadline=None, max_examples=200, derandomize=True)
@given(books)
def test_no_weights_of_a_server_make_more_than_the_usual_share(book: dict[Subject, dict[str, RuleValue]]) -> None:
    weight = resolve(DEFAULTS, book, WHO, WHERE).weight.value
    assert 0 < share_of(weight, greatest_weight(DEFAULTS, book)) <= 1


def test_a_block_ends_at_its_time() -> None:
    book = {ADA: {BLOCKED: to_text(NOON)}}
    assert block_of(book, WHO, NOON - timedelta(seconds=1)) is not None
    assert block_of(book, WHO, NOON) is None
    assert block_of({ADA: {BLOCKED: None}}, WHO, NOON) is not None
    assert block_of({STRANGERS[0]: {BLOCKED: None}}, WHO, NOON) is None


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"models": ("sd15",)}, "the model emoji is no longer allowed here"),
        ({"models": ()}, "the model emoji is no longer allowed here"),
        ({"steps": 19}, "at most 19 steps now ({origin server}), and it asks for 20."),
        ({"images": 1}, "at most 1 picture per prompt now ({origin server}), and it asks for 2."),
        ({"pixels": 128 * 128 - 1}, "at most 16,383 pixels now ({origin server}), and it asks for 16,384."),
        ({"channels": (702,)}, "You cannot ask for pictures in this channel"),
        ({"steps": 20, "images": 2, "pixels": 128 * 128, "models": ("emoji",), "channels": (700,)}, None),
    ],
)
def test_what_waits_is_held_against_the_limits_of_now(rule: dict[str, RuleValue], words: str | None) -> None:
    refusal = objection(a_request(num_images_per_prompt=2), resolve(DEFAULTS, {SERVER: rule}, WHO, WHERE), WHERE)
    if words is None:
        assert refusal is None
        return
    assert refusal is not None
    assert words in str(refusal)
    assert (refusal.rule, refusal.origin) == (next(iter(rule)), "server")
    assert told(refusal).endswith(" Moderators can change this with {command limits set}.")
    assert refusal.rule == "channels" or "({origin server})" in told(refusal)


def test_a_quota_in_words_is_no_more_than_the_quota() -> None:
    assert str(spoken(LimitName.QUOTA, 7231)) == "at most 2 h of painting time in 24 hours"
