"""How explicit a picture may be in a channel: the stricter of the moderators' rule and the host's threshold."""

from __future__ import annotations

import pytest

from bot.config import LimitsConfig
from bot.errors import UserError
from bot.jobs import UNLIMITED, ChannelId, PictureLimits, Scope
from bot.policy.limits import SERVER
from bot.policy.picture_limits import BLOCK, SPOILER, check_thresholds, picture_limits

HERE, THREAD = ChannelId(7), ChannelId(8)
CHANNEL = (Scope.CHANNEL, HERE)
HOST = LimitsConfig(nsfw_block=80, nsfw_spoiler=40)
LOOSE = LimitsConfig(nsfw_block=80, nsfw_spoiler=40, loosen_age_restricted=True)


def limits(book, *, host: LimitsConfig = HOST, restricted: bool = False, where=(HERE,)) -> PictureLimits:
    return picture_limits(host, book, where, is_age_restricted=restricted)


@pytest.mark.parametrize(
    ("book", "expected"),
    [
        ({}, (0.8, 0.4)),
        ({SERVER: {BLOCK: 50}}, (0.5, 0.4)),
        ({SERVER: {SPOILER: 10}}, (0.8, 0.1)),
        ({SERVER: {BLOCK: 50}, CHANNEL: {BLOCK: 70}}, (0.7, 0.4)),
        ({(Scope.CHANNEL, THREAD): {BLOCK: 1}}, (0.8, 0.4)),
        ({SERVER: {BLOCK: 100, SPOILER: 100}}, (0.8, 0.4)),
        ({CHANNEL: {BLOCK: 100, SPOILER: 100}}, (0.8, 0.4)),
    ],
)
def test_the_channels_rule_wins_and_none_is_looser_than_the_hosts(book, expected) -> None:
    assert limits(book) == PictureLimits(*expected)


def test_a_thread_has_the_rule_of_its_channel_unless_it_has_its_own() -> None:
    assert limits({CHANNEL: {BLOCK: 30}}, where=(THREAD, HERE)).block == 0.3
    assert limits({CHANNEL: {BLOCK: 30}, (Scope.CHANNEL, THREAD): {BLOCK: 60}}, where=(THREAD, HERE)).block == 0.6


def test_an_age_restricted_channel_is_as_strict_as_others_unless_the_host_allows_more() -> None:
    assert limits({}, restricted=True) == PictureLimits(0.8, 0.4)


@pytest.mark.parametrize(
    ("book", "expected"),
    [
        ({}, (None, 0.8)),
        ({SERVER: {BLOCK: 50, SPOILER: 10}}, (None, 0.5)),
        ({CHANNEL: {BLOCK: 95}}, (0.95, 0.8)),
        ({CHANNEL: {SPOILER: 100}}, (None, 1.0)),
    ],
)
def test_where_the_host_allows_more_a_spoiler_takes_the_place_of_a_block(book, expected) -> None:
    assert limits(book, host=LOOSE, restricted=True) == PictureLimits(*expected)
    assert limits(book, host=LOOSE).block is not None, "only in age-restricted channels"


def test_a_picture_at_a_threshold_is_over_it_and_one_without_a_score_is_not() -> None:
    strict = PictureLimits(0.8, 0.4)
    assert [strict.blocks(score) for score in (None, 0.79, 0.8, 1.0)] == [False, False, True, True]
    assert [strict.hides(score) for score in (None, 0.39, 0.4, 0.9)] == [False, False, True, True]
    assert not UNLIMITED.hides(1.0)
    assert PictureLimits(0.3, 0.9).hides(0.5), "what is blocked is never shown openly"


def test_moderators_are_told_when_a_threshold_is_less_strict_than_the_hosts() -> None:
    with pytest.raises(UserError, match="block} can be at most 80 here, and you wrote 90"):
        check_thresholds(HOST, {BLOCK: 90}, CHANNEL, is_age_restricted=True)
    with pytest.raises(UserError, match=r"spoiler} can be at most 40.*name one as {option channel}"):
        check_thresholds(LOOSE, {SPOILER: 41}, SERVER, is_age_restricted=True)
    check_thresholds(HOST, {BLOCK: 80, SPOILER: 40}, SERVER, is_age_restricted=False)
    check_thresholds(LOOSE, {BLOCK: 100}, CHANNEL, is_age_restricted=True)
