"""What the doctor says of acceleration, from the file that the engine wrote, and when it may paint."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.app import calibration_of, lock_folder
from bot.config import Config
from bot.doctor import CheckStatus, _accelerations
from bot.engine.calibration import Calibration, Subject
from bot.engine.local.devices import Place
from bot.trial import painted

HERE = {"device": "H200", "torch": "2.13.0"}


def config(data: Path) -> Config:
    return Config(data=data)


def test_the_doctor_says_for_each_model_what_is_on_and_what_is_off_and_why(tmp_path: Path) -> None:
    known = Calibration(HERE)
    known.settle(Subject("emoji", "abc"), "CUDA graphs", is_right=True, words="fast")
    known.settle(Subject("emoji", "abc"), "compiled code", is_right=False, words="wrong: far apart")
    known.settle(Subject("gone", "def"), "compiled code", is_right=False, words="slower")
    calibration_of(tmp_path).write_text(known.dump())
    (finding,) = _accelerations(config(tmp_path), HERE, Place())
    assert finding.what == "Acceleration of emoji"
    assert finding.status is CheckStatus.NOTE
    assert finding.words == "on: CUDA graphs. Off: compiled code (wrong: far apart)"
    assert "calibration.json" in finding.remedy


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is damaged"),
        (Calibration(HERE | {"torch": "2.11.0"}).dump(), "another machine or version (torch 2.11.0, not 2.13.0)"),
        ('{"format": 99, "machine": {}, "verdicts": []}', "newer Atelier (format 99)"),
    ],
)
def test_the_doctor_says_why_a_file_is_not_used(text: str, words: str, tmp_path: Path) -> None:
    calibration_of(tmp_path).write_text(text)
    (finding,) = _accelerations(config(tmp_path), HERE, Place())
    assert finding.status is CheckStatus.NOTE
    assert words in finding.words


def test_nothing_is_said_where_nothing_was_tried(tmp_path: Path) -> None:
    assert _accelerations(config(tmp_path), HERE, Place()) == []


async def test_the_doctor_does_not_paint_beside_a_running_atelier(tmp_path: Path) -> None:
    with lock_folder(tmp_path):
        findings = [finding async for finding in painted(config(tmp_path), command=("no such program",))]
    assert [finding.status for finding in findings] == [CheckStatus.BAD]
    assert "Another Atelier is using the data folder" in findings[0].words
