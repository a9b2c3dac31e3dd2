"""A request in a batch paints what it paints alone, in double precision, whatever happens to the others."""

from __future__ import annotations

import copy
import itertools
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import diffusers
import pytest
import torch

from bot.engine import Progress, Started
from bot.engine.catalog import SAMPLERS
from bot.errors import PaintFailed
from bot.worker import forwards as running
from bot.worker import rows
from bot.worker.calls import Call, Cancel, Cancelled, Event, Failed, Returned
from tests.bot.worker import tiny_pipelines
from tests.bot.worker.scripts import batcher_of, play
from tests.bot.worker.tiny_pipelines import SIDE, Kind, scheduler_for

# diffusers 0.42 hands tensors to numpy 2 in the old way.
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

EXACT = 1e-9
KINDS = ("txt2img", "txt2img sdxl", "img2img", "inpaint 4", "inpaint 9", "controlnet")


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """More threads only wait for each other on models this small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    diffusers.utils.logging.set_verbosity_error()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Kind]:
    return tiny_pipelines.kinds(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture
def forwards(monkeypatch: pytest.MonkeyPatch) -> list[list[rows.Parked]]:
    """The groups that shared a forward, in order."""
    groups: list[list[rows.Parked]] = []

    def recording(group: list[rows.Parked], cap: int, *ways: Any) -> list[Any]:
        groups.append(list(group))
        return rows.forward(group, cap, *ways)

    monkeypatch.setattr(running, "forward", recording)
    return groups


@dataclass
class SampleRequest:
    """What somebody asks for."""

    kind: Kind
    sampler: str = "default"
    steps: int = 4
    guidance: float = 5.0
    negative: str | None = None
    seed: int = 1
    side: int = SIDE
    images: int = 1
    latents: bool = True
    prompt: str = "red cat"
    more: dict[str, Any] = field(default_factory=dict)

    def arguments(self) -> dict[str, Any]:
        """The pipeline's arguments, with generators nobody used yet."""
        arguments = {
            "prompt": self.prompt,
            "negative_prompt": self.negative,
            "num_inference_steps": self.steps,
            "guidance_scale": self.guidance,
            "num_images_per_prompt": self.images,
            "generator": [torch.Generator().manual_seed(self.seed + n) for n in range(self.images)],
            "output_type": "latent" if self.latents else "pt",
            **self.kind.needs,
            **self.more,
        }
        if self.kind.sizes:
            arguments |= {"width": self.side, "height": self.side}
        return arguments

    def alone(self) -> torch.Tensor:
        """What diffusers paints."""
        pipeline = copy.copy(self.kind.pipeline)
        pipeline.scheduler = scheduler_for(pipeline, self.sampler)
        pipeline.set_progress_bar_config(disable=True)
        images = pipeline(**self.arguments()).images
        assert isinstance(images, torch.Tensor)
        return images

    def call(self, call_id: object, owner: object = "ada", **more: Any) -> Call:
        pipeline = self.kind.pipeline
        return Call(call_id, owner, pipeline, scheduler_for(pipeline, self.sampler), self.arguments(), **more)


class Stage:
    """Runs a batcher to the end of a script and keeps what became of everyone."""

    def __init__(self, **options: Any) -> None:
        self.events: dict[object, list[Event]] = defaultdict(list)
        self.batcher = batcher_of(**options)

    def play(self, script: Mapping[int, list[Call | Cancel]] | list[Call]) -> None:
        """Add and cancel before the forwards with these numbers."""
        for call, event in play(self.batcher, script if isinstance(script, Mapping) else {0: script}):
            self.events[call.id].append(event)

    def end(self, call_id: object) -> Event:
        return self.events[call_id][-1]

    def error(self, call_id: object) -> Exception:
        event = self.end(call_id)
        assert isinstance(event, Failed), event
        return event.error

    def images(self, call_id: object) -> torch.Tensor:
        event = self.end(call_id)
        assert isinstance(event, Returned), event
        return event.output.images

    def steps(self, call_id: object) -> list[int]:
        return [event.step for event in self.events[call_id] if isinstance(event, Progress)]


