"""Who is in a forward: up to the knee, people by turns, and light requests between heavy ones."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from bot.worker import rows
from bot.worker.calls import Call, Cancel
from tests.bot.worker.batches import EXACT, Refusing, SampleRequest, Stage, distance
from tests.bot.worker.tiny_pipelines import SIDE, Kind

# diffusers 0.42 hands tensors to numpy 2 in the old way.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning"),
    pytest.mark.usefixtures("one_thread"),
]


def test_a_knee_caps_the_rows_of_a_forward_but_splits_no_call(
    kinds: dict[str, Kind], monkeypatch: pytest.MonkeyPatch
) -> None:
    unet = Refusing(kinds["txt2img"].pipeline.unet, monkeypatch)
    asked = []
    knees = {"unet": 3}
    stage = Stage(knee=lambda call, part: asked.append((call.shape, part)) or knees.get(part))
    requests = [SampleRequest(kinds["txt2img"], steps=2, seed=n, images=1 + n, latents=False) for n in range(3)]
    stage.play([one.call(n, owner=n, shape=("m", n, n)) for n, one in enumerate(requests)])
    assert set(unet.rows) == {2, 4, 6}
    assert {part for _, part in asked} == {"unet", "decode"}
    for number, one in enumerate(requests):
        assert distance(stage.images(number), one.alone()) <= EXACT


def test_who_asks_for_little_is_given_less_company(kinds: dict[str, Kind], forwards: list[list[rows.Parked]]) -> None:
    stage = Stage(row_cap=16, light_cap=lambda _call, part, asked: 2 * asked if part == "unet" else None)
    script: dict[int, list[Call | Cancel]] = {
        0: [SampleRequest(kinds["txt2img"], steps=8, seed=n).call(n, owner="heavy") for n in range(6)],
        3: [SampleRequest(kinds["txt2img"], steps=3).call("light", owner="light")],
    }
    stage.play(script)
    company = [
        sum(parked.rows for parked in group)
        for group in forwards
        if "light" in {parked.call_id for parked in group} and group[0].part == "unet"
    ]
    assert company[1:] == [4, 4], "once it comes first: its own two rows, and two others"
    assert sum(parked.rows for parked in forwards[0]) == 12, "who is alone fills the forward"


@pytest.mark.parametrize(
    ("line", "cap", "light"),
    [
        ("a", 16, False),
        ("ab", 16, False),
        ("abbb", 12, False),
        ("abbbb", 16, True),
        ("aabbbb", 16, False),
        ("abbbbcc", 16, True),
        ("abbbb", 18, False),  # no flood: eight rows do not fill half a forward
    ],
)
def test_light_is_who_asks_for_a_quarter_of_a_flood(line: str, cap: int, light: bool) -> None:
    parked = [SimpleNamespace(owner=owner, work=2.0, rows=2) for owner in line]
    assert rows.is_light(parked[0], parked, cap) is light  # type: ignore[arg-type]


def test_every_forward_is_measured_by_what_was_computed_and_its_rows(
    kinds: dict[str, Kind], forwards: list[list[rows.Parked]]
) -> None:
    told: list[tuple[str, int, float]] = []
    stage = Stage(measured=lambda call, part, rows, seconds: told.append((part, rows, seconds)))
    stage.play([SampleRequest(kinds["controlnet"], steps=2, latents=False).call(n) for n in range(2)])
    assert sorted(part for part, _, _ in told[:2]) == ["start", "start"]
    assert [(part, rows) for part, rows, _ in told[2:]] == [
        (group[0].part, sum(parked.rows for parked in group)) for group in forwards
    ]
    assert [part for part, _, _ in told[2:]] == ["controlnet", "unet"] * 2 + ["decode"] * 2
    assert all(seconds > 0 for _, _, seconds in told)


def test_alone_nobody_shares_a_forward_and_every_bit_is_what_it_is_alone(
    kinds: dict[str, Kind], forwards: list[list[rows.Parked]]
) -> None:
    requests = [
        SampleRequest(kinds["txt2img"], sampler, seed=n) for n, sampler in enumerate(("euler a", "heun", "unipc"))
    ]
    together, alone = Stage(), Stage(alone=True)
    together.play([one.call(n) for n, one in enumerate(requests)])
    assert max(len(group) for group in forwards) == 3
    forwards.clear()
    alone.play([one.call(n) for n, one in enumerate(requests)])
    assert {len(group) for group in forwards} == {1}
    for number, one in enumerate(requests):
        assert torch.equal(alone.images(number), one.alone())
    assert any(not torch.equal(together.images(n), one.alone()) for n, one in enumerate(requests)), "sharing rounds"


# ---- fairness ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "served", "expected"),
    [
        ("a0 b1 c2", {}, "a0 b1 c2"),  # equal: oldest first
        ("a0 b1 c2", {"a": 5}, "b1 c2 a0"),  # least served first
        ("a0 a1 a2 b3", {}, "a0 b3 a1 a2"),  # nobody's second before everybody's first
        ("a0 a1 b2 b3", {"a": 3}, "b2 b3 a0 a1"),  # b may do three units of work to be level
        ("a3 a1 a2", {"a": 9}, "a1 a2 a3"),
    ],
)
def test_the_line_is_ordered_by_least_served_owner_then_oldest(
    line: str, served: dict[str, float], expected: str
) -> None:
    parked = [SimpleNamespace(owner=name[0], since=int(name[1:]), work=2.0) for name in line.split()]
    ordered = rows.fair_order(parked, served)  # type: ignore[arg-type]
    assert " ".join(f"{p.owner}{p.since}" for p in ordered) == expected


@pytest.mark.parametrize("side", [SIDE, SIDE + 16])
def test_a_light_owner_is_served_between_a_heavy_owners_steps(
    kinds: dict[str, Kind], forwards: list[list[rows.Parked]], side: int
) -> None:
    """Whether or not the two fit into one forward."""
    script: dict[int, list[Call | Cancel]] = {
        0: [SampleRequest(kinds["txt2img"], steps=10, seed=n).call(n, owner="heavy") for n in range(8)],
        5: [SampleRequest(kinds["txt2img"], steps=5, side=side).call("light", owner="light")],
    }
    Stage(row_cap=4).play(script)
    turns = [number for number, group in enumerate(forwards) if "light" in {p.call_id for p in group}]
    assert len(turns) == 5
    assert turns[0] <= 6
    assert turns[-1] <= 5 + 2 * 5, "at least every other forward"


def test_who_used_idle_capacity_owes_nothing(kinds: dict[str, Kind], forwards: list[list[rows.Parked]]) -> None:
    """The heavy owner painted alone beside one who needs little; a crowd that comes then does not lock it out."""
    script: dict[int, list[Call | Cancel]] = {
        0: [
            *(SampleRequest(kinds["txt2img"], steps=30, seed=n).call(f"heavy {n}", owner="heavy") for n in range(3)),
            SampleRequest(kinds["txt2img"], steps=40).call("light", owner="light"),
        ],
        20: [SampleRequest(kinds["txt2img"], steps=10, seed=n).call(n, owner=n) for n in range(4)],
    }
    Stage(row_cap=8).play(script)
    assert sum(parked.owner == "heavy" for group in forwards[20:30] for parked in group) >= 3


# ---- leaving -------------------------------------------------------------------------------------------------------
