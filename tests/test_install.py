"""bot/install.py takes torch without CUDA only where that is right, and says why pip failed."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

FILE = Path(__file__).parents[1] / "bot" / "install.py"


@pytest.fixture
def install() -> ModuleType:
    spec = importlib.util.spec_from_file_location("install", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("platform", "has_gpu", "answers", "options"),
    [
        ("linux", False, True, ["--extra-index-url", "https://download.pytorch.org/whl/cpu"]),
        ("linux", False, False, []),
        ("linux", True, True, []),
        ("darwin", False, True, []),
        ("win32", False, True, []),
    ],
)
def test_torch_comes_without_cuda_on_linux_without_a_gpu_if_its_index_answers(
    install: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    platform: str,
    has_gpu: bool,
    answers: bool,
    options: list[str],
) -> None:
    monkeypatch.setattr(install.sys, "platform", platform)
    monkeypatch.setattr(install, "has_nvidia_gpu", lambda: has_gpu)
    monkeypatch.setattr(install, "answers", lambda _: answers)
    assert install.source_of_torch()[0] == options


def test_the_lines_of_pip_that_say_why_it_failed_are_shown(
    install: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text(
        "#!/bin/sh\ncase $* in *--version) exit 0;; esac\n"
        "echo Collecting torch\necho 'Downloading torch.whl (180 MB)'\necho ERROR: no disk\nexit 3\n"
    )
    python.chmod(0o700)
    monkeypatch.setattr(install, "ENVIRONMENT", tmp_path)
    monkeypatch.setattr(install, "source_of_torch", lambda: ([], "From PyPI."))
    assert install.main([]) == 3
    shown = capsys.readouterr().out
    assert shown.index("Downloading torch.whl (180 MB)") < shown.index("ERROR: no disk") < shown.index("run this again")


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("Collecting torch>=2.9 (from atelier-bot==0.2.0)", "Collecting torch>=2.9"),
        ("Downloading a_b-0.38.0-py3-none-manylinux_2_28_x86_64.whl.metadata (2 kB)", "Downloading a_b-0.38.0 (2 kB)"),
        ("Downloading https://a.example/whl/torch-2.9-cp311-linux.whl (180.0 MB)", "Downloading torch-2.9 (180.0 MB)"),
        ("Installing collected packages: a, b, c", "Installing 3 packages; pip says nothing until that is done"),
        (
            "Building wheels for packages that are only here as a source",
            "Building wheels for packages that are only here as a …",
        ),
    ],
)
def test_a_line_of_pip_is_short_and_ends_with_a_word(install: ModuleType, line: str, shown: str) -> None:
    assert install.brief(line, 58) == shown


def test_an_older_python_is_told_what_is_needed(
    install: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(install, "LEAST_PYTHON", (sys.version_info.major, sys.version_info.minor + 1))
    assert install.main([]) == 1
    assert "Python 3.11 or newer" in capsys.readouterr().out


def test_an_environment_without_pip_is_made_again(
    install: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(0o700)
    made = []
    monkeypatch.setattr(install, "ENVIRONMENT", tmp_path)
    monkeypatch.setattr(install.venv, "create", lambda *place, **how: made.append((*place, how)))
    monkeypatch.setattr(install, "ROOT", tmp_path)
    monkeypatch.setattr(install, "install", lambda *_: 0)
    monkeypatch.setattr(install, "source_of_torch", lambda: ([], "From PyPI."))
    assert install.main([]) == 0
    assert made == [(tmp_path, {"with_pip": True, "clear": True})]