def distance(one: torch.Tensor, other: torch.Tensor) -> float:
    """Never NaN, which would pass no comparison but fail none either."""
    assert one.shape == other.shape
    assert one.isfinite().all()
    assert other.isfinite().all()
    return (one - other).abs().max().item()


class Refusing:
    """Stands in for a module's forward: records the rows of each, and does to them what a test wants."""

    def __init__(self, module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rows: list[int] = []
        self.before: Callable[[int, int], None] = lambda number, rows: None
        self.after: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = lambda sample, output: output
        self._forward = module.forward
        monkeypatch.setattr(module, "forward", self)

    def __call__(self, sample: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        self.rows.append(sample.shape[0])
        self.before(len(self.rows) - 1, sample.shape[0])
        output, *rest = self._forward(sample, *args, **kwargs)
        return (self.after(sample, output), *rest)


# ---- the promise ---------------------------------------------------------------------------------------------------


def crowd(kinds: dict[str, Kind], main: str, dice: random.Random) -> dict[str, SampleRequest]:
    """A one for every sampler of a kind, and strangers of all kinds."""
    requests = {}
    strangers = [(kind, sampler) for kind in KINDS for sampler in dice.sample(sorted(SAMPLERS), 2)]
    for number, (name, sampler) in enumerate([*((main, sampler) for sampler in SAMPLERS), *strangers]):
        kind = kinds[name]
        requests[f"{number}: {name}, {sampler}"] = SampleRequest(
            kind,
            sampler,
            steps=dice.randint(3, 6),
            guidance=dice.choice([1.0, 3.0, 7.5]),
            negative=dice.choice([None, "ugly", "low, bad"]),
            seed=dice.randrange(2**32),
            side=dice.choice(kind.sizes or (SIDE,)),
            images=dice.choice([1, 1, 2]) if "img2img" not in name else 1,
            latents=dice.random() < 0.6,
            prompt=dice.choice(["red cat", "old ship", "robot 7"]),
        )
    return requests


@pytest.mark.parametrize("main", KINDS)
def test_in_a_changing_crowd_every_sampler_paints_what_it_paints_alone(
    main: str, kinds: dict[str, Kind], forwards: list[list[rows.Parked]]
) -> None:
    dice = random.Random(main)
    requests = crowd(kinds, main, dice)

    def fall(_pipe: object, step: int, _timestep: object, values: dict[str, Any]) -> dict[str, Any]:
        if step == 1:
            raise ValueError("I fell")
        return values

    script: dict[int, list[Call | Cancel]] = defaultdict(list)
    for number, (name, one) in enumerate(requests.items()):
        script[dice.randint(0, 12)].append(one.call(name, owner=number % 7))
    script[2].append(SampleRequest(kinds[main], steps=50).call("leaves"))
    script[5].append(Cancel("leaves"))
    script[3].append(SampleRequest(kinds[main], steps=50, more={"callback_on_step_end": fall}).call("falls"))

    stage = Stage(row_cap=12)
    stage.play(script)

    for name, one in requests.items():
        assert distance(stage.images(name), one.alone()) <= EXACT, name
    assert isinstance(stage.end("leaves"), Cancelled)
    assert str(stage.error("falls")) == "I fell"
    steps = [group for group in forwards if not group[0].single]
    assert sum(parked.rows for group in steps for parked in group) / len(steps) > 3
    assert sum(len({parked.owner for parked in group}) > 1 for group in steps) > len(steps) / 3


class Borrowed:
    """A scheduler that is another's: what every call would have if the batcher let them share."""

    def __init__(self, scheduler: Any) -> None:
        self._scheduler = scheduler

    def __getattr__(self, name: str) -> Any:
        return getattr(self._scheduler, name)


def test_that_promise_breaks_when_calls_share_a_scheduler(kinds: dict[str, Kind]) -> None:
    requests = [SampleRequest(kinds["txt2img"], "dpm++ 2m", seed=seed) for seed in range(3)]
    one = scheduler_for(kinds["txt2img"].pipeline, "dpm++ 2m")
    own, shared = Stage(), Stage()
    own.play([one.call(n) for n, one in enumerate(requests)])
    shared.play([Call(n, n, one.kind.pipeline, Borrowed(one), one.arguments()) for n, one in enumerate(requests)])
    for number, one in enumerate(requests):
        assert distance(own.images(number), one.alone()) <= EXACT
        end = shared.end(number)
        assert isinstance(end, Failed) or distance(shared.images(number), one.alone()) > 1e-3


def test_a_scheduler_object_that_is_in_use_is_refused(kinds: dict[str, Kind]) -> None:
    call = SampleRequest(kinds["txt2img"]).call("first")
    batcher = Stage().batcher
    batcher.add(call)
    with pytest.raises(ValueError, match="shares its scheduler"):
        batcher.add(Call("second", "ada", call.pipeline, call.scheduler, {}))
    with pytest.raises(ValueError, match="here already"):
        batcher.add(SampleRequest(kinds["txt2img"]).call("first"))


def test_events_tell_the_story_of_a_call(kinds: dict[str, Kind]) -> None:
    stage = Stage()
    stage.play(
        [SampleRequest(kinds["txt2img"], steps=3).call("a"), SampleRequest(kinds["txt2img"], "heun", steps=3).call("b")]
    )
    *story, last = stage.events["a"]
    assert story == [Started(), Progress(1, 3), Progress(2, 3), Progress(3, 3)]
    assert isinstance(last, Returned)
    # Heun evaluates the model twice for every step but the last, and diffusers counts evaluations.
    assert stage.steps("b") == [1, 2, 3, 4, 5]


def test_who_comes_when_all_is_done_is_served_too(kinds: dict[str, Kind]) -> None:
    stage, idle = Stage(), []
    visits = {1: [SampleRequest(kinds["txt2img"]).call("early")], 12: [SampleRequest(kinds["txt2img"]).call("late")]}
    for number in range(1, 40):
        idle.append(stage.batcher.is_idle)
        for call, event in stage.batcher.step(visits.get(number, [])):
            stage.events[call.id].append(event)
    assert distance(stage.images("early"), stage.images("late")) == 0.0, "alone, to the bit"
    assert idle[:3] == [True, False, False]
    assert idle[10], "between the two there is nothing to do, and the caller may wait"


# ---- batches -------------------------------------------------------------------------------------------------------


def test_one_forward_serves_many_owners_up_to_the_cap(
    kinds: dict[str, Kind], monkeypatch: pytest.MonkeyPatch, forwards: list[list[rows.Parked]]
) -> None:
    unet = Refusing(kinds["txt2img"].pipeline.unet, monkeypatch)
    stage = Stage(row_cap=6)
    stage.play([SampleRequest(kinds["txt2img"], seed=n).call(n, owner=n) for n in range(7)])
    # Seven times two rows, three calls at a time, four steps: ten forwards.
    assert max(unet.rows) == 6
    assert unet.rows == [6] * 9 + [2]
    assert max(len({parked.owner for parked in group}) for group in forwards) == 3


def test_a_call_of_more_rows_than_the_cap_goes_through_in_parts(
    kinds: dict[str, Kind], monkeypatch: pytest.MonkeyPatch
) -> None:
    unet = Refusing(kinds["controlnet"].pipeline.unet, monkeypatch)
    one = SampleRequest(kinds["controlnet"], steps=2, images=4)
    stage = Stage(row_cap=3)
    stage.play([one.call(0)])
    assert unet.rows == [3, 3, 2] * 2
    assert distance(stage.images(0), one.alone()) <= EXACT


def embeddings(length: int, seed: int, width: int = 32) -> dict[str, Any]:
    """A prompt and a negative prompt of some length, as a prompt parser gives them."""
    source = torch.Generator().manual_seed(seed)
    names = ("prompt_embeds", "negative_prompt_embeds")
    embeds = {name: torch.randn(1, length, width, generator=source, dtype=torch.float64) for name in names}
    return {"prompt": None, **embeds}


def test_prompts_of_different_lengths_share_a_forward(
    kinds: dict[str, Kind], forwards: list[list[rows.Parked]]
) -> None:
    for name in ("txt2img", "controlnet"):
        forwards.clear()
        requests = [
            SampleRequest(kinds[name], seed=n, more=embeddings(length, n)) for n, length in enumerate((16, 32, 48))
        ]
        stage = Stage()
        stage.play([one.call(n) for n, one in enumerate(requests)])
        for number, one in enumerate(requests):
            assert distance(stage.images(number), one.alone()) <= EXACT
        assert {len(group) for group in forwards} == {3}


def test_a_model_that_pools_its_prompt_gets_only_equal_lengths() -> None:
    """Repeating tokens beside a class token shifts the balance, as in the small model in the box."""
    torch.manual_seed(0)
    unet = diffusers.UNet2DConditionModel(
        **tiny_pipelines.BLOCKS,
        up_block_types=tiny_pipelines.UP,
        in_channels=4,
        cross_attention_dim=32,
        addition_embed_type="text",
        addition_embed_type_num_heads=4,
    ).double()
    sample, step = torch.randn(1, 4, 16, 16, dtype=torch.float64), torch.tensor(7)
    prompts = [torch.randn(1, length, 32, dtype=torch.float64) for length in (16, 32, 16)]
    line = [rows.Parked(unet, "__call__", ((sample, step), {"encoder_hidden_states": p})) for p in prompts]
    assert rows.fill_batch(line, 16) == [line[0], line[2]]
    with torch.no_grad():
        once = unet(sample, step, prompts[0]).sample
        twice = unet(sample, step, prompts[0].repeat(1, 2, 1)).sample
    assert distance(once, twice) > 1e-6


def test_too_long_a_common_length_is_not_shared() -> None:
    def line(*lengths: int) -> Any:
        return [SimpleNamespace(key=0, rows=1, length=length, single=False) for length in lengths]

    assert [parked.length for parked in rows.fill_batch(line(77, 154, 231, 308, 77), 8)] == [77, 154, 231, 308, 77]
    assert [parked.length for parked in rows.fill_batch(line(77, 79, 154), 8)] == [77, 154]


@pytest.mark.parametrize("return_dict", [True, False])
def test_outputs_are_cut_the_way_the_module_returns_them(kinds: dict[str, Kind], return_dict: bool) -> None:
    pipeline = kinds["controlnet"].pipeline
    picture = torch.rand(2, 3, SIDE, SIDE, dtype=torch.float64)

    def parked(net: Any, count: int, step: int, **more: Any) -> rows.Parked:
        torch.manual_seed(step)
        sample = torch.randn(count, 4, 16, 16, dtype=torch.float64)
        context = torch.randn(count, 16, 32, dtype=torch.float64)
        kwargs = {"encoder_hidden_states": context, "return_dict": return_dict, **more}
        return rows.Parked(net, "__call__", ((sample, torch.tensor(step)), kwargs))

    groups = [
        [parked(pipeline.unet, 1, 3), parked(pipeline.unet, 2, 900)],
        [
            parked(pipeline.controlnet, 1, 5, controlnet_cond=picture[:1]),
            parked(pipeline.controlnet, 2, 7, controlnet_cond=picture),
        ],
    ]
    with torch.no_grad():
        for group in groups:
            together = rows.forward(rows.fill_batch(group, 16), 16)
            for one, output in zip(group, together, strict=True):
                (alone,) = rows.forward([one], 16)
                assert type(output) is type(alone)
                numbers = [tensor for _, tensor in rows._leaves(output)]
                expected = [tensor for _, tensor in rows._leaves(alone)]
                assert len(numbers) == len(expected)
                assert max(map(distance, numbers, expected)) <= EXACT
    assert together[0] is not together[1]


def test_settings_that_differ_share_no_forward(kinds: dict[str, Kind], forwards: list[list[rows.Parked]]) -> None:
    """What is one for the whole forward must be everyone's: how strong a ControlNet is, and where."""
    settings = [
        {"controlnet_conditioning_scale": 0.2},
        {"controlnet_conditioning_scale": 0.9},
        {"controlnet_conditioning_scale": 0.2},
        {"controlnet_conditioning_scale": 0.2, "guess_mode": True},
    ]
    requests = [SampleRequest(kinds["controlnet"], seed=n, more=more) for n, more in enumerate(settings)]
    stage = Stage()
    stage.play([one.call(n) for n, one in enumerate(requests)])
    for number, one in enumerate(requests):
        assert distance(stage.images(number), one.alone()) <= EXACT
    controlnet = kinds["controlnet"].pipeline.controlnet
    guided = [{p.call_id for p in group} for group in forwards if group[0].key[0] == id(controlnet)]  # type: ignore[index]
    assert guided == [{0, 2}, {1}, {3}] * 4


def test_positions_that_differ_share_no_forward(forwards: list[list[rows.Parked]]) -> None:
    """Flux counts positions in arguments without rows; a wide and a tall picture have equally many."""
    torch.manual_seed(0)
    kind = Kind(tiny_pipelines.flux(torch.float64))
    more = {
        "prompt": None,
        "prompt_embeds": torch.randn(1, 7, 32, dtype=torch.float64),
        "pooled_prompt_embeds": torch.randn(1, 32, dtype=torch.float64),
    }
    shapes = [(16, 32), (32, 16), (16, 32)]
    requests = [
        SampleRequest(kind, seed=n, steps=3, latents=False, more={**more, "width": width, "height": height})
        for n, (width, height) in enumerate(shapes)
    ]
    for one in requests:
        one.kind = Kind(kind.pipeline, sizes=())
    stage = Stage()
    stage.play([one.call(n) for n, one in enumerate(requests)])
    for number, one in enumerate(requests):
        assert distance(stage.images(number), one.alone()) <= EXACT
    steps = [{parked.call_id for parked in group} for group in forwards if not group[0].single]
    assert {0, 2} in steps
    assert not any({0, 1} <= group for group in steps)


def test_pictures_are_decoded_one_between_two_steps(kinds: dict[str, Kind], forwards: list[list[rows.Parked]]) -> None:
    short = [SampleRequest(kinds["txt2img"], steps=2, seed=n, images=2, latents=False) for n in range(3)]
    stage = Stage(row_cap=64)
    stage.play([*(one.call(n) for n, one in enumerate(short)), SampleRequest(kinds["txt2img"], steps=12).call("long")])
    order = ["decode" if group[0].single else "step" for group in forwards]
    assert order == [*["step"] * 2, *["step", "decode"] * 6, *["step"] * 4]
    assert all(group[0].rows == 1 for group in forwards if group[0].single)
    for number, one in enumerate(short):
        assert distance(stage.images(number), one.alone()) <= EXACT


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


def test_a_cancelled_call_frees_its_rows_at_once(kinds: dict[str, Kind], monkeypatch: pytest.MonkeyPatch) -> None:
    unet = Refusing(kinds["txt2img"].pipeline.unet, monkeypatch)
    requests = [SampleRequest(kinds["txt2img"], "dpm++ 2m karras", steps=6, seed=n) for n in range(3)]
    calls: list[Call | Cancel] = [one.call(n) for n, one in enumerate(requests)]
    calls.append(SampleRequest(kinds["txt2img"], "euler", steps=6).call("leaver", owner="bob"))
    stage = Stage()
    stage.play({0: calls, 3: [Cancel("leaver"), Cancel("nobody")]})
    assert unet.rows == [8, 8, 8, 6, 6, 6]
    assert isinstance(stage.end("leaver"), Cancelled)
    assert stage.steps("leaver") == [1, 2, 3]
    for number, one in enumerate(requests):
        assert distance(stage.images(number), one.alone()) <= EXACT


def test_stopped_is_raised_inside_the_cancelled_call_alone(kinds: dict[str, Kind]) -> None:
    seen = []

    class Pipeline:
        """Ends in its own way."""

        def __init__(self, name: str) -> None:
            self.name = name
            self.unet = kinds["txt2img"].pipeline.unet

        def set_progress_bar_config(self, **_: Any) -> None: ...

        def __call__(self) -> str:
            sample, context = torch.zeros(1, 4, 16, 16).double(), torch.zeros(1, 16, 32).double()
            try:
                for step in range(3):
                    self.unet(sample, torch.tensor(step), encoder_hidden_states=context)
            except Exception:  # noqa: BLE001 - what a careless pipeline would do
                seen.append((self.name, "swallowed it"))
            finally:
                seen.append((self.name, "tidied up"))
            return self.name

    calls = [Call(name, name, Pipeline(name), object(), {}) for name in ("stays", "leaves")]
    stage = Stage()
    stage.play({0: [*calls], 1: [Cancel("leaves")]})
    assert seen == [("leaves", "tidied up"), ("stays", "tidied up")]
    assert stage.end("stays") == Returned("stays")
    assert stage.end("leaves") == Cancelled()


def test_a_call_may_be_cancelled_before_it_started(kinds: dict[str, Kind]) -> None:
    stage = Stage()
    stage.play({0: [SampleRequest(kinds["txt2img"]).call("a"), Cancel("a"), SampleRequest(kinds["txt2img"]).call("b")]})
    assert stage.events["a"] == [Cancelled()]
    assert isinstance(stage.end("b"), Returned)


# ---- what goes wrong -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shortage",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("MPS backend out of memory (MPS allocated: 5.00 GB)"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        MemoryError(),
    ],
    ids=lambda error: str(error)[:23],
)
def test_memory_is_short_in_the_words_of_every_device_and_is_tried_again_later(
    kinds: dict[str, Kind], monkeypatch: pytest.MonkeyPatch, shortage: Exception
) -> None:
    monkeypatch.setattr(running, "_CAUTIOUS_FORWARDS", 3)
    unet = Refusing(kinds["txt2img"].pipeline.unet, monkeypatch)

    def before(number: int, _rows: int) -> None:
        if number == 1:
            raise shortage

    unet.before = before
    stage = Stage()
    stage.play([SampleRequest(kinds["txt2img"], steps=8, seed=n).call(n) for n in range(2)])
    assert all(isinstance(stage.end(n), Returned) for n in range(2))
    assert unet.rows[:4] == [4, 4, 2, 2], "in halves"
    assert sum(unet.rows[4:]) == 6 * 4
    assert 4 in unet.rows[4:], "and whole again"


