"""The loop in this process, with tiny real models: which orders begin, which models are in memory, and what waits."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import pytest
import torch

from bot.config import EngineConfig, ModelConfig
from bot.engine.model_files.known_files import KnownFiles
from bot.engine.wire import CancelFrame, FailedFrame, Frame, Inbox, Stage, StageFrame, StopFrame, SubmitFrame, kind_of
from bot.jobs import GenerationRequest, JobId, Operation, UserId
from bot.worker import checkpoints, preparation
from bot.worker.acceleration import Graphs
from bot.worker.inputs import Check, Inputs, decode
from bot.worker.loop import WorkerLoop
from bot.worker.pipelines import ModelStore
from bot.worker.prompts import Prompts, Reading
from bot.worker.proving import Prover
from tests.bot.worker.at_once import at_once
from tests.bot.worker.test_acceleration import Again
from tests.bot.worker.tiny_models import SIZE, make_tiny_folder
from tests.picture_cases import quarters, saved

# torch's tensors meet numpy inside diffusers in ways that numpy 2 means to forbid one day.
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

SKETCH = GenerationRequest(
    prompt="a fox", model="a", width=SIZE, height=SIZE, num_inference_steps=3, guidance_scale=3.0, seed=1
)
LONG = replace(SKETCH, num_inference_steps=100)
STOP = StopFrame()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_folder(tmp_path_factory.mktemp("models") / "tiny")


def about(frame: Frame) -> tuple[str, int | None]:
    """What kind of frame it is, and of which job."""
    return kind_of(frame), getattr(frame, "job_id", None)


class Workshop:
    """A loop with models `a`, `b` and `broken`, and everything it says. What `when` expects happens in its thread."""

    def __init__(self, folder: Path, *, models_at_a_time: float = 10.0, together: bool = False) -> None:
        """With `together`, orders that wait begin in the same step, whichever thread is quicker."""
        models = [
            ModelConfig(name="a", source=str(folder), width=SIZE, height=SIZE),
            ModelConfig(name="b", source=str(folder), width=SIZE, height=SIZE),
            ModelConfig(name="broken", source=str(folder / "nothing")),
        ]
        self.store = ModelStore(models, EngineConfig(device="cpu", threads=1))
        budget = int(models_at_a_time * self.store.size("a"))
        self.store.machine = replace(self.store.machine, budget=budget)
        self.together = together
        self.inbox = Inbox()
        self.said: list[Frame] = []
        self.reactions: list[tuple[Callable[[Frame], bool], Callable[[], None]]] = []

    def ask(self, job_id: int, request: GenerationRequest, uploads: dict[str, bytes] | None = None) -> None:
        self.inbox.put(SubmitFrame(JobId(job_id), 1, UserId(job_id), request, uploads or {}))

    def cancel(self, job_id: int) -> None:
        self.inbox.put(CancelFrame(JobId(job_id), 1))

    def when(self, kind: str, job_id: int, *, do: Callable[[], None]) -> None:
        """Do something the first time the loop says this."""
        self.reactions.append((lambda frame: about(frame) == (kind, job_id), do))

    def run(self) -> None:
        made = WorkerLoop(self.store, self.inbox, self._send, rows=16)
        (at_once(made) if self.together else made).run()

    def jobs(self, kind: str) -> list[int]:
        return [job_id for said, job_id in map(about, self.said) if said == kind and job_id is not None]

    def index(self, kind: str, job_id: int) -> int:
        """When the loop first said it."""
        return [about(frame) for frame in self.said].index((kind, job_id))

    def _send(self, frame: Frame) -> None:
        self.said.append(frame)
        for reaction in [reaction for reaction in self.reactions if reaction[0](frame)]:
            self.reactions.remove(reaction)
            reaction[1]()


@pytest.fixture(autouse=True)
def own_threads() -> Iterator[None]:
    """A store sets torch's threads for the whole process: put them back."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_models_that_fit_together_paint_together(folder: Path) -> None:
    shop = Workshop(folder, models_at_a_time=2)
    shop.ask(1, SKETCH)
    shop.ask(2, replace(SKETCH, model="b"))
    shop.inbox.put(STOP)
    shop.run()
    assert sorted(shop.jobs("finished")) == [1, 2]
    assert shop.store.is_resident("a")
    assert shop.store.is_resident("b")


