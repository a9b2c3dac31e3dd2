"""`open_app` builds every service, the lowest layer first, and closes what it opened."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from filelock import FileLock, Timeout

from bot.config import SAFETY_IS_OFF, Config, ModelConfig
from bot.delivery.contests import ContestKeeper
from bot.delivery.feedback import Feedback
from bot.delivery.notices import Notices
from bot.delivery.outbox import Delivery
from bot.delivery.reactions import Reactions
from bot.delivery.removal_notes import RemovalNotes
from bot.delivery.updates import Updates
from bot.engine import Engine, Lane, building, calibration
from bot.engine.catalog import (
    Catalog,
    check_describer_exists,
    check_likeness_exists,
    check_models,
    check_segmenter_exists,
    check_upscaler_exists,
    folder_of,
)
from bot.engine.local.devices import LOCAL
from bot.engine.model_files import known_files
from bot.engine.signing import Signing
from bot.errors import ConfigError
from bot.jobs import Clock, Surface, utcnow
from bot.policy.policy import Policy
from bot.prompt_safety import block
from bot.queue.dispatcher import Dispatcher
from bot.queue.engine_forecast import seconds_of
from bot.queue.lane_states import LaneState, lane_states
from bot.queue.line import Line
from bot.requests.admission import Admission
from bot.requests.describing import Describer
from bot.requests.improver import Improver
from bot.requests.resolve import usual_request
from bot.requests.series import SeriesAdmission
from bot.requests.vocabulary import Vocabulary
from bot.search.client import Search
from bot.search.index_files import index_of
from bot.storage import encryption, sqlite
from bot.storage.backups import clear_leftovers
from bot.storage.cases import Cases
from bot.storage.comparisons import Comparisons
from bot.storage.consents import Consents
from bot.storage.contests import Contests
from bot.storage.database import Database, insist, open_database
from bot.storage.examples import Examples
from bot.storage.forgetting import Forgetting
from bot.storage.former_folders import empty_former_folders
from bot.storage.lanes import Lanes
from bot.storage.lineage import Lineage
from bot.storage.marks import Marks
from bot.storage.member_reports import MemberReports
from bot.storage.panels import Panels
from bot.storage.pictures import Pictures
from bot.storage.preferences import PreferenceStore
from bot.storage.presets import PresetRatings
from bot.storage.queue import Queue
from bot.storage.queue_changes import QueueChanges
from bot.storage.ratings import Ratings
from bot.storage.recovery import heal
from bot.storage.refusals import Refusals
from bot.storage.removals import Removals
from bot.storage.reports import Reports
from bot.storage.rules import Rules
from bot.storage.side_messages import SideMessages
from bot.storage.sittings import Sittings
from bot.storage.spending import Spending
from bot.storage.styles import Styles
from bot.storage.tags import Tags
from bot.storage.upkeep import keep_up
from bot.storage.usage import Usage
from bot.verification import Verification

log = logging.getLogger(__name__)

_TIMINGS = "timings"
"""The name under which the database keeps the timings of the engine where there is only one."""


@dataclass(frozen=True, slots=True)
class App:
    """Every service of one running Atelier."""

    config: Config
    surface: Surface
    database: Database
    queue: Queue
    rules: Rules
    cases: Cases
    refusals: Refusals
    removals: Removals
    lineage: Lineage
    search: Search
    tags: Tags
    comparisons: Comparisons
    consents: Consents
    contests: Contests
    contest_keeper: ContestKeeper
    styles: Styles
    preset_ratings: PresetRatings
    sittings: Sittings
    reports: Reports
    forgetting: Forgetting
    preferences: PreferenceStore
    verification: Verification
    signing: Signing
    policy: Policy
    line: Line
    engine: Engine
    lanes: Lanes
    admission: Admission
    improver: Improver
    series: SeriesAdmission
    panels: Panels
    describer: Describer
    delivery: Delivery
    dispatcher: Dispatcher
    feedback: Feedback
    reactions: Reactions
    removal_notes: RemovalNotes
    member_reports: MemberReports
    notices: Notices
    notice: str | None
    """A sentence for people about what happened to their requests at this start, if anything did."""

    def lane_states(self) -> list[LaneState]:
        """What each lane of the engine does now."""
        return lane_states(self.engine, self.lanes.drained, self.dispatcher.orders)


def database_of(data: Path) -> Path:
    """The database in a data folder."""
    return data / "atelier.db"


def calibration_of(data: Path) -> Path:
    """What the engine has found out about what makes models faster on this machine."""
    return data / calibration.FILE


def heartbeat_of(data: Path) -> Path:
    """What the running bot says about itself."""
    return data / "heartbeat.json"


def known_files_of(data: Path) -> Path:
    """The hashes of the model files that were used before."""
    return data / known_files.FILE


def provenance_of(data: Path) -> Path:
    """The folder of the secrets that pictures are labelled with."""
    return data / "provenance"


def files_of_engines(data: Path) -> building.Files:
    """The files that engines use in a data folder."""
    return building.Files(calibration_of(data), provenance_of(data), known_files_of(data))


@contextmanager
def lock_folder(data: Path) -> Iterator[None]:
    """Make the data folder, and lock it while the body runs. Raises ConfigError if another Atelier has locked it."""
    lock = FileLock(data / "lock")
    try:
        data.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise ConfigError(
            f"Another Atelier is using the data folder {data}. Stop it, or give this one a folder of its own with "
            "--data."
        ) from error
    except OSError as error:
        raise ConfigError(f"The data folder {data} cannot be written: {error.strerror}.") from error
    try:
        yield
    finally:
        lock.release()


@asynccontextmanager
async def open_app(
    config: Config, surface: Surface, *, engine: Engine | None = None, clock: Clock = utcnow
) -> AsyncIterator[App]:
    """Open the data folder, start the background tasks, and stop and close everything at the end.

    Without `engine` those of the configuration are built and run; an engine that the caller gives is run by the caller.
    When a background task dies, the log says so and the app ends. Raises ConfigError or StorageError when the app
    cannot open.
    """
    check_models(config.local_models)
    check_upscaler_exists(config.engine.upscaler)
    check_describer_exists(config.engine.describer)
    check_likeness_exists(config.engine.likeness)
    check_segmenter_exists(config.engine.segmenter)
    if config.engine.safety == "off":
        log.warning("%s%s.", SAFETY_IS_OFF[0].upper(), SAFETY_IS_OFF[1:])
    catalog = Catalog(config.models, config.engine.upscaler)
    await asyncio.to_thread(catalog.look)
    async with AsyncExitStack() as stack:
        stack.enter_context(lock_folder(config.data))
        path = database_of(config.data)
        key = await sqlite.in_thread(lambda _: encryption.prepare(path, encrypt=config.encrypt))
        if config.encrypt and sqlite.is_plain(path) and surface is Surface.DISCORD:
            log.warning("the database is not encrypted. To encrypt it, stop Atelier and run: atelier encrypt")
        # `in_thread` waits for its thread even after a cancellation, so the lock stays while files are moved.
        await sqlite.in_thread(lambda _: clear_leftovers(path, start=True))
        notice = await sqlite.in_thread(lambda stop: heal(path, key, stop))
        database = await stack.enter_async_context(open_database(path, key))
        seals = config.encrypt_pictures
        folder = await sqlite.in_thread(lambda _: encryption.pictures_of(path, key, seals=seals))
        pictures = Pictures(database, folder)
        await empty_former_folders(config.data, database, pictures)
        if trouble := await sqlite.in_thread(lambda _: encryption.picture_trouble(folder, seals=seals)):
            log.warning("%s %s", *trouble)
        queue = Queue(database, pictures, surface, clock)
        rules, refusals = Rules(database), Refusals(database, clock)
        painter = engine or await building.build(config, files_of_engines(config.data), partial(_timings, database))
        usual = usual_request((*config.local_models, *config.models)[0]).work
        changes = QueueChanges(database, surface, clock)
        lanes = Lanes(database, clock)
        await lanes.open([lane.name for lane in painter.lanes])
        policy = Policy(
            rules,
            Usage(database),
            Spending(database),
            config.limits,
            lambda: seconds_of(usual, line.speed_for(usual)),
            clock,
        )
        line = Line(changes, policy, painter, clock, lambda: lanes.drained)
        signing = Signing(provenance_of(config.data), config.engine.certificate, config.engine.private_key)
        delivery = Delivery(database, queue, changes, config.discord.posts_per_channel, signing)
        dispatcher = Dispatcher(database, queue, pictures, policy, refusals, line, painter, delivery.announce, clock)
        search = Search(database, index_of(config.data), path, key, surface, config.engine.likeness)
        forgetting = Forgetting(database, pictures, path, key, surface, clock, search.erase)
        removals = Removals(database, pictures, clock)
        side_messages = SideMessages(database, surface, clock)
        preferences = PreferenceStore(database)
        cases, member_reports = Cases(database, rules, surface, clock), MemberReports(database, clock)
        styles = Styles(database, rules, cases)
        preset_ratings = PresetRatings(database, clock)
        marks = Marks(database, path, key)
        contests = Contests(database, clock)
        reactions = Reactions(database, side_messages, removals, queue, rules, clock)
        admission = Admission(
            queue,
            pictures,
            policy,
            refusals,
            line,
            painter,
            config.models,
            catalog,
            _vocabularies(config.local_models),
            config.bill,
            clock,
            preferences,
            styles,
            preset_ratings,
        )
        app = App(
            config=config,
            surface=surface,
            database=database,
            queue=queue,
            rules=rules,
            cases=cases,
            refusals=refusals,
            removals=removals,
            lineage=Lineage(database),
            search=search,
            tags=Tags(database, clock),
            comparisons=Comparisons(database, clock),
            consents=Consents(database, clock),
            contests=contests,
            contest_keeper=ContestKeeper(database, contests, side_messages, reactions, queue, clock),
            styles=styles,
            preset_ratings=preset_ratings,
            sittings=Sittings(database, surface),
            reports=Reports(path, key, clock),
            forgetting=forgetting,
            preferences=preferences,
            signing=signing,
            verification=Verification(marks, provenance_of(config.data), config.engine.certificate),
            policy=policy,
            line=line,
            engine=painter,
            lanes=lanes,
            admission=admission,
            series=SeriesAdmission(admission, queue, policy),
            improver=Improver(search, Examples(database), policy),
            panels=Panels(database),
            describer=Describer(Path(config.engine.describer) if config.engine.describer else None),
            delivery=delivery,
            dispatcher=dispatcher,
            feedback=Feedback(Ratings(database, clock)),
            reactions=reactions,
            removal_notes=RemovalNotes(removals),
            member_reports=member_reports,
            notices=Notices(database, rules, cases, member_reports),
            notice=notice,
        )
        # The words of the hard block are read before the first request, which would wait for them.
        await asyncio.to_thread(block.load)
        await queue.recover()
        await forgetting.sweep()
        runs = {
            "database": database.die(),
            "lanes": lanes.run(),
            "dispatcher": dispatcher.run(),
            "delivery": delivery.run(),
            "updates": Updates(database, queue, line, delivery, clock).run(),
            "upkeep": keep_up(database, path, key, clock),
            "reactions": app.reactions.run(),
            "removal notes": app.removal_notes.run(),
            "notices": app.notices.run(),
            "contests": app.contest_keeper.run(),
            "forgetting": forgetting.run(),
            "search": search.run(),
            "models": catalog.watch(),
        }
        if engine is None:
            runs["engine"] = painter.run()
            runs |= {f"timings of {lane.name}": _keep_timings(database, lane) for lane in painter.lanes}
        await stack.enter_async_context(_running(runs))
        yield app


def _vocabularies(models: Sequence[ModelConfig]) -> dict[str, Vocabulary]:
    """The vocabularies of the models that have one."""
    found = {model.name: Vocabulary.read(Path(folder_of(model))) for model in models}
    return {name: vocabulary for name, vocabulary in found.items() if vocabulary is not None}


async def _timings(database: Database, lane: str) -> str:
    """The stored timings of a lane. A lane without any begins with those of the time when there was only one."""
    return await database.recall(_timings_of(lane)) or await database.recall(_TIMINGS) or ""


async def _keep_timings(database: Database, lane: Lane) -> None:
    """Store a lane's timings whenever they change, so that they are known after a restart."""
    while True:
        await lane.learned.wait()
        lane.learned.clear()
        await insist(database.remember, _timings_of(lane.name), lane.timings.dump())


def _timings_of(lane: str) -> str:
    """The name under which the database keeps a lane's timings."""
    return _TIMINGS if lane == LOCAL else f"{_TIMINGS} of {lane}"


@asynccontextmanager
async def _running(runs: Mapping[str, Coroutine[None, None, None]]) -> AsyncIterator[None]:
    """Run named tasks beside the body and end them with it; if one of them ends first, the body ends too.

    Unlike a TaskGroup, this does not wrap the body's exceptions, because some are messages for people.
    """
    body = asyncio.current_task()
    dead: list[asyncio.Task[None]] = []

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            log.critical("the background task %s died", task.get_name(), exc_info=task.exception())
            dead.append(task)
            if body is not None:
                body.cancel()

    tasks = [asyncio.create_task(run, name=name) for name, run in runs.items()]
    for task in tasks:
        task.add_done_callback(ended)
    try:
        yield
    except asyncio.CancelledError:
        if not dead:
            raise
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in dead:
        task.result()