@pytest.mark.parametrize("bad", range(6))
def test_out_of_memory_at_any_forward_loses_nobody(
    kinds: dict[str, Kind], monkeypatch: pytest.MonkeyPatch, bad: int
) -> None:
    unet = Refusing(kinds["txt2img"].pipeline.unet, monkeypatch)
    requests = [
        SampleRequest(kinds["txt2img"], sampler, seed=3) for sampler in ("unipc", "euler a", "dpm++ 2m", "ddpm")
    ]
    expected = [one.alone() for one in requests]
    unet.rows.clear()

    def before(number: int, _rows: int) -> None:
        if number == bad:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")

    unet.before = before
    stage = Stage()
    stage.play([one.call(n) for n, one in enumerate(requests)])
    for number, images in enumerate(expected):
        assert distance(stage.images(number), images) <= EXACT
    # At the forward that was one too large, the same rows again in halves; no more than half a batch from then on.
    assert unet.rows[: bad + 3] == ([8] * (bad + 1) + [4, 4] if bad < 4 else [8] * 4)


def test_memory_for_three_rows_serves_everyone_in_threes_or_less(
    kinds: dict[str, Kind], monkeypatch: pytest.MonkeyPatch
) -> None:
    unet = Refusing(kinds["controlnet"].pipeline.unet, monkeypatch)
    requests = [SampleRequest(kinds["controlnet"], "dpm++ 2m", seed=n, images=n + 1) for n in range(3)]
    expected = [one.alone() for one in requests]
    unet.rows.clear()

    def before(_number: int, rows: int) -> None:
        if rows > 3:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    unet.before = before
    stage = Stage()
    stage.play([one.call(n) for n, one in enumerate(requests)])
    for number, images in enumerate(expected):
        assert distance(stage.images(number), images) <= EXACT
    assert [rows for rows in unet.rows if rows > 3] == [12, 6], "learnt once, kept"