def test_model_makes_room_when_its_pictures_are_done(folder: Path) -> None:
    shop = Workshop(folder, models_at_a_time=1)
    shop.ask(1, LONG)
    shop.when("progress", 1, do=lambda: shop.ask(2, replace(SKETCH, model="b")))
    shop.when("finished", 2, do=lambda: shop.inbox.put(STOP))
    shop.run()
    assert shop.index("finished", 1) < shop.index("progress", 2)
    assert not shop.store.is_resident("a")
    assert shop.store.is_resident("b")


def test_stream_for_one_model_does_not_keep_another_out(folder: Path) -> None:
    shop = Workshop(folder, models_at_a_time=1)
    shop.ask(1, SKETCH)
    streaming = True

    def next_one(job_id: int) -> None:
        if streaming and job_id < 1000:
            shop.ask(job_id, SKETCH)
            # Asked before its predecessor is done, so that the model is never idle by itself.
            shop.when("progress", job_id, do=lambda: next_one(job_id + 1))

    def enough() -> None:
        nonlocal streaming
        streaming = False
        shop.inbox.put(STOP)

    shop.when("progress", 1, do=lambda: (shop.ask(2, replace(SKETCH, model="b")), next_one(3)))
    shop.when("finished", 2, do=enough)
    shop.run()
    done = shop.jobs("finished")
    assert 2 in done
    assert len(done) < 1000, "and it came before the stream ended"


