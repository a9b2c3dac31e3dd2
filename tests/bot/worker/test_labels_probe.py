"""The doctor tries the certificate and the mark, and makes nothing."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from bot.app import provenance_of
from bot.config import Config, EngineConfig
from bot.findings import CheckStatus, Finding, labels
from bot.worker import labels_probe, manifest
from bot.worker.labels import KEY_FILE, Labels
from bot.worker.labels_probe import BAD, GOOD, NOTE, look
from bot.worker.manifest import CERTIFICATE, PRIVATE_KEY


def states(folder: Path, **settings: object) -> dict[str, tuple[str, str]]:
    found = look(EngineConfig(**settings), folder)
    return {what: (status, f"{words} {remedy}") for what, status, words, remedy in found}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with secrets that were made at a first start."""
    Labels(EngineConfig(), tmp_path / "provenance")
    return tmp_path / "provenance"


async def test_before_the_first_start_nothing_is_wrong_and_nothing_is_made(tmp_path: Path) -> None:
    found = await labels(Config(data=tmp_path / "data"))
    assert [(each.what, each.status) for each in found] == [
        ("Certificate", CheckStatus.GOOD),
        ("Mark", CheckStatus.GOOD),
    ]
    assert all("made at the first start" in each.words for each in found)
    assert list(tmp_path.iterdir()) == []


async def test_what_works_is_said_with_what_to_keep(folder: Path) -> None:
    found: list[Finding] = await labels(Config(data=folder.parent))
    assert provenance_of(folder.parent) == folder
    assert [each.status for each in found] == [CheckStatus.GOOD] * 2, found
    assert "signs, and its manifest can be read" in found[0].words
    assert "can be read back. Keep a copy" in found[1].words


@pytest.mark.parametrize("name", [CERTIFICATE, PRIVATE_KEY])
def test_a_file_that_is_no_certificate_or_key_is_a_problem(folder: Path, name: str) -> None:
    (folder / name).write_text("nothing")
    status, words = states(folder)["Certificate"]
    assert (status, "cannot be signed" in words, "makes another one" in words) == (BAD, True, True)
    assert states(folder)["Mark"][0] == GOOD


def test_a_key_of_another_certificate_is_a_problem(folder: Path, tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    (folder / PRIVATE_KEY).write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    assert states(folder)["Certificate"][0] == BAD
    named = {"certificate": str(folder / CERTIFICATE), "private_key": str(folder / PRIVATE_KEY)}
    status, words = states(tmp_path / "other", **named)["Certificate"]
    assert (status, "Name another certificate" in words) == (BAD, True)


@pytest.mark.parametrize(("days", "status"), [(29, NOTE), (-1, BAD), (400, GOOD)])
def test_the_end_of_a_certificate_is_told_before_it_comes(
    folder: Path, days: int, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days, hours=1)
    monkeypatch.setattr(manifest, "end_of", lambda _: end)
    found, words = states(folder)["Certificate"]
    assert (found, f"ends in {days} days" in words) == (status, True)


@pytest.mark.parametrize("name", [PRIVATE_KEY, KEY_FILE])
def test_a_secret_that_others_can_read_is_a_problem(folder: Path, name: str) -> None:
    (folder / name).chmod(0o644)
    status, words = states(folder)["Certificate" if name == PRIVATE_KEY else "Mark"]
    assert (status, f"Run: chmod 600 {folder / name}" in words) == (BAD, True)


@pytest.mark.parametrize("content", ["", "xyz", "00"])
def test_a_secret_that_cannot_be_read_is_a_problem(folder: Path, content: str) -> None:
    (folder / KEY_FILE).write_text(content)
    status, words = states(folder)["Mark"]
    assert (status, "cannot be marked" in words) == (BAD, True)


def test_a_mark_that_is_not_found_again_is_a_problem(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels_probe.marking, "find", lambda *_: None)
    status, words = states(folder)["Mark"]
    assert (status, "cannot be read back" in words) == (BAD, True)


def test_no_mark_is_noted(folder: Path) -> None:
    assert states(folder, mark=False)["Mark"][0] == NOTE
