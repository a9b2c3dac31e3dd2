"""What the doctor finds out about the secrets and the model files: whether they are there, and hold."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from bot import child
from bot.app import provenance_of
from bot.child import ChildFailed
from bot.config import Config, EngineConfig, ModelConfig
from bot.engine import catalog, cluster, framing
from bot.engine.framing import BadFrame
from bot.engine.images_api.capabilities import trouble_of
from bot.engine.model_files.adapters import lora_file
from bot.engine.model_files.known_files import KnownFiles, digest_of
from bot.errors import ConfigError, StorageError, UnusableFiles
from bot.queue.lane_states import LaneState
from bot.secrets import provider_key, read_provider_key
from bot.storage import encryption

_PROBE_SECONDS = 300


class CheckStatus(StrEnum):
    """The result of one check of the doctor."""

    GOOD = "ok"
    NOTE = "note"
    BAD = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: what was checked, what was found, and a remedy if one is needed."""

    what: str
    status: CheckStatus
    words: str
    remedy: str = ""


def providers(config: Config) -> list[Finding]:
    """Whether each provider has its key, and whether its models are as the host says. Nothing is asked of it."""
    found = []
    for provider in config.providers:
        what = f"Provider {provider.name}"
        models = [model for model in config.remote_models if model.provider == provider.name]
        try:
            key = read_provider_key(provider.name)
        except ConfigError as error:
            found.append(Finding(what, CheckStatus.BAD, str(error), "Put the key into that file."))
            continue
        wrong = [f"{model.name}: {words}" for model in models if (words := trouble_of(model, provider))]
        if key is None and provider.is_openai:
            remedy = f"Set {provider_key(provider.name)} to the key, or remove the provider and its models."
            found.append(Finding(what, CheckStatus.BAD, "it has no key", remedy))
        elif wrong:
            found.append(Finding(what, CheckStatus.BAD, " ".join(wrong), "Change these settings of the models."))
        else:
            names = ", ".join(model.name for model in models) or "none"
            words = f"{provider.base_url} gets the words of requests for its models: {names}"
            found.append(Finding(what, CheckStatus.NOTE if models else CheckStatus.GOOD, words))
    return found


async def labels(config: Config) -> list[Finding]:
    """Whether pictures can be signed and marked; another process tries it."""
    order = {"engine": config.engine.model_dump(), "folder": str(provenance_of(config.data).resolve())}
    try:
        output = await child.run("bot.worker.labels_probe", framing.pack({"kind": "look", **order}), _PROBE_SECONDS)
        message = framing.read(io.BytesIO(output))
        if message is None:
            raise BadFrame("the answer is not whole")
    except ChildFailed as failure:
        words = f"whether pictures can be signed could not be tried. {failure.reason}"
        return [Finding("Certificate", CheckStatus.BAD, words, "Reinstall Atelier into a fresh venv.")]
    except BadFrame as error:
        words = f"whether pictures can be signed could not be tried: {error}"
        return [Finding("Certificate", CheckStatus.BAD, words, "Reinstall Atelier into a fresh venv.")]
    return [Finding(what, CheckStatus(status), *rest) for what, status, *rest in message[0]["findings"]]


def pictures(path: Path, key: str | None, *, seals: bool) -> list[Finding]:
    """Whether the pictures are encrypted as the host wants."""
    what = "Picture encryption"
    try:
        folder = encryption.pictures_of(path, key, seals=seals)
        trouble, found = encryption.picture_trouble(folder, seals=seals), folder.census()
    except (StorageError, ConfigError) as error:
        return [Finding(what, CheckStatus.BAD, str(error))]
    if trouble:
        return [Finding(what, CheckStatus.BAD, *trouble)]
    if not found.sealed and not seals:
        words = "off: everybody who can read the disk can see the pictures"
        return [Finding(what, CheckStatus.NOTE, words, "Set encrypt_pictures = true in config.toml.")]
    words = f"{found.sealed} pictures are encrypted with the key of the database and are lost with it"
    return [Finding(what, CheckStatus.GOOD, words + (f", {found.plain} are not" if found.plain else ""))]