def test_a_row_that_does_not_fit_fails_its_call_alone_in_words(
    kinds: dict[str, Kind], monkeypatch: pytest.MonkeyPatch
) -> None:
    unet = kinds["txt2img"].pipeline.unet
    original = unet.forward

    def narrow(sample: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if sample.shape[-1] > SIDE // 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return original(sample, *args, **kwargs)

    monkeypatch.setattr(unet, "forward", narrow)
    small, large = SampleRequest(kinds["txt2img"]), SampleRequest(kinds["txt2img"], side=SIDE + 16)
    stage = Stage()
    stage.play([large.call("large"), small.call("small"), large.call("large too")])
    for name in ("large", "large too"):
        assert isinstance(stage.error(name), PaintFailed)
        assert "too large for this machine's memory" in str(stage.error(name))
    assert distance(stage.images("small"), small.alone()) <= EXACT


def test_rows_that_are_not_numbers_fail_their_call_alone(
    kinds: dict[str, Kind], monkeypatch: pytest.MonkeyPatch
) -> None:
    unet = Refusing(kinds["txt2img"].pipeline.unet, monkeypatch)
    requests = [SampleRequest(kinds["txt2img"], "euler a", seed=n) for n in range(4)]
    expected = [one.alone() for one in requests]
    unet.rows.clear()

    def spoil(sample: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        if len(unet.rows) == 2:
            output = output.clone()
            output[2, 0, 3, 3] = torch.nan
        return output

    unet.after = spoil
    stage = Stage()
    stage.play([one.call(n) for n, one in enumerate(requests)])
    assert isinstance(stage.error(1), PaintFailed)
    assert "not a number" in str(stage.error(1))
    assert unet.rows == [8, 8, 6, 6]
    for number in (0, 2, 3):
        assert distance(stage.images(number), expected[number]) <= EXACT


def test_a_picture_that_overflows_in_half_precision_is_decoded_again_in_single(kinds: dict[str, Kind]) -> None:
    one = SampleRequest(kinds["txt2img"], latents=False)
    vae = copy.deepcopy(one.kind.pipeline.vae).float()
    with torch.no_grad():
        # Weights that float16 can hold, and sums that it cannot; the first normalisation makes little of them again.
        weight = vae.decoder.conv_in.weight
        weight *= 60_000 / weight.abs().max()
    one.kind = replace(one.kind, pipeline=copy.copy(one.kind.pipeline))
    expected = Stage()
    one.kind.pipeline.vae = vae
    expected.play([one.call(0)])
    half = copy.deepcopy(vae).half()
    one.kind.pipeline.vae = half
    stage = Stage()
    stage.play([one.call(0)])

    # The latents were rounded to half precision on their way.
    assert distance(stage.images(0), expected.images(0)) < 0.02
    assert half.dtype is torch.float16
    assert not rows.are_numbers([half.decode(torch.ones(1, 4, 8, 8).half()).sample])


def test_a_decoder_that_gives_no_numbers_fails_that_call_alone(
    kinds: dict[str, Kind], monkeypatch: pytest.MonkeyPatch
) -> None:
    vae = kinds["txt2img"].pipeline.vae
    decode, calls = vae.decode, itertools.count()

    def spoiling(z: torch.Tensor, **kwargs: Any) -> Any:
        (image,) = decode(z, **kwargs)
        return (image * torch.nan if next(calls) == 0 else image,)

    monkeypatch.setattr(vae, "decode", spoiling)
    stage = Stage()
    stage.play([SampleRequest(kinds["txt2img"], latents=False, seed=n).call(n, owner=n) for n in range(2)])
    assert isinstance(stage.error(0), PaintFailed)
    assert isinstance(stage.end(1), Returned)


def test_a_forward_that_raises_is_redone_call_by_call(kinds: dict[str, Kind], monkeypatch: pytest.MonkeyPatch) -> None:
    unet = kinds["txt2img"].pipeline.unet
    original = unet.forward
    poison = torch.full((1, 16, 32), 9.0, dtype=torch.float64)

    def allergic(sample: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if (kwargs["encoder_hidden_states"] == 9.0).any():
            raise RuntimeError("no nines")
        return original(sample, *args, **kwargs)

    monkeypatch.setattr(unet, "forward", allergic)
    good = [SampleRequest(kinds["txt2img"], seed=n) for n in range(2)]
    bad = SampleRequest(
        kinds["txt2img"], more={"prompt": None, "prompt_embeds": poison, "negative_prompt_embeds": poison}
    )
    stage = Stage()
    stage.play([good[0].call(0), bad.call("bad"), good[1].call(1)])
    assert str(stage.error("bad")) == "no nines"
    for number, one in enumerate(good):
        assert distance(stage.images(number), one.alone()) <= EXACT


def test_a_lost_device_leaves_the_batcher(kinds: dict[str, Kind], monkeypatch: pytest.MonkeyPatch) -> None:
    unet = Refusing(kinds["txt2img"].pipeline.unet, monkeypatch)

    def before(number: int, _rows: int) -> None:
        if number == 2:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

    unet.before = before
    stage = Stage()
    with pytest.raises(RuntimeError, match="illegal memory access"):
        stage.play([SampleRequest(kinds["txt2img"], seed=n).call(n) for n in range(2)])
    assert stage.steps(0) == [1, 2]
    assert not any(isinstance(stage.end(n), Returned | Failed | Cancelled) for n in range(2))


# ---- what is shared ------------------------------------------------------------------------------------------------


def test_grad_mode_is_off_in_every_call_whatever_another_does(
    kinds: dict[str, Kind], monkeypatch: pytest.MonkeyPatch
) -> None:
    unet = Refusing(kinds["txt2img"].pipeline.unet, monkeypatch)
    modes = []
    unet.before = lambda number, rows: modes.append(torch.is_grad_enabled())

    def look(_pipe: object, _step: int, _timestep: object, values: dict[str, Any]) -> dict[str, Any]:
        modes.append(torch.is_grad_enabled())
        return values

    def switch_on(_pipe: object, step: int, _timestep: object, values: dict[str, Any]) -> dict[str, Any]:
        torch.set_grad_enabled(True)
        return values

    more = [{"callback_on_step_end": hook} for hook in (switch_on, look, look)]
    requests = [SampleRequest(kinds["txt2img"], steps=2 + 2 * n, seed=n, more=m) for n, m in enumerate(more)]
    around = []
    with torch.enable_grad():
        for _ in play(batcher_of(), {0: [one.call(number) for number, one in enumerate(requests)]}):
            around.append(torch.is_grad_enabled() and not torch.is_inference_mode_enabled())  # noqa: PERF401
        assert torch.is_grad_enabled()
    assert len(modes) == 6 + 4 + 6
    assert not any(modes)
    assert around
    assert all(around), "the caller is in the thread's own mode, and may load a model"


def test_a_shared_vae_is_never_cast(kinds: dict[str, Kind], monkeypatch: pytest.MonkeyPatch) -> None:
    """SDXL's `force_upcast` casts the VAE around encoding: in the batcher it stays, and is given what it takes."""
    xl = kinds["txt2img sdxl"].pipeline
    parts = {name: part for name, part in xl.components.items() if name not in ("image_encoder", "feature_extractor")}
    parts["vae"] = copy.deepcopy(xl.vae)
    parts["vae"].register_to_config(force_upcast=True)
    img2img = diffusers.StableDiffusionXLImg2ImgPipeline(**parts, add_watermarker=False)
    casts, taken = [], []
    encode = img2img.vae.encode
    monkeypatch.setattr(type(img2img.vae), "to", lambda vae, *args, **kwargs: casts.append((args, kwargs)) or vae)
    monkeypatch.setattr(img2img.vae, "encode", lambda x: taken.append(x.dtype) or encode(x))
    one = SampleRequest(Kind(img2img, dict(kinds["img2img"].needs), ()), latents=False)
    stage = Stage()
    stage.play([one.call(n) for n in range(2)])
    assert casts == []
    assert taken == [torch.float64] * 2
    assert isinstance(stage.end(1), Returned)


def test_the_pipeline_itself_is_left_as_it_was(kinds: dict[str, Kind]) -> None:
    pipeline = kinds["controlnet"].pipeline
    before = (dict(vars(pipeline)), dict(pipeline.config))
    Stage().play([SampleRequest(kinds["controlnet"], latents=False).call(0)])
    assert (dict(vars(pipeline)), dict(pipeline.config)) == before