def test_fetching_one_model_holds_up_nobody_of_another(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Workshop(folder)
    arrived = threading.Event()

    def slowly(model: ModelConfig, known: KnownFiles) -> checkpoints.Checkpoint:
        assert arrived.wait(60)
        return fetch(model, known)

    fetch = checkpoints.fetch
    monkeypatch.setattr(checkpoints, "fetch", slowly)
    shop.ask(2, replace(SKETCH, model="b"))
    shop.ask(1, SKETCH)
    shop.when("finished", 1, do=arrived.set)
    shop.when("finished", 2, do=lambda: shop.inbox.put(STOP))
    shop.run()
    assert shop.jobs("finished") == [1, 2]


def test_model_that_cannot_be_had_fails_those_who_wait_for_it_alone(folder: Path) -> None:
    shop = Workshop(folder)
    for job_id, model in ((1, "broken"), (2, "broken"), (3, "b")):
        shop.ask(job_id, replace(SKETCH, model=model))
    shop.when("failed", 2, do=lambda: shop.ask(4, replace(SKETCH, model="broken")))
    shop.when("failed", 4, do=lambda: shop.inbox.put(STOP))
    shop.run()
    assert shop.jobs("failed") == [1, 2, 4]
    failed = shop.said[shop.index("failed", 1)]
    assert isinstance(failed, FailedFrame)
    assert "The model broken cannot be loaded" in failed.reason
    assert shop.jobs("finished") == [3]


def stages(shop: Workshop, of: Stage | None = None) -> list[StageFrame]:
    """What the loop's threads said they do."""
    return [frame for frame in shop.said if isinstance(frame, StageFrame) and of in (None, frame.stage)]


def picture() -> dict[str, bytes]:
    """An upload by its sha256."""
    data = saved(quarters())
    return {hashlib.sha256(data).hexdigest(): data}


def from_picture(uploads: dict[str, bytes]) -> GenerationRequest:
    (sha256,) = uploads
    return replace(LONG, operation=Operation.IMAGE2IMAGE, image=sha256, strength=0.05)


def test_each_stage_is_told_before_its_work_with_the_orders_it_is_for(folder: Path) -> None:
    shop = Workshop(folder)
    shop.ask(1, from_picture(picture()), picture())
    shop.inbox.put(STOP)
    shop.run()
    mine = ((JobId(1), 1),)
    told = stages(shop)
    on_loop = [frame for frame in told if frame.thread == threading.current_thread().name]
    order = [stage for stage, _ in groupby(frame.stage for frame in on_loop)]
    assert [stage for stage in order if stage is not Stage.REST] == [Stage.LOAD, Stage.ENCODE, Stage.START, Stage.STEP]
    (load,) = stages(shop, Stage.LOAD)
    assert (load.model, load.size) == ("a", shop.store.size("a"))
    assert all(frame.orders == mine for frame in told if frame.stage in (Stage.ENCODE, Stage.START, Stage.STEP))
    for aside in (Stage.DECODE, Stage.FINISH):
        (begun,) = stages(shop, aside)
        assert begun.orders == mine
        assert begun.thread != on_loop[0].thread
        after = told[told.index(begun) + 1 :]
        assert next(frame.stage for frame in after if frame.thread == begun.thread) is Stage.REST
    (fetch,) = stages(shop, Stage.FETCH)
    assert fetch.model == "a"
    assert shop.index("started", 1) > shop.said.index(stages(shop, Stage.START)[0])


def test_orders_that_share_a_step_are_told_together(folder: Path) -> None:
    shop = Workshop(folder, together=True)
    for job_id in (1, 2):
        shop.ask(job_id, SKETCH)
    shop.inbox.put(STOP)
    shop.run()
    told = [len(frame.orders) for frame in stages(shop, Stage.STEP)]
    assert told[: SKETCH.num_inference_steps] == [2] * SKETCH.num_inference_steps, "and then each picture is decoded"


def test_an_idle_loop_rests(folder: Path) -> None:
    shop = Workshop(folder)
    shop.ask(1, SKETCH)
    own = threading.current_thread().name
    rested: list[Frame] = []

    def send(frame: Frame) -> None:
        shop._send(frame)
        rests = isinstance(frame, StageFrame) and (frame.stage, frame.thread) == (Stage.REST, own)
        if rests and stages(shop, Stage.STEP):
            rested.append(frame)
            shop.inbox.put(STOP)

    WorkerLoop(shop.store, shop.inbox, send, rows=16).run()
    assert len(rested) == 1


def test_a_picture_that_hangs_its_decoder_holds_up_no_other_order(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Workshop(folder)
    others_are_done = threading.Event()

    def hanging(request: GenerationRequest, uploads: dict[str, bytes], check: Check, *, find: None) -> Inputs:
        if request.seed == 13:
            assert others_are_done.wait(60)
        return decode(request, uploads, check)

    monkeypatch.setattr(preparation, "decode", hanging)
    request, uploads = from_picture(picture()), picture()
    shop.ask(1, replace(request, seed=13), uploads)
    shop.ask(2, request, uploads)
    shop.ask(3, SKETCH)
    done: list[int] = []
    for job_id in (2, 3):
        shop.when("finished", job_id, do=lambda: others_are_done.set() if len(shop.jobs("finished")) == 2 else None)
    shop.when("finished", 1, do=lambda: (done.extend(shop.jobs("finished")), shop.inbox.put(STOP)))
    shop.run()
    assert done[-1] == 1
    assert sorted(done) == [1, 2, 3]


def test_order_can_be_cancelled_while_it_waits(folder: Path) -> None:
    shop = Workshop(folder, models_at_a_time=1)
    shop.ask(1, LONG)
    shop.when("progress", 1, do=lambda: (shop.ask(2, replace(SKETCH, model="b")), shop.cancel(2)))
    shop.when("finished", 1, do=lambda: shop.inbox.put(STOP))
    shop.run()
    assert shop.jobs("finished") == [1]
    assert 2 not in shop.jobs("started")
    assert not shop.store.is_resident("b")


def test_stop_lets_those_who_wait_finish(folder: Path) -> None:
    shop = Workshop(folder, models_at_a_time=1)
    shop.ask(1, SKETCH)
    shop.ask(2, replace(SKETCH, model="b"))
    shop.inbox.put(STOP)
    shop.ask(3, SKETCH)
    shop.run()
    assert sorted(shop.jobs("finished")) == [1, 2], "and nobody who came later is let in"


def test_prompt_that_takes_long_to_read_holds_nobody_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What people wrote is read beside the thread that everybody's steps wait for."""
    shop, go_on, read = Workshop(folder), threading.Event(), Prompts.read
    readers: set[str] = set()

    def slowly(prompts: Prompts, text: str) -> Reading:
        readers.add(threading.current_thread().name.partition("_")[0])
        if text == "slow":
            assert go_on.wait(60)
        return read(prompts, text)

    monkeypatch.setattr(Prompts, "read", slowly)
    shop.ask(1, LONG)
    shop.when("started", 1, do=lambda: shop.ask(2, replace(SKETCH, prompt="slow")))
    shop.when("finished", 1, do=go_on.set)
    shop.when("finished", 2, do=lambda: shop.inbox.put(STOP))
    shop.run()
    assert shop.index("finished", 1) < shop.index("started", 2)
    assert readers == {"reader"}


def test_prompt_that_cannot_be_read_ends_its_own_order_only(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop, read = Workshop(folder), Prompts.read

    def broken(prompts: Prompts, text: str) -> Reading:
        if text == "broken":
            raise RuntimeError("a bug in a tokenizer")
        return read(prompts, text)

    monkeypatch.setattr(Prompts, "read", broken)
    shop.ask(1, SKETCH)
    shop.ask(2, replace(SKETCH, prompt="broken"))
    shop.ask(3, SKETCH)
    shop.inbox.put(STOP)
    shop.run()
    assert sorted(shop.jobs("finished")) == [1, 3]
    (failed,) = [frame for frame in shop.said if isinstance(frame, FailedFrame)]
    assert (failed.job_id, failed.reason) == (
        2,
        "This prompt could not be read. The host can find the reason in the log.",
    )


def test_while_nobody_waits_a_model_is_rehearsed_and_graphs_are_recorded_for_a_crowd(folder: Path) -> None:
    shop = Workshop(folder)
    recorder = Again()
    shop.store.graphs = Graphs(recorder, prover=Prover(clock=lambda: 0.0))
    shop.store.load("a")

    def send(frame: Frame) -> None:
        shop._send(frame)
        if isinstance(frame, StageFrame) and (frame.stage, frame.thread) == (Stage.REST, own):
            recorded.append(recorder.recorded)
            if len(recorded) == 1:
                shop.ask(1, SKETCH)
            shop.inbox.put(STOP)

    recorded: list[int] = []
    own = threading.current_thread().name
    WorkerLoop(shop.store, shop.inbox, send, rows=4).run()
    tried = [frame for frame in shop.said if isinstance(frame, StageFrame) and frame.stage is Stage.TRY]
    assert tried[0].model == "a"
    assert recorded[0] == 3, "1, 2 and 4 rows, before anybody asked"
    assert shop.jobs("finished") == [1]
    assert recorder.recorded == 3, "the first request waited for no recording"
    assert shop.jobs("failed") == [], "nobody is told about the trial picture"


def test_on_a_cpu_nothing_is_rehearsed(folder: Path) -> None:
    shop = Workshop(folder)
    shop.ask(1, SKETCH)
    shop.inbox.put(STOP)
    shop.run()
    assert not [frame for frame in shop.said if isinstance(frame, StageFrame) and frame.stage is Stage.TRY]
