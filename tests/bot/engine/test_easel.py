"""Lanes on other hosts, as far as that needs no Ray: settings, the token, versions, files, and the actor's code."""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from bot.config import EMBEDDED_MODEL, Config, EngineConfig, LoraConfig, ModelConfig, RayConfig
from bot.engine import building
from bot.engine.cluster import bridge_environ, host, portable
from bot.engine.cluster.easel import Easel
from bot.engine.local.environ import worker_environ
from bot.engine.wire import FinishedFrame, ReadyFrame, SetupFrame, SubmitFrame, encode, read_frame
from bot.errors import ConfigError
from bot.findings import CheckStatus, hosts
from bot.jobs import GenerationRequest, JobId, UserId
from bot.secrets import read_ray_token

LIGHT = (sys.executable, str(Path(__file__).parents[2] / "faults" / "light_engine.py"))


@pytest.mark.parametrize("address", ["", "head", "ray://head:10001", "head:0", "head:70000", "auto"])
def test_an_address_that_is_none_is_refused_in_words(address: str) -> None:
    with pytest.raises(ValidationError, match=r"host:port, like 10\.0\.0\.1:6379"):
        RayConfig(address=address)


def test_the_token_comes_from_the_environment_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    assert read_ray_token({"ATELIER_RAY_TOKEN": "secret"}) == "secret"
    assert read_ray_token({"ATELIER_RAY_TOKEN_FILE": str(tmp_path / "token")}) == "secret"
    with pytest.raises(ConfigError, match="set ATELIER_RAY_TOKEN to the token that the head was started with"):
        read_ray_token({})
    with pytest.raises(ConfigError, match="one word without spaces") as refused:
        read_ray_token({"ATELIER_RAY_TOKEN": "my secret words"})
    assert "my secret" not in str(refused.value)


def test_no_token_reaches_the_engine_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ATELIER_RAY_TOKEN", "ATELIER_RAY_TOKEN_FILE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.setenv(name, "secret")
    assert "secret" not in worker_environ().values()


def test_without_ray_the_host_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ray" else find_spec(name))
    with pytest.raises(ConfigError, match=r"pip install 'atelier-bot\[ray\]'"):
        bridge_environ({"ATELIER_RAY_TOKEN": "secret"})


async def test_lanes_that_would_have_nothing_to_paint_are_not_started(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.delenv("ATELIER_RAY_TOKEN", raising=False)
    config = Config(
        providers=[{"name": "far", "base_url": "http://127.0.0.1:9/v1"}],
        models=[{"name": "free", "provider": "far", "source": "sd-turbo"}],
        engine=EngineConfig(ray=RayConfig(lanes=2)),
    )
    files = building.Files(tmp_path, tmp_path, tmp_path)

    async def nothing(_: str) -> str:
        return ""

    assert [lane.name for lane in (await building.build(config, files, nothing)).lanes] == ["far"]
    assert "no lane on another host is started" in caplog.text
    (finding,) = await hosts(config)
    assert (finding.status, finding.remedy.startswith("Add a model without a provider")) == (CheckStatus.NOTE, True)


def test_the_first_version_that_differs_is_named_on_both_sides() -> None:
    ours = {"Atelier": "0.2.0 (12345678)", "torch": "2.13.0", "diffusers": "0.42.1"}
    assert host.difference("gpu2", ours, ours) == ""
    assert host.difference("gpu2", {**ours, "torch": "2.12.1"}, ours).startswith(
        "The host gpu2 has torch 2.12.1, and the bot has 2.13.0."
    )
    assert host.difference("gpu2", {"Atelier": ours["Atelier"]}, ours).startswith("The host gpu2 has torch none,")


def test_versions_do_not_say_what_torch_was_built_for() -> None:
    assert set(host.versions()) == {"Atelier", "Python", "torch", "diffusers", "transformers"}
    assert "+" not in "".join(host.versions().values())


def test_a_missing_file_is_named_without_its_folder(tmp_path: Path) -> None:
    lora = LoraConfig(name="ink", source=str(tmp_path / "private" / "ink.safetensors"))
    models = [EMBEDDED_MODEL, EMBEDDED_MODEL.model_copy(update={"name": "inky", "loras": (lora,)})]
    found = host.missing("gpu2", models)
    assert list(found) == ["inky"]
    assert "lacks files of the model inky: ink.safetensors." in found["inky"]
    assert "private" not in found["inky"]


def test_the_settings_for_other_hosts_have_whole_paths_and_no_devices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    models = (EMBEDDED_MODEL, ModelConfig(name="mine", source="mine"), ModelConfig(name="hub", source="org/name"))
    engine = EngineConfig(devices=("cpu", "cpu"), ray=RayConfig(lanes=1))
    there = portable(Config(models=models, engine=engine))
    assert [model.source for model in there.models] == ["embedded", str(tmp_path / "mine"), "org/name"]
    assert (there.engine.devices, there.engine.device) == ((), "auto")
    on_cpus = EngineConfig(ray=RayConfig(lanes=1, gpus=0))
    assert portable(Config(engine=on_cpus)).engine.device == "cpu"


def frames_of(data: bytes) -> list[Any]:
    """The frames in bytes."""
    stream, frames = BytesIO(data), []
    while (frame := read_frame(stream)) is not None:
        frames.append(frame)
    return frames


def test_an_easel_passes_frames_both_ways_and_keeps_secrets_only_until_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    easel = Easel(str(tmp_path / "there"), (*LIGHT, str(tmp_path)))
    setup = SetupFrame(
        [EMBEDDED_MODEL.model_dump()], EngineConfig().model_dump(), "", "info", provenance="/bot/secrets"
    )
    request = GenerationRequest("a red apple", "emoji", 16, 16, 3, 3.0, seed=7)
    with closing(easel.serve(encode(setup), {"mark.key": b"00"})) as stream:
        assert next(stream) == b""
        (secret,) = tmp_path.rglob("mark.key")
        assert (secret.read_bytes(), secret.stat().st_mode & 0o777) == (b"00", 0o600)
        assert secret.parent.stat().st_mode & 0o777 == 0o700
        easel.tell(encode(SubmitFrame(JobId(1), 1, UserId(1), request, {})))
        heard = b""
        while not any(isinstance(frame, FinishedFrame) for frame in frames_of(heard)):
            heard += next(stream)
        assert isinstance(frames_of(heard)[0], ReadyFrame)
        assert not list(tmp_path.rglob("mark.key"))
        process = easel._process
        assert process is not None
        assert process.poll() is None
        easel.end()
        assert list(stream)[-1:] in ([], [b""])
    assert process.poll() is not None


def test_an_easel_settles_the_files_of_its_host(tmp_path: Path) -> None:
    easel = Easel(str(tmp_path / "there"))
    engine = EngineConfig(certificate="/bot/chain.pem", private_key="/bot/key.pem").model_dump()
    setup = SetupFrame([], engine, "", "info", calibration="/bot/c", provenance="/bot/p", known_files="/bot/k")
    settled = easel._settled(setup, tmp_path / "private")
    assert settled.engine["certificate"] == str(tmp_path / "private" / "given-certificate")
    assert settled.engine["private_key"] == str(tmp_path / "private" / "given-private_key")
    assert settled.provenance == str(tmp_path / "private")
    assert Path(settled.calibration).parent == Path(settled.known_files).parent == tmp_path / "there"
