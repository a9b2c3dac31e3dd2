"""Every benchmark's command still runs, at its smallest size. No test asserts a time."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel

from benchmarks import (
    direct,
    engine,
    event_loop,
    fairness,
    forecast,
    gpu,
    gpu_correctness,
    gpu_speed,
    growth,
    lanes,
    line,
    load,
    loads,
    models,
    nsfw,
    prompts,
    provenance,
    recording,
    search,
    soak,
    starting,
    try_page,
)
from benchmarks.arms import Arms, UnavailableError, joined
from benchmarks.comfyui import ComfyUI
from benchmarks.gpu_child import Book, Scene, read
from benchmarks.report import Chart, svg, table
from bot.config import EngineConfig
from bot.engine.fake import FakeEngine
from bot.requests.options import Options
from tests.bot.try_page.browser import needs_chromium

# diffusers 0.42 hands tensors to numpy 2 in the old way.
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

SETTINGS = EngineConfig(device="cpu", threads=1)


@pytest.fixture(scope="module")
def arms(tmp_path_factory: pytest.TempPathFactory) -> Arms:
    """A toy of Stable Diffusion 1.5 with random weights."""
    return Arms(models.save(tmp_path_factory.mktemp("model"), "sd15", toy=True), SETTINGS)


@pytest.mark.timeout(600)
def test_the_engine_is_measured_in_all_its_parts(tmp_path: Path) -> None:
    words = "--random sd15 --toy --requests 2 --steps 2 3 --rounds 1 --flood 2 --cancels 2 --rows 4"
    chosen = "--arms naive static ours alone no-knee direct"
    report, charts = engine.run(engine.arguments([*f"{words} {chosen}".split(), "--out", str(tmp_path)]))
    text = report.read_text()
    for title, *_ in engine.PARTS.values():
        assert f"## {title}" in text
    assert "left out" not in text.lower()
    drawn = ElementTree.parse(charts).getroot()
    assert len(drawn.findall("{*}g")) == 2, "the knee and the loads over time"


def test_sdxl_is_measured_too_and_arms_that_cannot_run_say_why(tmp_path: Path) -> None:
    words = f"--random sdxl --toy --requests 2 --steps 2 2 --rounds 1 --rows 4 --comfyui {tmp_path}"
    chosen = "--arms naive ours direct comfyui --parts closed curve"
    report, _ = engine.run(engine.arguments([*f"{words} {chosen}".split(), "--out", str(tmp_path)]))
    assert "| a hand-written loop | not written for StableDiffusionXLPipeline |" in report.read_text()
    assert f"| ComfyUI's sampler | ComfyUI cannot be imported from {tmp_path}" in report.read_text()


def test_without_a_compiler_the_compiled_arm_says_so(arms: Arms, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(UnavailableError, match="no compiler here"):
        arms.compiled(loads.closed(loads.mixed(arms.model, 1, (1, 1))))


def test_what_does_not_fit_into_the_budget_is_left_out_and_said(tmp_path: Path) -> None:
    words = "--random sd15 --toy --requests 1 --steps 1 1 --rounds 1 --arms naive --parts closed curve --budget 0"
    report, _ = engine.run(engine.arguments([*words.split(), "--out", str(tmp_path)]))
    assert report.read_text().count("Left out: the budget was spent.") == 2


def test_the_hand_written_loop_paints_what_the_pipeline_paints(arms: Arms) -> None:
    """Otherwise the comparison would count work that the loop does not do."""
    requests = loads.mixed(arms.model, 5, (2, 4))
    waiting = [direct.Painting(arms.store, number, request) for number, request in enumerate(requests)]
    painted: dict[int, np.ndarray] = {}

    def take(_idle: bool) -> list[direct.Painting] | None:
        taken, waiting[:] = waiting[:], []
        return taken or None

    direct.serve(arms.pipeline.unet, 4, take, lambda number, output: painted.update({number: output.images}))
    for number, request in enumerate(requests):
        arms.pipeline.scheduler = arms.store.scheduler(request)
        with torch.inference_mode():
            expected = arms.pipeline(**arms.store.arguments(request)).images
        np.testing.assert_allclose(painted[number], expected, atol=1e-4)


def test_a_static_batch_paints_what_single_calls_paint(arms: Arms) -> None:
    request = loads.mixed(arms.model, 1, (2, 2))[0]
    calls = [arms.store.arguments(replace(request, seed=seed, prompt=f"cat {seed}")) for seed in (1, 2)]
    arms.pipeline.scheduler = arms.store.scheduler(request)
    with torch.inference_mode():
        together = arms.pipeline(**joined(calls)).images
        calls = [arms.store.arguments(replace(request, seed=seed, prompt=f"cat {seed}")) for seed in (1, 2)]
        apart = [arms.pipeline(**call).images[0] for call in calls]
    np.testing.assert_allclose(together, apart, atol=1e-4)


@pytest.mark.parametrize(("kind", "parameters"), [("sd15", 859_520_964), ("sdxl", 2_567_463_684)])
def test_the_large_models_are_the_published_ones(kind: str, parameters: int) -> None:
    """The parameters of their denoisers are compared; they are built without memory or weights."""
    with torch.device("meta"):
        unet = UNet2DConditionModel(**models.unet_config(kind))
    assert sum(weights.numel() for weights in unet.parameters()) == parameters


def test_a_line_that_is_asked_for_too_much_grows() -> None:
    arrivals = [float(n) for n in range(20)]
    served = loads.Outcome(arrivals, [1.0] * 20, 21.0)
    behind = loads.Outcome(arrivals, [1.0 + 0.5 * n for n in range(20)], 31.0)
    assert (served.trend, behind.trend) == ("stable", "growing")


def test_quantiles_are_values_that_occurred() -> None:
    assert [loads.quantile([3.0, 1.0, 2.0, 4.0], share) for share in (0.25, 0.5, 0.95, 1.0)] == [1.0, 2.0, 4.0, 4.0]


def test_words_in_a_chart_cannot_break_it() -> None:
    drawn = svg([Chart("a < b & c", "x", "y", {"line": [(1.0, 2.0), (2.0, 3.0)]}, {"dots": [(1.0, 1.0)]})])
    assert ElementTree.fromstring(drawn).find(".//{*}text").text == "a < b & c"  # type: ignore[union-attr]


def test_a_table_has_as_many_cells_in_every_row() -> None:
    lines = table(["a", "b"], [["1", "2"]]).splitlines()
    assert {line.count("|") for line in lines} == {3}


def test_a_folder_without_comfyui_is_named(arms: Arms, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=f"ComfyUI cannot be imported from {tmp_path}"):
        ComfyUI(tmp_path, arms)


@pytest.mark.timeout(600)
def test_the_event_loop_is_measured_in_every_phase(monkeypatch: pytest.MonkeyPatch) -> None:
    # To compile a denoiser takes minutes, and shows nothing here.
    monkeypatch.setattr(event_loop, "COMPILE", (sys.executable, "-c", "pass"))
    text = event_loop.report(0.5, Options("a fox", images=1, steps=1))
    for phase in ("empty loop", "engine starts", "engine idle", "engine paints", "engine loads and paints"):
        assert f"| {phase} |" in text
    assert "| a process compiles, engine paints |" in text or "no g++" in text


@pytest.mark.timeout(600)
async def test_the_forecast_of_lanes_of_two_speeds_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    await forecast.run(requests=3, warm=2, rate=100, steps=(0.001, 0.003))
    assert "within half of the wait" in capsys.readouterr().out


async def test_many_lanes_are_measured_with_one_bot_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "LANES", (1, 2))
    words, table, chart = await lanes.bound(8, 0.01)
    assert "2 lanes that paint at once" in words
    assert len(table.splitlines()) == 4
    assert [x for x, _ in chart.lines["the bot with them"]] == [1, 2]


@pytest.mark.timeout(600)
async def test_two_local_lanes_are_measured_against_one() -> None:
    words, table = await lanes.local(rounds=1, pictures=2, steps=2)
    assert "times as many pictures as one" in words
    assert len(table.splitlines()) == 3


async def test_the_forecast_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    await forecast.run(requests=3, warm=1, rate=10)
    assert "| told wait | requests |" in capsys.readouterr().out


@pytest.mark.timeout(600)
def test_the_load_is_measured_in_all_its_parts(tmp_path: Path) -> None:
    words = "--seconds 1 --rate 20 --people 5 --each 4 --rounds 1"
    text = load.run([*words.split(), "--out", str(tmp_path)]).read_text()
    for title, _ in load.PARTS.values():
        assert f"## {title}" in text
    assert "| never or after 3 s (10062) | 0 |" in text
    assert "nan" not in text


def test_the_soak_finds_what_grows_and_loses_nothing(tmp_path: Path) -> None:
    report, broken = soak.run(["--jobs", "100", "--people", "5", "--out", str(tmp_path)])
    assert "100 delivered, broken promises: 0" in report.read_text()
    # With so few jobs the slope is noise, but every promise must hold.
    assert not [words for words in broken if "grow" not in words]
    assert soak.slope_of([(0.0, 5.0), (1.0, 7.0), (2.0, 9.0)]) == 2.0


def test_a_choice_among_many_is_measured() -> None:
    assert "| 20 | 4 |" in line.report(waiting=20, claims=5)


async def test_the_cost_of_a_request_among_many_is_measured() -> None:
    assert [await growth.measure(size, 3) > 0 for size in (0, 5)] == [True, True]


def test_fairness_is_simulated_beside_what_others_do(tmp_path: Path) -> None:
    text = fairness.run(minutes=10, light=10, out=tmp_path)
    index = {cells[1].strip(): float(cells[2]) for row in text.splitlines()[2:] if (cells := row.split("|"))}
    assert index["ours"] > index["round robin"] > index["first come first served"]
    assert len(ElementTree.parse(tmp_path / "fairness.svg").getroot().findall("{*}g")) == 2


@pytest.mark.timeout(600)
def test_whatever_a_part_of_the_gpu_run_does_the_others_go_on_and_the_report_says_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # A part that hangs gets a small share of a long time, so that a busy machine does not stop the other parts.
    parts = {"loses_the_device": 5.0, "falls": 5.0, "hangs": 1.0, "is_not_there": 24.0}
    what = {name: (f"tests.misbehaving_parts:{name}", share) for name, share in parts.items()}
    monkeypatch.setattr(gpu, "PARTS", what)
    words = ["--toy", "--minutes", "4", "--parts", ",".join(parts), "--out", str(tmp_path)]
    report, failures = gpu.run(gpu.arguments(words))
    for sign in (
        "part loses_the_device, loses it: **failed** RuntimeError: CUDA error: an illegal memory access",
        "part loses_the_device the device was lost",
        "part loses_the_device ended with -11 at: crashes",
        "part hangs was stuck at: is stuck",
        "part falls, broken: **broken** by far",
        "ValueError: between two checks",
        "part is_not_there could not be imported",
    ):
        assert any(sign in failure for failure in failures), sign
    assert any("part hangs stopped after" in failure and "at: hangs" in failure for failure in failures)
    text = report.read_text()
    assert text.index("## What went wrong") < text.index("an illegal memory access") < text.index("## Checks")
    for row in ("| loses_the_device | afterwards | holds |", "| hangs | before | holds |", "| 1 | 2.346 |"):
        assert row in text
    assert "could not be imported" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gpu.json", "gpu.log", "gpu.md"]


@pytest.mark.timeout(600)
def test_the_gpu_run_holds_and_measures_at_toy_size(tmp_path: Path) -> None:
    scene, file = Scene("cpu", toy=True, out=tmp_path), tmp_path / "book"
    book = Book(file, 600)
    box = gpu_correctness.Box(tmp_path, scene)
    book.check("graphs", lambda: box.crowd("float32"))
    book.check("memory", lambda: box.memory("float32"))
    for part in (gpu_speed.machine, gpu_speed.sdxl, gpu_speed.over_time):
        part(book, scene)
    checks = {line["name"]: line for line in read(file) if line["kind"] == "check"}
    assert {line["verdict"] for line in checks.values()} == {"holds"}, checks
    assert "graphs, " in checks["graphs"]["words"]
    assert len({line["title"] for line in read(file) if line["kind"] == "table"}) > 7


@pytest.mark.timeout(600)
def test_pictures_that_differ_from_themselves_alone_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    box, book = gpu_correctness.Box(tmp_path, Scene("cpu", toy=True, out=tmp_path)), Book(tmp_path / "book", 600)
    forward = gpu_correctness.rows.run_eagerly

    def worse(parked: object, leaves: object, worn: object) -> object:
        output = forward(parked, leaves, worn)  # type: ignore[arg-type]
        if parked.part == "unet":  # type: ignore[attr-defined]
            output[0][0] += 0.01
        return output

    monkeypatch.setattr(gpu_correctness.rows, "run_eagerly", worse)
    book.check("crowd", lambda: box.crowd("float32", eager=True))
    (line,) = (line for line in read(tmp_path / "book") if line["kind"] == "check")
    assert line["verdict"] == "**broken**", line
    assert "beyond 0.0001" in line["words"]


def test_what_search_finds_and_costs_is_measured(tmp_path: Path) -> None:
    asked, held_out = prompts.queries(), prompts.held_out()
    corpus = prompts.compose(5000)
    assert not {text for text, _ in asked} & {text for text, _ in held_out}
    for those in (asked, held_out):
        assert len({text for text, _ in those}) == 200
        assert all(any(parts <= prompt.parts for prompt in corpus) for _, parts in those)
    text = search.quality(corpus[:200], asked)
    assert [line.split("|")[1].strip() for line in text.splitlines()[2:]][-2:] == ["meaning", "hybrid"]
    text = search.run("scale", 300)
    assert "| results | 300 |" in text
    assert "search p95" in text


def test_the_marks_are_measured_in_all_their_parts() -> None:
    report = provenance.run(provenance.arguments(["--count", "2", "--others", "4", "--steps", "1"]))
    for size in ("128×128", "512×512", "1024×1024"):
        assert size in report
    assert "Of 4 other pictures" in report


def test_the_safety_check_is_measured_beside_a_step() -> None:
    report = nsfw.run(nsfw.arguments(["--rounds", "1", "--steps", "3"]))
    assert report.count("\n") == 4


@needs_chromium
def test_the_start_is_measured_beside_another_version(capsys: pytest.CaptureFixture[str]) -> None:
    starting.run(starting.HERE, rounds=1)
    assert "times as long as the other one" in capsys.readouterr().out


def test_the_try_page_is_measured() -> None:
    text = try_page.run(try_page.arguments(["--pictures", "4", "8", "--rounds", "1"]))
    assert [line.split(" | ")[0] for line in text.splitlines()[-2:]] == ["| a reaction", "| /quota"]


@needs_chromium
async def test_the_try_page_is_recorded(tmp_path: Path) -> None:
    await recording.record(tmp_path, FakeEngine())
    taken = {path.name for path in tmp_path.iterdir()}
    assert taken == {"compare.png", "results.png", "search.png", "try.gif", "try.png"}
