"""`atelier doctor`: checks everything a host needs and names a remedy for each problem."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import aiohttp
import discord

from bot.app import database_of
from bot.client import INTENTS, PERMISSIONS
from bot.config import Config, LoraConfig, ModelConfig, read_database_key, read_token
from bot.engine import catalog
from bot.engine.model_files import hub
from bot.engine.model_files.host_upscaler import check_upscaler
from bot.engine.model_files.recognise import layers_of, recognise, unusable_adapters
from bot.engine.model_files.single_file import SingleFile
from bot.errors import ConfigError, StorageError, UnusableFiles
from bot.jobs import utcnow
from bot.storage import sqlite
from bot.storage.backups import BACKUP_INTERVAL, backups_of, folder_of
from bot.storage.database import schema_scripts
from bot.storage.integrity import Check, find_damage, inspect

_PROBE_SECONDS = 300
_CHECK_SECONDS = 60
_HUB_SECONDS = 10
_LOW_DISK_GIB = 5


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


async def examine(config: Config) -> AsyncIterator[Finding]:
    """Yield the findings one by one, the quick ones first."""
    yield _python()
    yield _disk(config.data)
    for finding in await asyncio.to_thread(_database, database_of(config.data)):
        yield finding
    for model in config.models:
        for finding in await examine_model(model):
            yield finding
    if config.engine.upscaler:
        yield await asyncio.to_thread(_upscaler, Path(config.engine.upscaler))
    yield await _torch(config.engine.device)
    async for finding in _discord():
        yield finding


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


def _database(path: Path) -> list[Finding]:
    """Inspect the database without changing it: the next start migrates an older one."""
    what = "Database"
    if not path.exists():
        return [Finding(what, CheckStatus.GOOD, f"{path} will be created at the first start")]
    end = time.monotonic() + _CHECK_SECONDS
    try:
        key = read_database_key()
        if damage := find_damage(path, key, full=False, stop=lambda: time.monotonic() > end):
            remedy = "Start Atelier: it restores the newest good backup. Or check ATELIER_DATABASE_KEY."
            return [Finding(what, CheckStatus.BAD, f"{path} is damaged: {damage}", remedy), _backups(path)]
        look = inspect(path, key)
    except (StorageError, ConfigError) as error:
        return [Finding(what, CheckStatus.BAD, str(error), "Restore a copy: atelier restore FILE")]
    secrecy = "encrypted" if key else "not encrypted"
    words = f"{path}, requests: {look.jobs}, schema {look.schema}, {secrecy}, SQLite {sqlite.VERSION}"
    newest = len(schema_scripts())
    if look.schema < newest:
        remedy = f"The next start backs it up and migrates it to schema {newest}."
        return [Finding(what, CheckStatus.NOTE, words, remedy), _integrity(look.check), _backups(path)]
    if look.schema > newest:
        remedy = f"A newer Atelier wrote it; this one knows only schema {newest}. Upgrade Atelier."
        return [Finding(what, CheckStatus.BAD, words, remedy)]
    return [Finding(what, CheckStatus.GOOD, words), _integrity(look.check), _backups(path)]


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


def _upscaler(file: Path) -> Finding:
    """Check the network that enlarges pictures of models without their own, by its header."""
    what = "Upscaler"
    try:
        check_upscaler(file)
    except UnusableFiles as error:
        return Finding(what, CheckStatus.BAD, error.words, error.remedy)
    return Finding(what, CheckStatus.GOOD, str(file))


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
        return hub.unreachable(source, type(error).__name__)
    if code == "GatedRepo":
        return hub.gated(source)
    if status in (401, 403, 404):
        return hub.unknown(source)
    return hub.unreachable(source, f"it answers {status}") if status >= 500 else None


async def _torch(wanted: str) -> Finding:
    """Ask another process what torch finds, because the bot process never imports torch."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bot.worker.probe",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            output, errors = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return Finding("Torch", CheckStatus.BAD, "does not answer", "Reinstall it: pip install --force-reinstall torch")
    if process.returncode:
        last = (errors.decode(errors="replace").strip().splitlines() or ["no output"])[-1]
        return Finding("Torch", CheckStatus.BAD, f"cannot be imported: {last}", "Reinstall Atelier into a fresh venv.")
    facts = json.loads(output)
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
