"""A request in a batch paints what it paints alone, in double precision, whatever happens to the others."""

from __future__ import annotations

import random
from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import diffusers
import pytest
import torch

from bot.engine import Progress, Started
from bot.worker import rows
from bot.worker.calls import Call, Cancel, Cancelled, Failed, Returned
from tests.bot.worker import tiny_pipelines
from tests.bot.worker.batches import EXACT, KINDS, Borrowed, Refusing, SampleRequest, Stage, crowd, distance, embeddings
from tests.bot.worker.tiny_pipelines import SIDE, Kind, scheduler_for

# diffusers 0.42 hands tensors to numpy 2 in the old way.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning"),
    pytest.mark.usefixtures("one_thread"),
]


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
