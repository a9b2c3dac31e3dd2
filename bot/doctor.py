"""`atelier doctor`: checks everything a host needs and names a remedy for each problem."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import discord

from bot.app import calibration_of, database_of, heartbeat_of, known_files_of
from bot.client import INTENTS, PERMISSIONS
from bot.config import SAFETY_IS_OFF, Config, EngineConfig, LoraConfig, ModelConfig
from bot.engine import building, catalog, memory
from bot.engine.calibration import Calibration
from bot.engine.local.devices import Place, find_places, probe
from bot.engine.model_files import hub
from bot.engine.model_files.describer import check_describer, check_likeness, check_segmenter
from bot.engine.model_files.folder import Folder
from bot.engine.model_files.host_upscaler import check_upscaler
from bot.engine.model_files.known_files import KnownFiles
from bot.engine.model_files.recognise import layers_of, recognise, unusable_adapters
from bot.engine.model_files.single_file import SingleFile
from bot.engine.model_files.sizes import parts_of
from bot.errors import ConfigError, StorageError, UnusableFiles
from bot.findings import CheckStatus, Finding, devices, engines, hashes, hosts, labels, pictures, providers
from bot.heartbeat import last_lanes
from bot.jobs import utcnow
from bot.secrets import DATABASE_KEY, read_token
from bot.storage import encryption, sqlite
from bot.storage.backups import BACKUP_INTERVAL, backups_of, folder_of
from bot.storage.database import schema_scripts
from bot.storage.integrity import Check, find_damage, inspect
from bot.trial import painted, painted_on

_CHECK_SECONDS = 60
_HUB_SECONDS = 10
_LOW_DISK_GIB = 5


async def examine(config: Config, *, paint: bool = False) -> AsyncIterator[Finding]:
    """Yield the findings one by one, the quick ones first; with `paint` also what each model paints here."""
    yield _python()
    yield _disk(config.data)
    for finding in await asyncio.to_thread(_database, database_of(config.data), seals=config.encrypt_pictures):
        yield finding
    for model in config.local_models:
        for finding in await examine_model(model):
            yield finding
        for finding in await asyncio.to_thread(hashes, model, KnownFiles(known_files_of(config.data))):
            yield finding
    if config.engine.upscaler:
        yield await asyncio.to_thread(_checked, "Upscaler", Path(config.engine.upscaler), check_upscaler)
    if config.engine.describer:
        yield await asyncio.to_thread(_checked, "Describer", Path(config.engine.describer), check_describer)
    if config.engine.likeness:
        yield await asyncio.to_thread(_checked, "Comparing model", Path(config.engine.likeness), check_likeness)
    if config.engine.segmenter and (folder := Path(config.engine.segmenter)).is_dir():
        yield await asyncio.to_thread(_checked, "Segmentation model", folder, check_segmenter)
    for finding in providers(config):
        yield finding
    yield _safety(config.engine)
    for finding in await labels(config):
        yield finding
    facts = await probe()
    for finding in await hosts(config):
        yield finding
    for finding in engines(last_lanes(heartbeat_of(config.data), time.time())):
        yield finding
    yield _torch(config.engine.device, facts)
    for finding in devices(config.engine, facts):
        yield finding
    for model in config.local_models:
        for finding in await asyncio.to_thread(examine_memory, model, config.engine, facts):
            yield finding
    if "error" not in facts:
        if paint:
            async for finding in painted(config):
                yield finding
        for place in await find_places(config.engine):
            for finding in _accelerations(config, facts["machine"], place):
                yield finding
    async for finding in _discord():
        yield finding


def _safety(engine: EngineConfig) -> Finding:
    """Whether pictures are checked before people see them."""
    if engine.safety == "on":
        return Finding("safety check", CheckStatus.GOOD, "every picture is checked before people see it")
    return Finding(
        "safety check",
        CheckStatus.NOTE,
        SAFETY_IS_OFF,
        'Set safety = "on" under [engine] unless only people who want that can see the pictures.',
    )


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding("Python", CheckStatus.GOOD, version)


def _disk(data: Path) -> Finding:
    place = next(path for path in (data.resolve(), *data.resolve().parents) if path.exists())
    gib = shutil.disk_usage(place).free / 2**30
    words = f"{gib:.0f} GiB free for {data}"
    if not os.access(place, os.W_OK):
        return Finding("Disk", CheckStatus.BAD, f"{data} cannot be written", "Choose another folder with --data.")
    if gib < _LOW_DISK_GIB:
        return Finding("Disk", CheckStatus.NOTE, words, "Pictures are kept: free some space, or choose another --data.")
    return Finding("Disk", CheckStatus.GOOD, words)


def _database(path: Path, *, seals: bool) -> list[Finding]:
    """Inspect the database without changing it: the next start migrates an older one."""
    what = "Database"
    if not path.exists():
        return [Finding(what, CheckStatus.GOOD, f"{path} will be created at the first start")]
    end = time.monotonic() + _CHECK_SECONDS
    try:
        key = encryption.find_key(path)
        if damage := find_damage(path, key, full=False, stop=lambda: time.monotonic() > end):
            remedy = "Start Atelier: it restores the newest good backup. Or check ATELIER_DATABASE_KEY."
            return [Finding(what, CheckStatus.BAD, f"{path} is damaged: {damage}", remedy), _backups(path)]
        look = inspect(path, key)
    except (StorageError, ConfigError) as error:
        return [Finding(what, CheckStatus.BAD, str(error), "Restore a copy: atelier restore FILE")]
    secrecy = "encrypted" if key else "not encrypted"
    words = f"{path}, requests: {look.jobs}, schema {look.schema}, {secrecy}, SQLite {sqlite.VERSION}"
    rest = [*_key(path, key), *pictures(path, key, seals=seals), _integrity(look.check), _backups(path)]
    newest = len(schema_scripts())
    if look.schema < newest:
        remedy = f"The next start backs it up and migrates it to schema {newest}."
        return [Finding(what, CheckStatus.NOTE, words, remedy), *rest]
    if look.schema > newest:
        remedy = f"A newer Atelier wrote it; this one knows only schema {newest}. Upgrade Atelier."
        return [Finding(what, CheckStatus.BAD, words, remedy)]
    return [Finding(what, CheckStatus.GOOD, words), *rest]


def _key(path: Path, key: str | None) -> list[Finding]:
    """Where the key of the database is, and who can read it."""
    what, place = "Database key", encryption.place_of(path)
    if key is None:
        words = "none: everybody who can read the disk can read all prompts"
        return [Finding(what, CheckStatus.NOTE, words, "Stop Atelier and run: atelier encrypt")]
    if trouble := encryption.trouble_of(place):
        return [Finding(what, CheckStatus.BAD, *trouble)]
    where = str(place.file) if place.file else DATABASE_KEY
    return [Finding(what, CheckStatus.GOOD, f"{where}. Keep a copy elsewhere: without it the data are lost")]


def _integrity(check: Check | None) -> Finding:
    if check is None:
        return Finding("Integrity", CheckStatus.NOTE, "not fully checked yet", "A running bot checks it once a day.")
    if check.damage:
        remedy = "Stop and start Atelier: it restores the newest good backup."
        return Finding("Integrity", CheckStatus.BAD, f"damaged on {check.at:%Y-%m-%d}: {check.damage}", remedy)
    return Finding("Integrity", CheckStatus.GOOD, f"last full check on {check.at:%Y-%m-%d at %H:%M} UTC")


def _backups(path: Path) -> Finding:
    try:
        backups = backups_of(path)
    except StorageError as error:
        return Finding("Backups", CheckStatus.BAD, str(error), "Make it readable for the user that runs Atelier.")
    if not backups:
        remedy = "A running bot makes one a day. To make one now: atelier backup"
        return Finding("Backups", CheckStatus.NOTE, f"none in {folder_of(path)}", remedy)
    words = f"{len(backups)} in {folder_of(path)}, the newest of {backups[0].made_at:%Y-%m-%d at %H:%M} UTC"
    if utcnow() - backups[0].made_at > 2 * BACKUP_INTERVAL:
        return Finding(
            "Backups", CheckStatus.NOTE, words, "A running bot makes one a day. To make one now: atelier backup"
        )
    return Finding("Backups", CheckStatus.GOOD, words)


async def examine_model(model: ModelConfig) -> list[Finding]:
    """Check the files of a model, its LoRAs and its ControlNets, with the functions that the engine uses."""
    what = f"Model {model.name}"
    place = await asyncio.to_thread(catalog.place_of, model)
    recognised = None
    try:
        if place is not None and place.exists() and (place.is_dir() or model.is_single_file):
            recognised = await asyncio.to_thread(recognise, place, model.config)
    except UnusableFiles as error:
        if model.is_hub_id:
            words = f"{model.source} is not whole on this machine: {error.words} The rest is downloaded at first use."
            return [Finding(what, CheckStatus.NOTE, words, error.remedy)]
        return [Finding(what, CheckStatus.BAD, error.words, error.remedy)]
    try:
        catalog.check_models([model])
    except ConfigError as error:
        return [Finding(what, CheckStatus.BAD, str(error), "Correct the entry in config.toml.")]
    if isinstance(recognised, SingleFile) and not recognised.is_configured:
        findings = [await _downloaded(what, recognised.config, recognised.path.name)]
    elif recognised is None:
        findings = [await _downloaded(what, model.source)]
    else:
        findings = [Finding(what, CheckStatus.GOOD, catalog.folder_of(model))]
    layers = layers_of(recognised) if recognised is not None else {}
    for adapter, trouble in unusable_adapters(model, layers).items():
        kind = "LoRA" if isinstance(adapter, LoraConfig) else "ControlNet"
        findings.append(
            Finding(f"{kind} {adapter.name} of {model.name}", CheckStatus.BAD, trouble.words, trouble.remedy)
        )
    return findings


def _checked(what: str, place: Path, check: Callable[[Path], None]) -> Finding:
    """A network of the host beside the models: what `check` says of its files."""
    try:
        check(place)
    except UnusableFiles as error:
        return Finding(what, CheckStatus.BAD, error.words, error.remedy)
    return Finding(what, CheckStatus.GOOD, str(place))


async def _downloaded(what: str, source: str, file: str = "") -> Finding:
    """What is to be said of a model on the hub, or of the configuration there that a single file needs."""
    if await asyncio.to_thread(hub.cached_folder, source) is not None:
        return Finding(what, CheckStatus.GOOD, f"{file}, configured by {source}" if file else source)
    if (error := await _hub_trouble(source)) is not None:
        error = hub.unconfigured(file, error) if file else error
        return Finding(what, CheckStatus.BAD, error.words, error.remedy)
    words = f"{source} is downloaded from the hub at first use"
    return Finding(what, CheckStatus.NOTE, f"the configuration of {file}, {words}" if file else words)


async def _hub_trouble(source: str) -> UnusableFiles | None:
    """Why a repository cannot be downloaded; None if the hub has it."""
    if hub.is_offline():
        return hub.unreachable(source, "HF_HUB_OFFLINE is set")
    token = os.environ.get("HF_TOKEN", "").strip()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    address = f"{hub.address()}/{source}/resolve/main/model_index.json"
    try:
        timeout = aiohttp.ClientTimeout(total=_HUB_SECONDS)
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=True, headers=headers) as session,
            session.head(address) as answer,
        ):
            status, code = answer.status, answer.headers.get("X-Error-Code", "")
    except (OSError, aiohttp.ClientError, TimeoutError) as error:
        return hub.unreachable(source, hub.cause(error))
    if code == "GatedRepo":
        return hub.gated(source)
    if status in (401, 403, 404):
        return hub.unknown(source)
    return hub.unreachable(source, f"it answers {status}") if status >= 500 else None


def examine_memory(model: ModelConfig, engine: EngineConfig, facts: Mapping[str, Any]) -> list[Finding]:
    """What a model on this machine needs and what would make it fit, from its headers; nothing if it has none here.

    `facts` are those of `probe`.
    """
    what, place = f"Memory of {model.name}", catalog.place_of(model)
    try:
        files = recognise(place, model.config) if place is not None and place.exists() else None
    except UnusableFiles:
        # Another finding says what is wrong with them.
        return []
    if files is None:
        return []
    named = engine.device if engine.devices in ("all", ()) else engine.devices[0].partition(":")[0]
    device = str(facts.get("device", "cpu")) if named == "auto" else named
    packed = isinstance(files, Folder) and files.gguf is not None
    if (trouble := memory.trouble(model.memory, device, packed=packed)) is not None:
        return [Finding(what, CheckStatus.BAD, trouble.words, trouble.remedy)]
    half = device != "cpu" if engine.dtype == "auto" else engine.dtype != "float32"
    rows = 1 if files.pipeline.startswith("Flux") else 2
    painting = memory.Painting(model.width * model.height, rows, 2 if half else 4)
    parts = parts_of(files)
    needs = memory.need(parts, model.memory, painting)
    words = f"its weights take {memory.gib(needs.weights)}, and painting about {memory.gib(needs.peak)} in all"
    card = int(float(facts.get("gib", 0)) * memory.GIB)
    if not card:
        return [Finding(what, CheckStatus.GOOD, words)]
    if needs.peak > memory.usable(card):
        remedy = memory.remedy(parts, card, painting)
        return [Finding(what, CheckStatus.BAD, f"{words}, and the card has {memory.gib(card)}", remedy)]
    return [Finding(what, CheckStatus.GOOD, f"{words}, of {memory.gib(card)}")]


def _torch(wanted: str, facts: Mapping[str, Any]) -> Finding:
    if "error" in facts:
        return Finding("Torch", CheckStatus.BAD, facts["error"], facts["remedy"])
    versions = f"torch {facts['torch']}, diffusers {facts['diffusers']}"
    if wanted not in ("auto", "cpu", facts["device"]):
        return Finding(
            "Torch",
            CheckStatus.BAD,
            f"{versions}, but engine.device is {wanted!r} and torch finds only {facts['device']!r}",
            'Install the driver that torch needs, or set engine.device = "auto".',
        )
    if facts["device"] == "cpu":
        return Finding(
            "Torch",
            CheckStatus.NOTE,
            f"{versions}, no GPU: {facts['cores']} CPU cores paint",
            "This is enough for the built-in model. For Stable Diffusion install a GPU driver that torch supports.",
        )
    return Finding("Torch", CheckStatus.GOOD, f"{versions}, {facts['name']} ({facts['gib']:.0f} GiB)")


def _accelerations(config: Config, machine: Mapping[str, str], place: Place) -> list[Finding]:
    """What was found out on a device about what makes each model faster, as its engine wrote it down."""
    what, path = f"Acceleration{painted_on(place)}", building.calibration_of(calibration_of(config.data), place)
    try:
        text = path.read_text(encoding="utf-8") if path.exists() else ""
    except (OSError, ValueError) as error:
        return [Finding(what, CheckStatus.NOTE, f"{path} cannot be read ({error})", "Delete it: it is made again.")]
    known, trouble = Calibration.read(text, machine)
    if trouble:
        return [Finding(what, CheckStatus.NOTE, trouble, "Nothing is needed. To try everything now: --paint")]
    findings = []
    for model in config.local_models:
        entries = [entry for entry in known if entry.model == model.name]
        on = [entry.thing for entry in entries if entry.is_trusted]
        off = [f"{entry.thing} ({entry.refusal})" for entry in entries if entry.refusal]
        if not on and not off:
            continue
        words = f"on: {', '.join(on) or 'nothing'}" + (f". Off: {'; '.join(off)}" if off else "")
        remedy = f"Pictures are right without it. To try it again after a change, delete {path}." if off else ""
        status = CheckStatus.NOTE if off else CheckStatus.GOOD
        findings.append(Finding(f"{what} of {model.name}", status, words, remedy))
    return findings


async def _discord() -> AsyncIterator[Finding]:
    """Check the token, the intents and the permissions in each server, as far as Discord answers."""
    try:
        token = read_token()
    except ConfigError as error:
        yield Finding("Token", CheckStatus.NOTE, str(error))
        return
    yield Finding("Intents", CheckStatus.GOOD, "guilds and reactions; you need not switch on any")
    discord.VoiceClient.warn_nacl = discord.VoiceClient.warn_dave = False
    async with discord.Client(intents=INTENTS) as client:
        try:
            await client.login(token)
        except discord.LoginFailure:
            yield Finding(
                "Token",
                CheckStatus.BAD,
                "Discord refuses it",
                "Reset it on your application's Bot page and set it again.",
            )
            return
        except (OSError, aiohttp.ClientError, discord.HTTPException) as error:
            words = f"present, but Discord cannot be reached ({error})"
            yield Finding("Token", CheckStatus.NOTE, words, "Check the network and try again.")
            return
        assert client.user is not None  # noqa: S101 - logged in
        yield Finding("Token", CheckStatus.GOOD, f"belongs to {client.user}")
        invite = discord.utils.oauth_url(client.user.id, permissions=PERMISSIONS)
        try:
            guilds = await client.http.get_guilds(limit=200)
        except (OSError, aiohttp.ClientError, discord.HTTPException) as error:
            yield Finding("Servers", CheckStatus.NOTE, f"Discord does not list them ({error})", "Try again.")
            return
        if not guilds:
            yield Finding("Servers", CheckStatus.NOTE, "the bot is in no server", f"Invite it: {invite}")
        for guild in guilds:
            granted = discord.Permissions(int(guild["permissions"]))
            lacking = [name for name, needed in PERMISSIONS if needed and not getattr(granted, name)]
            if lacking and not granted.administrator:
                names = ", ".join(name.replace("_", " ") for name in lacking)
                yield Finding(
                    f"Server {guild['name']}", CheckStatus.BAD, f"lacks {names}", f"Invite it again: {invite}"
                )
            else:
                yield Finding(f"Server {guild['name']}", CheckStatus.GOOD, "all permissions granted")
