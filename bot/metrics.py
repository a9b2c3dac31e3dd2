"""A page of metrics for Prometheus, served on the bot's own event loop if the host asks for it.

It shows sums and states of the whole Atelier, and no data of a server, a person or a prompt.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web
from prometheus_client import CollectorRegistry, Metric, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from bot.app import App
from bot.engine.step_histogram import Histogram, StepHistogram
from bot.errors import StorageError
from bot.jobs import utcnow
from bot.queue.lane_states import LaneState
from bot.storage.database import insist
from bot.storage.gauges import Gauge, Gauges

log = logging.getLogger(__name__)

AGAIN_SECONDS = 60.0
"""The time between two attempts to listen on an address that is in use."""

_CLOSING_SECONDS = 1.0
"""How long a reader of the page may delay the bot's end."""


@dataclass(frozen=True, eq=False)
class Snapshot(Collector):
    """Everything the page shows, as it was at one moment."""

    gauge: Gauge
    slots: int
    troubles: int
    steps: StepHistogram
    lanes: Sequence[LaneState]
    latency: float
    late: int

    def collect(self) -> Iterator[Metric]:
        """The metrics, named as docs/operations.md says."""
        gauge = self.gauge
        yield GaugeMetricFamily("atelier_queue_depth", "Requests that wait.", gauge.depth)
        yield GaugeMetricFamily(
            "atelier_queue_oldest_seconds", "How long the oldest request that waits has waited.", gauge.oldest_seconds
        )
        yield GaugeMetricFamily("atelier_jobs_running", "Requests in the engine.", gauge.running)
        yield GaugeMetricFamily("atelier_engine_slots", "How many requests the engine takes at a time.", self.slots)
        yield GaugeMetricFamily("atelier_models_unusable", "Models that cannot be used now.", self.troubles)
        yield _by_lane("atelier_lane_up", "Whether a lane is up.", {lane.name: lane.is_up for lane in self.lanes})
        drained = {lane.name: lane.is_drained for lane in self.lanes}
        yield _by_lane("atelier_lane_drained", "Whether the host drained a lane.", drained)
        yield _by_lane("atelier_lane_jobs", "Requests in a lane.", {lane.name: lane.orders for lane in self.lanes})
        if math.isfinite(self.latency):
            yield GaugeMetricFamily(
                "atelier_gateway_latency_seconds", "Time between a heartbeat and Discord's answer to it.", self.latency
            )
        yield _labelled("atelier_jobs", "Requests that ended.", "outcome", gauge.outcomes.items())
        yield _labelled("atelier_refusals", "Requests that were refused.", "rule", gauge.refused.items())
        yield CounterMetricFamily(
            "atelier_interactions_late", "Commands and buttons that could not be answered in time.", self.late
        )
        yield CounterMetricFamily("atelier_pictures", "Pictures that were delivered.", gauge.pictures)
        yield CounterMetricFamily("atelier_gpu_seconds", "Engine time that requests used.", gauge.gpu_seconds)
        yield _histogram("atelier_batch_rows", "Rows of a denoising step.", self.steps.rows)
        yield _histogram("atelier_step_seconds", "Time of a denoising step.", self.steps.seconds)


def _by_lane(name: str, words: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, words, labels=["lane"])
    for lane, value in values.items():
        family.add_metric([lane], value)
    return family


def _labelled(name: str, words: str, label: str, counts: Iterable[tuple[str, int]]) -> Metric:
    family = CounterMetricFamily(name, words, labels=[label])
    for value, count in counts:
        family.add_metric([value], count)
    return family


def _histogram(name: str, words: str, histogram: Histogram) -> Metric:
    bounds = (*map(floatToGoString, histogram.bounds), "+Inf")
    buckets = list(zip(bounds, itertools.accumulate(histogram.counts), strict=True))
    return HistogramMetricFamily(name, words, buckets=buckets, sum_value=histogram.sum)


@asynccontextmanager
async def serving(app: App, listen: str, latency: Callable[[], float], late: Callable[[], int]) -> AsyncIterator[None]:
    """Serve the page at `listen` while the body runs; an address that is in use is tried again later."""
    gauges = Gauges(app.database, app.surface, utcnow)

    async def page(request: web.Request) -> web.Response:
        try:
            gauge = await gauges.read()
        except StorageError as error:
            return web.Response(status=503, text=f"{error}\n")
        engine = app.engine
        registry = CollectorRegistry()
        lanes = app.lane_states()
        slots = sum(lane.slots for lane in lanes)
        troubles, steps = len(engine.troubles), engine.step_histogram
        registry.register(Snapshot(gauge, slots, troubles, steps, lanes, latency(), late()))
        ProcessCollector(registry=registry)
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(registry), headers={"Content-Type": content_type})

    application = web.Application()
    application.add_routes([web.get("/metrics", page)])
    task = asyncio.create_task(_serve(gauges, application, listen), name="metrics")
    task.add_done_callback(_log_death)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _serve(gauges: Gauges, application: web.Application, listen: str) -> None:
    """Serve until cancelled."""
    await insist(gauges.watch)
    host, _, port = listen.rpartition(":")
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=_CLOSING_SECONDS)
    await runner.setup()
    try:
        told = False
        while True:
            try:
                await web.TCPSite(runner, host.strip("[]"), int(port)).start()
                break
            except OSError as error:
                if not told:
                    log.error(  # noqa: TRY400 - words for the host
                        "The metrics cannot be served on %s (%s). Atelier continues without them and tries again every "
                        "minute; metrics.listen in config.toml names another address.",
                        listen,
                        error.strerror or error,
                    )
                told = True
                await asyncio.sleep(AGAIN_SECONDS)
        log.info("metrics on http://%s/metrics", listen)
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def _log_death(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        log.critical("the task that serves the metrics died", exc_info=error)
