"""What `atelier init` writes: files that Atelier can read, all of them or none."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from bot.beginning import CONFIG, TOKEN, UNIT, Answers, files, model_name, write
from bot.config import EMBEDDED_MODEL
from bot.config_file import load_config
from bot.errors import ConfigError
from bot.secrets import read_token

WORD = "MTIzNDU2Nzg5MDEyMzQ1Njc4OQ.GabcdE.abc"


def made(folder: Path, model: str = "embedded", token: str = WORD, *, unit: bool = True, data: str = "data") -> Path:
    write(files(Answers(model, Path(data), token, unit), folder, Path("/opt/atelier/bin/atelier"), "ada"))
    return folder


def test_what_is_written_is_what_atelier_reads(tmp_path: Path) -> None:
    made(tmp_path, data='with "quotes" and \\')
    config = load_config(tmp_path / CONFIG)
    assert (config.models, config.data) == ((EMBEDDED_MODEL,), Path('with "quotes" and \\'))
    assert config.limits == load_config(None).limits
    assert read_token({"DISCORD_TOKEN_FILE": str(tmp_path / TOKEN)}) == WORD
    assert stat.S_IMODE((tmp_path / TOKEN).stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("CompVis/stable-diffusion-v1-4", "stable-diffusion-v1-4"),
        ("/srv/My Model (v2).safetensors", "my-model--v2"),
        ("./x/", "x"),
        ("/srv/ü.gguf", "model"),
        ("a" * 50, "a" * 32),
    ],
)
def test_a_models_name_is_made_of_its_source(tmp_path: Path, source: str, name: str) -> None:
    assert model_name(source) == name
    (model,) = load_config(made(tmp_path, source) / CONFIG).models
    assert model.name == name


def test_without_a_token_there_is_no_file_for_it(tmp_path: Path) -> None:
    assert {path.name for path in made(tmp_path, token="", unit=False).iterdir()} == {CONFIG}


def test_the_unit_says_where_everything_is_and_does_not_start_a_wrong_configuration_again(tmp_path: Path) -> None:
    text = (made(tmp_path / "50% off") / UNIT).read_text()
    folder = str(tmp_path / "50%% off")
    assert f"WorkingDirectory={folder}\n" in text
    assert f"Environment='DISCORD_TOKEN_FILE={folder}/{TOKEN}'\n" in text
    assert "ExecStart=/opt/atelier/bin/atelier run\nEnvironment" in text
    assert "User=ada\n" in text
    assert "RestartPreventExitStatus=78\n" in text


@pytest.mark.parametrize("name", [CONFIG, TOKEN, UNIT])
def test_nothing_is_written_over_what_is_there(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(ConfigError, match=f"{name} exists already. Nothing was written"):
        made(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_a_disk_that_is_full_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = dict(files(Answers("embedded", Path("data"), WORD, True), tmp_path, Path("a"), "ada"))
    texts[Path("/dev/full/x")] = "last"
    with pytest.raises(ConfigError, match="Nothing was kept"):
        write(texts)
    assert list(tmp_path.iterdir()) == []


def test_the_command_asks_writes_and_says_what_is_next(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bot", "init", str(tmp_path / "new")]
    done = subprocess.run(command, input=f"org/name\ndata\nn\n{WORD}\n", capture_output=True, text=True, check=True)
    assert {path.name for path in (tmp_path / "new").iterdir()} == {CONFIG, TOKEN}
    assert "atelier doctor checks everything" in done.stdout
    assert WORD not in done.stdout + done.stderr
    again = subprocess.run(command, input=f"org/name\ndata\nn\n{WORD}\n", capture_output=True, text=True, check=False)
    assert again.returncode == 78
    assert "config.toml exists already" in again.stderr
    wrong = subprocess.run(
        [*command[:-1], str(tmp_path / "other")], input="embedded\ndata\nn\nno token\n", capture_output=True, text=True
    )
    assert wrong.returncode == 78
    assert "something other than a bot token" in wrong.stderr
    assert not (tmp_path / "other").exists()