def hashes(model: ModelConfig, known: KnownFiles) -> list[Finding]:
    """Whether the weights of a model, and what belongs to it, are those that were used here before."""
    what = f"Hashes of {model.name}"
    places = [(model.name, model.source, catalog.place_of(model))]
    places += [(f"LoRA {lora.name} of {model.name}", lora.source, Path(lora.source)) for lora in model.loras]
    places += [(f"ControlNet {net.name} of {model.name}", net.source, Path(net.source)) for net in model.controlnets]
    findings, same = [], []
    for name, source, place in places:
        try:
            if place is None or not place.exists() or not known.knows(name, source):
                continue
            file = lora_file(place) if name.startswith("LoRA ") else place
            trouble = known.trouble(name, model.name, source, digest_of(file))
        except UnusableFiles as error:
            trouble = error
        except OSError as error:
            trouble = UnusableFiles(f"its files cannot be read ({error.strerror}).", "Make them readable.")
        if trouble is None:
            same.append(name)
        else:
            findings.append(Finding(what, CheckStatus.BAD, f"{name}: {trouble.words}", trouble.remedy))
    if same:
        findings.append(Finding(what, CheckStatus.GOOD, f"as at their first use here: {', '.join(same)}"))
    return findings


def devices(engine: EngineConfig, facts: Mapping[str, Any]) -> list[Finding]:
    """Whether the devices of the settings exist; nothing where they name none, or where torch says nothing.

    `facts` are those of `probe`.
    """
    if engine.devices in ((), "none") or "error" in facts:
        return []
    gpus = facts["gpus"]
    there = ", ".join(f"cuda:{index} ({name})" for index, name in enumerate(gpus)) or "no CUDA GPU"
    if engine.devices == "all":
        if gpus:
            return [Finding("Devices", CheckStatus.GOOD, f"all: {there}")]
        remedy = 'Without GPUs one process paints. For several on many cores: devices = ["cpu", "cpu"]'
        return [Finding("Devices", CheckStatus.NOTE, f"all: {there}", remedy)]
    known = {"cpu", *(f"cuda:{index}" for index in range(len(gpus))), *(["mps"] if facts["device"] == "mps" else [])}
    missing = [device for device in engine.devices if device not in known]
    if missing:
        words = f"engine.devices names {', '.join(missing)}, and torch finds {there}"
        return [Finding("Devices", CheckStatus.BAD, words, 'Correct the list, or set engine.devices = "all".')]
    return [Finding("Devices", CheckStatus.GOOD, ", ".join(engine.devices))]


def engines(states: Sequence[LaneState]) -> list[Finding]:
    """What is wrong with the engines of a bot that runs now; nothing if none runs."""
    found = []
    for state in states:
        what = f"Engine {state.name}"
        if state.troubles:
            words, remedy = " ".join(state.troubles), state.advice or "The log of the bot says more."
            found.append(Finding(what, CheckStatus.BAD, words, remedy))
        elif state.is_drained:
            remedy = f'atelier engines --bring-back "{state.name}" brings it back.'
            found.append(Finding(what, CheckStatus.NOTE, state.words, remedy))
        elif not state.is_up:
            remedy = state.advice or "Wait until it has started, or read the log."
            found.append(Finding(what, CheckStatus.NOTE, state.words, remedy))
    return found


async def hosts(config: Config) -> list[Finding]:
    """Whether the lanes on other hosts can paint: the cluster, each of its hosts, and GPUs for all lanes."""
    ray = config.engine.ray
    if not ray.lanes:
        return []
    if not cluster.lane_names(config):
        words, remedy = cluster.NOTHING_TO_PAINT.split(". ", 1)
        return [Finding("Ray", CheckStatus.NOTE, words, remedy)]
    found = await cluster.find_hosts(config)
    if "trouble" in found:
        return [Finding("Ray", CheckStatus.BAD, found["trouble"], "docs/scale.md shows how to set up other hosts.")]
    findings = []
    for each in found["hosts"]:
        what = f"Host {each['name']} ({each['address']})"
        gpus = f"GPUs: {each['gpus']}" + (f" ({each['kind']})" if each["kind"] else "")
        if each["troubles"]:
            remedy = "docs/scale.md says what a host needs."
            findings += [Finding(what, CheckStatus.BAD, trouble, remedy) for trouble in each["troubles"]]
        else:
            versions = ", ".join(f"{name} {version}" for name, version in each["versions"].items())
            findings.append(Finding(what, CheckStatus.GOOD, f"{gpus}, {versions}"))
    gpus = sum(each["gpus"] for each in found["hosts"])
    words = f"the head at {ray.address} answers and asks for a token; lanes: {ray.lanes}, GPUs: {gpus}"
    if ray.gpus and gpus < ray.lanes:
        remedy = "Add a host to the cluster, or lower engine.ray.lanes: the other lanes have no place."
        return [Finding("Ray", CheckStatus.BAD, words, remedy), *findings]
    return [Finding("Ray", CheckStatus.GOOD, words), *findings]
