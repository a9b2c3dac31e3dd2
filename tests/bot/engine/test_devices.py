"""One engine process for each device, and what each of them sees."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from bot.config import Config, EngineConfig
from bot.engine import building
from bot.engine.building import Files, build
from bot.engine.local import LocalEngine, devices
from bot.engine.local.devices import Place, find_places, places
from bot.findings import CheckStatus
from bot.findings import devices as examined

FACTS: Mapping[str, Any] = {"device": "cuda", "gpus": ["H100", "H100"]}


def test_each_device_has_a_lane_with_a_name_that_stays() -> None:
    names = [place.lane for place in places(["cuda:1", "cuda:0", "cpu", "cpu"])]
    assert names == ["gpu 1", "gpu 0", "cpu 0", "cpu 1"], "a card keeps its name when another is taken out"
    assert places(["mps"])[0].lane == "gpu 0"
    assert places([]) == [Place()]
    assert Place().lane == "local"


@pytest.mark.parametrize(
    ("device", "environ", "sees"),
    [
        ("cuda:1", {}, {"CUDA_VISIBLE_DEVICES": "1"}),
        ("cuda:1", {"CUDA_VISIBLE_DEVICES": "4,GPU-7,6"}, {"CUDA_VISIBLE_DEVICES": "GPU-7"}),
        ("cuda:1", {"CUDA_VISIBLE_DEVICES": "4"}, {"CUDA_VISIBLE_DEVICES": "-1"}),
        ("cuda:0", {"CUDA_VISIBLE_DEVICES": ""}, {"CUDA_VISIBLE_DEVICES": "-1"}),
        ("cpu", {"CUDA_VISIBLE_DEVICES": "4"}, {}),
        ("", {}, {}),
    ],
)
def test_a_process_sees_its_own_card_among_those_of_the_bot(
    device: str, environ: dict[str, str], sees: dict[str, str]
) -> None:
    assert Place("lane", device).environment(environ) == sees


@pytest.mark.parametrize(
    ("devices", "words"),
    [
        (["cuda"], "cuda:0"),
        (["cuda:0", "cuda:0"], "cuda:0 twice"),
        (["gpu 0"], "gpu 0"),
        ("some", "some"),
        ([3], "3"),
    ],
)
def test_devices_that_make_no_sense_are_refused_in_words(devices: Any, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        EngineConfig(devices=devices)


def test_device_and_devices_together_are_refused() -> None:
    with pytest.raises(ValidationError, match="remove one of them"):
        EngineConfig(device="cpu", devices=("cpu", "cpu"))


def test_the_environment_may_say_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATELIER_ENGINE__DEVICES", "all")
    assert Config().engine.devices == "all"
    monkeypatch.setenv("ATELIER_ENGINE__DEVICES", '["cpu", "cpu"]')
    assert Config().engine.devices == ("cpu", "cpu")


@pytest.mark.parametrize(
    ("facts", "lanes"),
    [
        (FACTS, ["gpu 0", "gpu 1"]),
        ({"device": "cpu", "gpus": []}, ["local"]),
        ({"error": "cannot be imported", "remedy": "Reinstall."}, ["local"]),
    ],
)
async def test_all_are_the_gpus_that_torch_finds(
    monkeypatch: pytest.MonkeyPatch, facts: Mapping[str, Any], lanes: list[str]
) -> None:
    async def probe() -> Mapping[str, Any]:
        return facts

    monkeypatch.setattr(devices, "probe", probe)
    assert [place.lane for place in await find_places(EngineConfig(devices="all"))] == lanes


async def test_engines_are_built_with_a_file_and_timings_for_each_lane(tmp_path: Path) -> None:
    files = Files(tmp_path / "calibration.json", tmp_path / "provenance", tmp_path / "known")
    recalled: list[str] = []

    async def recall(lane: str) -> str:
        recalled.append(lane)
        return ""

    fleet = await build(Config(engine=EngineConfig(devices=("cpu", "cpu"))), files, recall)
    assert [lane.name for lane in fleet.lanes] == recalled == ["cpu 0", "cpu 1"]
    setups = [lane.setup() for lane in fleet.lanes if isinstance(lane, LocalEngine)]
    assert [Path(setup.calibration).name for setup in setups] == ["calibration-cpu-0.json", "calibration-cpu-1.json"]
    assert [(setup.engine["device"], setup.device, setup.sharing) for setup in setups] == [("cpu", "cpu", 2)] * 2
    alone = await build(Config(), files, recall)
    assert building.calibration_of(files.calibration, Place()) == files.calibration
    assert [lane.name for lane in alone.lanes] == ["local"]


@pytest.mark.parametrize(
    ("settings", "facts", "status", "words"),
    [
        (("cuda:0", "cuda:3"), FACTS, CheckStatus.BAD, "names cuda:3, and torch finds cuda:0 (H100), cuda:1 (H100)"),
        (("cuda:0", "cpu"), FACTS, CheckStatus.GOOD, "cuda:0, cpu"),
        ("all", FACTS, CheckStatus.GOOD, "all: cuda:0 (H100), cuda:1 (H100)"),
        ("all", {"device": "cpu", "gpus": []}, CheckStatus.NOTE, "no CUDA GPU"),
    ],
)
def test_the_doctor_says_which_devices_exist(
    settings: Any, facts: Mapping[str, Any], status: CheckStatus, words: str
) -> None:
    (finding,) = examined(EngineConfig(devices=settings), facts)
    assert finding.status is status
    assert words in finding.words


async def test_device_that_does_not_exist_is_said_by_its_lane_and_takes_no_other_with_it(tmp_path: Path) -> None:
    files = Files(tmp_path / "calibration.json", tmp_path / "provenance", tmp_path / "known")

    async def recall(_: str) -> str:
        return ""

    fleet = await build(Config(engine=EngineConfig(devices=("cuda:7", "cpu"), threads=1)), files, recall)
    running = asyncio.create_task(fleet.run())
    try:
        async with asyncio.timeout(120):
            await asyncio.gather(*(lane.ready() for lane in fleet.lanes))
        missing, cpu = fleet.lanes
        assert missing.troubles == {"": "engine.devices names cuda:7, but torch finds no such device on this machine."}
        assert cpu.troubles == fleet.troubles == {}
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
