"""Thompson sampling over presets, with simulated voters, and what it may never touch."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import pytest

from bot.engine.catalog import SAMPLERS
from bot.jobs import Scope
from bot.requests import presets
from bot.requests.defaults import Source
from bot.requests.options import Choice, Edit, Options
from bot.requests.presets import CONTROL, Presets, choose, difference, draw, objection
from bot.requests.resolve import resolve
from bot.storage.presets import GROUP, Arm, Received
from bot.storage.styles import Style
from tests.bot.requests.test_styles import MODELS

CRISP = Style("crisp", steps=30, number=1, version=2)
SOFT = Style("soft", guidance_scale=2.0, number=2, version=1)
STYLES = {"crisp": CRISP, "soft": SOFT, "inky": Style("inky", "{prompt}, ink", number=3, version=1)}
BOTH = Presets(("crisp", "soft"))
ROUNDS, SEEDS = 1500, 20


def simulated(shares: dict[Arm, float], seed: int) -> tuple[float, dict[Arm, int]]:
    """The likes lost against the best arm in ROUNDS rounds, and how often each arm was chosen in the last third.

    What people say is known ten votes later, as with GROUP.
    """
    rng = Random(seed)
    votes: dict[Arm, list[bool]] = {arm: [] for arm in shares}
    regret, late = 0.0, dict.fromkeys(shares, 0)
    for number in range(ROUNDS):
        known = {
            arm: Received(sum(said), len(said) - sum(said)) if len(said) >= GROUP else Received()
            for arm, said in votes.items()
        }
        arm = draw(known, rng)
        votes[arm].append(rng.random() < shares[arm])
        regret += max(shares.values()) - shares[arm]
        late[arm] += number >= 2 * ROUNDS // 3
    return regret, late


def test_the_best_preset_is_found_and_less_is_lost_than_by_chance() -> None:
    shares = {Arm(): 0.5, Arm("crisp", 2): 0.75, Arm("soft", 1): 0.6}
    by_chance = ROUNDS * (max(shares.values()) - sum(shares.values()) / len(shares))
    runs = [simulated(shares, seed) for seed in range(SEEDS)]
    assert sum(regret for regret, _ in runs) / SEEDS < by_chance / 4
    found = [max(late, key=lambda arm: late[arm]) == Arm("crisp", 2) for _, late in runs]
    assert sum(found) >= SEEDS - 1


def test_if_the_usual_settings_are_best_they_are_chosen_most() -> None:
    runs = [simulated({Arm(): 0.8, Arm("crisp", 2): 0.5, Arm("soft", 1): 0.6}, seed) for seed in range(SEEDS)]
    assert sum(max(late, key=lambda arm: late[arm]) == Arm() for _, late in runs) >= SEEDS - 1


def test_presets_that_are_liked_equally_are_all_tried() -> None:
    counts = dict.fromkeys(("", "crisp", "soft"), 0)
    rng = Random(1)
    for _ in range(900):
        counts[draw(dict.fromkeys((Arm(), Arm("crisp", 2), Arm("soft", 1)), Received()), rng).style] += 1
    assert min(counts.values()) > 240


def test_one_in_five_gets_the_usual_settings_by_lot() -> None:
    liked = Presets(("crisp",), {("sd15", Arm("crisp", 2)): Received(1000, 1), ("sd15", Arm()): Received(1, 1000)})
    rng = Random(3)
    found = [choose(liked, Options("a fox"), STYLES, "sd15", rng) for _ in range(2000)]
    control = [each for each in found if each is not None and each.is_control]
    assert abs(len(control) / 2000 - CONTROL) < 0.03
    assert {each.style for each in found if each is not None and not each.is_control} == {"crisp"}
    assert {each.style for each in control} == {""}


@pytest.mark.parametrize(
    "options",
    [
        Options("a fox", steps=5),
        Options("a fox", guidance_scale=2.0),
        Options("a fox", sampler="euler"),
        Options("a fox", seed=7),
        Options("a fox", lora="sketch"),
        Options("a fox", draft=True),
        Options("a fox", edit=Edit(())),
    ],
)
def test_nothing_is_chosen_where_a_person_chose(options: Options) -> None:
    assert choose(BOTH, options, STYLES, "sd15") is None


def test_nothing_is_chosen_where_moderators_did_not_switch_it_on() -> None:
    assert choose(Presets(), Options("a fox"), STYLES, "sd15") is None
    assert choose(Presets(("gone", "inky")), Options("a fox"), STYLES, "sd15") is None
    other = {"crisp": replace(CRISP, model="sdxl")}
    assert choose(Presets(("crisp",)), Options("a fox"), other, "sd15") is None, "it is a preset of another model"
    assert presets.presets_of({(Scope.SERVER, 0): {"presets": ("crisp",)}}) == ("crisp",)
    assert presets.presets_of({}) == ()


@pytest.mark.parametrize(
    ("style", "words"),
    [
        (Style("a", "{prompt}, ink", steps=3), "has words"),
        (Style("a", negative_prompt="fog", steps=3), "has words"),
        (Style("a", aspect="1:1", steps=3), "sets a shape"),
        (Style("a", lora="sketch", steps=3), "sets a shape or LoRAs"),
        (Style("a"), "sets neither"),
        (Style("a", sampler="euler", model="sd15"), None),
    ],
)
def test_a_preset_changes_settings_and_never_words(style: Style, words: str | None) -> None:
    said = objection(style)
    assert said is None if words is None else words in (said or "")


def resolved(options: Options, offered: Presets = BOTH) -> Any:
    return resolve(options, MODELS, tuple(SAMPLERS), known_styles=STYLES, offered=offered)


def test_a_request_says_what_was_chosen_and_a_second_quote_keeps_it() -> None:
    seen = set()
    for _ in range(60):
        once = resolved(Options("a fox"))
        assert once.request.prompt == "a fox"
        assert once.choice is not None
        again = resolved(replace(Options("a fox"), seed=once.request.seed, choice=once.choice))
        assert again.request == once.request
        assert again.origins["style"] == (Source.CONTROL if once.choice.is_control else Source.LEARNED)
        seen.add((once.request.style, once.request.style_version, once.request.num_inference_steps == 30))
    assert {style for style, _, _ in seen} == {"", "crisp", "soft"}
    assert ("crisp", 2, True) in seen
    assert resolved(Options("a fox"), Presets()).choice is None
    gone = resolved(replace(Options("a fox", seed=1), choice=Choice("lost")))
    assert (gone.choice, gone.request.style) == (None, "")


def test_the_interval_of_a_difference_covers_it_as_often_as_it_says() -> None:
    # The example of the paper: 56 of 70 against 48 of 80 give 0.0524 to 0.3339.
    low, high = difference((56 / 70, 70), (48 / 80, 80))
    assert (round(low, 4), round(high, 4)) == (0.0524, 0.3339)
    rng, covered = Random(5), 0
    for _ in range(1000):
        one = sum(rng.random() < 0.7 for _ in range(40)) / 40
        other = sum(rng.random() < 0.5 for _ in range(25)) / 25
        low, high = difference((one, 40), (other, 25))
        covered += low <= 0.2 <= high
    assert covered >= 930
