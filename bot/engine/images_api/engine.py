"""The engine whose lanes are providers. A request that may have been billed is never sent again by itself.

Before a request is sent, the lane says `Asking`, and goes on only once the bot has stored that. So after a kill the
rows tell which requests a provider may have seen. `Billed` says what an answer cost, also if that is nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from asyncio_throttle import Throttler

from bot.config import Config, ModelConfig
from bot.engine import Asking, Billed, Event, Finished, Order, Pace, Preview, Progress
from bot.engine.images_api import failures
from bot.engine.images_api.answers import Answer, Partial
from bot.engine.images_api.capabilities import Capabilities, capabilities_of, trouble_of
from bot.engine.images_api.client import ApiClient
from bot.engine.images_api.darkroom import Darkroom, Unreadable
from bot.engine.images_api.failures import Failure, ProviderError, Then
from bot.engine.images_api.prices import settled
from bot.engine.images_api.timings import ProviderTimings
from bot.engine.step_histogram import StepHistogram
from bot.engine.timing import Timings
from bot.errors import ConfigError, EngineDied, EngineError, PaintFailed
from bot.jobs import JobId
from bot.language import sentence
from bot.language.reasons import Reason
from bot.money import NOTHING
from bot.provider_config import ProviderConfig
from bot.secrets import provider_key, read_provider_key

log = logging.getLogger(__name__)

TRIES = 4
"""How often a request is sent while the provider says that it did nothing."""
LONGEST_WAIT = 60.0
"""Seconds that a request waits in its slot to be sent again; if the provider wants more, the request fails."""
_LOOK_AGAIN_SECONDS = 900.0
"""After so long a lane that was stopped takes requests again: the host may have paid meanwhile."""
_AWAY_SECONDS = 60.0
"""For so long a lane counts as not up after its provider could not be reached, unless it answers before."""
_MINUTE = 60


class ProviderLane:
    """One provider."""

    def __init__(
        self,
        provider: ProviderConfig,
        models: Sequence[ModelConfig],
        key: str | None,
        darkroom: Darkroom,
        known: str,
    ) -> None:
        """Make a lane for a provider's models that starts with the timings in `known`."""
        self._provider = provider
        self._models = {model.name: (model, capabilities_of(model)) for model in models}
        self._client = ApiClient(provider, key)
        self._darkroom = darkroom
        self._throttle = Throttler(provider.per_minute, _MINUTE)
        self._open: dict[JobId, asyncio.Queue[Event | None]] = {}
        """The events of the open orders; None is the end."""
        self._timings = ProviderTimings()
        self._timings.load(known)
        self.learned = asyncio.Event()
        """Set when the timings have changed."""
        self.steps_done: dict[JobId, int] = {}
        """The partial images that came of each order."""
        self._held_until = 0.0
        self._sent: deque[float] = deque(maxlen=provider.per_minute)
        """When the last requests were sent, by the monotonic clock."""
        self._sent_of: dict[JobId, float] = {}
        """When the request of each open order was sent that is not answered yet."""
        self._stopped: dict[str, tuple[Failure, float]] = {}
        """Why the lane takes nothing for a model, or with "" nothing at all, and until when it does not try again."""
        self._away: tuple[Failure, float] | None = None
        """That the provider could not be reached the last time, and until when that counts."""

    @property
    def name(self) -> str:
        """The name of the provider."""
        return self._provider.name

    @property
    def device(self) -> str:
        """Where it is."""
        return Reason(sentence("the server {host}", host=urlsplit(self._provider.base_url).hostname))

    @property
    def is_up(self) -> bool:
        """Whether it is not stopped, and the provider is not away."""
        return "" not in self.troubles and not self._is_away

    @property
    def warm(self) -> Collection[str]:
        """All its models: nothing is loaded here."""
        return self._models.keys()

    @property
    def slots(self) -> int:
        """How many requests the provider has at the same time."""
        return self._provider.slots

    @property
    def pace(self) -> Pace:
        """How many requests are sent in a minute, and which were sent lately."""
        now = time.monotonic()
        return Pace(
            self._provider.per_minute,
            _MINUTE,
            tuple(now - at for at in self._sent),
            {job_id: now - at for job_id, at in self._sent_of.items()},
            max(self._held_until - now, 0.0),
        )

    @property
    def timings(self) -> Timings:
        """How long the provider takes."""
        return self._timings

    @property
    def troubles(self) -> Mapping[str, str]:
        """The models that are stopped; an entry "" while all are."""
        return {model: failure.words for model, failure in self._stops().items()}

    @property
    def advice(self) -> str:
        """What the host can do about what is stopped, or about a provider that is away."""
        remedies = dict.fromkeys(failure.remedy for failure in self._stops().values())
        if remedies:
            again = f"{self.name} is tried again after {_LOOK_AGAIN_SECONDS / _MINUTE:.0f} minutes."
            return " ".join([*remedies, again])
        return self._away[0].remedy if self._away is not None and self._is_away else ""

    @property
    def _is_away(self) -> bool:
        return self._away is not None and time.monotonic() < self._away[1]

    def _stops(self) -> dict[str, Failure]:
        now = time.monotonic()
        return {model: failure for model, (failure, until) in self._stopped.items() if now < until}

    def has(self, model: str) -> bool:
        """Whether the provider has the model, by the host's settings."""
        return model in self._models

    def holds(self, job_id: JobId) -> bool:
        """Whether an order for this job is open."""
        return job_id in self._open

    async def ready(self) -> None:
        """Ready from the start."""

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    def cancel(self, job_id: JobId) -> None:
        """Wait no longer for an order; what was sent cannot be taken back."""
        if events := self._open.get(job_id):
            events.put_nowait(None)

    async def submit(self, order: Order) -> AsyncGenerator[Event, None]:
        """Have the provider paint, yielding events and Finished last; a cancelled order ends without it.

        Raises PaintFailed, and EngineDied if the request of a provider that charges nothing was lost.
        """
        events = self._open[order.job_id] = asyncio.Queue[Event | None]()
        # One task does all of it: time limits belong to the task in which they began.
        painting = asyncio.create_task(self._paint_into(events, order), name=f"ask {self.name} for job {order.job_id}")
        try:
            while (event := await events.get()) is not None:
                yield event
                events.task_done()
            if painting.done():
                await painting
        finally:
            self._open.pop(order.job_id, None)
            self.steps_done.pop(order.job_id, None)
            self._sent_of.pop(order.job_id, None)
            painting.cancel()
            await asyncio.gather(painting, return_exceptions=True)

    async def _paint_into(self, events: asyncio.Queue[Event | None], order: Order) -> None:
        """Paint an order; each event is waited for until its receiver is done with it."""
        try:
            async with aclosing(self._paint(order)) as painted:
                async for event in painted:
                    events.put_nowait(event)
                    await events.join()
        finally:
            events.put_nowait(None)

    async def _paint(self, order: Order) -> AsyncGenerator[Event, None]:
        request = order.request
        model, able = self._models[request.model]
        # Also without pictures: whoever cannot finish an answer must not ask for one, because it costs money.
        pictures, mask = await self._darkroom.prepared(order)
        if words := self.troubles.get("") or self.troubles.get(request.model):
            raise PaintFailed(words)
        answer = None
        async with aclosing(self._asked(order, model, able, pictures, mask)) as events:
            async for event in events:
                if isinstance(event, Answer):
                    answer = event
                elif not isinstance(event, Partial):
                    yield event
                elif jpeg := await self._preview(event.data, order):
                    step = self.steps_done[order.job_id] = self.steps_done.get(order.job_id, 0) + 1
                    yield Preview(jpeg)
                    yield Progress(step, able.previews + 1)
        # More than were asked for were not ordered, and nobody gets them.
        images = () if answer is None else answer.pictures[: request.num_images_per_prompt]
        cost = None if answer is None else settled(able, answer.usage, len(images))
        if cost is not None:
            yield Billed(cost)
        data = [found for image in images if (found := await self._fetched(image))]
        if not data:
            raise _given_up(failures.no_picture(self.name), able)
        try:
            yield Finished(await self._darkroom.finished(order, data, model.source, self.name), "")
        except Unreadable as error:
            if able.prices.is_free:
                raise EngineDied(error.reason.sentence, at_last=failures.in_vain(error.reason.sentence)) from error
            raise

    async def _fetched(self, image: bytes | str) -> bytes | None:
        """The bytes of a picture that may be at an address; None if it cannot be had. What else was painted counts."""
        try:
            return image if isinstance(image, bytes) else await self._client.fetch(image)
        except ProviderError as error:
            log.warning("a picture of %s cannot be fetched: %s", self.name, error)
            return None

    async def _preview(self, data: bytes, order: Order) -> bytes:
        """A small JPEG of a partial image; nothing if none can be made: the answer is paid for all the same."""
        try:
            return await self._darkroom.preview(data, order.limits)
        except PaintFailed as error:
            log.warning("a partial image of job %d is not shown: %s", order.job_id, error)
            return b""

    async def _asked(
        self, order: Order, model: ModelConfig, able: Capabilities, pictures: Sequence[bytes], mask: bytes
    ) -> AsyncGenerator[Event | Partial | Answer, None]:
        """Send a request until it was taken; yields the partial images and the answer."""
        for tried in range(1, TRIES + 1):
            await asyncio.sleep(max(self._held_until - time.monotonic(), 0.0))
            async with self._throttle:
                pass
            yield Asking()
            began = self._sent_of[order.job_id] = time.monotonic()
            self._sent.append(began)
            try:
                async with aclosing(self._client.paint(order.request, model.source, able, pictures, mask)) as events:
                    async for event in events:
                        yield event
            except ProviderError as error:
                failure, retry_after = error.failure, error.retry_after
                self._sent_of.pop(order.job_id, None)
            else:
                self._away = None
                for stopped in ("", order.request.model):
                    self._stopped.pop(stopped, None)
                self._timings.answered(order.request.work, time.monotonic() - began)
                self.learned.set()
                return
            if not failure.may_be_billed:
                yield Billed(NOTHING)
            self._consider(failure, model)
            if failure.may_be_billed:
                raise _given_up(failure, able)
            wait = failures.seconds_to_wait(retry_after, datetime.now(UTC), tried)
            if failure.then is not Then.WAIT or tried == TRIES or wait > LONGEST_WAIT:
                raise PaintFailed(failure.words)
            log.info("the provider %s asks to wait %.0f s", self.name, wait)
            self._held_until = max(self._held_until, time.monotonic() + wait)

    def _consider(self, failure: Failure, model: ModelConfig) -> None:
        """Stop the lane if the failure says so, and tell the host."""
        if failure.is_away and not self._is_away:
            log.warning("%s", failure.remedy)
        self._away = (failure, time.monotonic() + _AWAY_SECONDS) if failure.is_away else None
        if failure.then in (Then.STOP, Then.STOP_MODEL):
            what = model.name if failure.then is Then.STOP_MODEL else ""
            self._stopped[what] = failure, time.monotonic() + _LOOK_AGAIN_SECONDS
            log.error("the provider %s is stopped: %s %s", self.name, failure.words, failure.remedy)
        elif failure.then is Then.FAIL:
            log.warning("a request to %s for the model %s failed: %s", self.name, model.name, failure.words)


def _given_up(failure: Failure, able: Capabilities) -> EngineError:
    """The error of a request that may have been billed: it is sent again only if that costs nothing."""
    if able.prices.is_free and failure.happened is not None:
        return EngineDied(failure.happened, at_last=failures.in_vain(failure.happened))
    return PaintFailed(failure.words)


class ImagesApiEngine:
    """A lane for each provider with models; `run` is the task that closes what they opened."""

    def __init__(self, config: Config, *, known: Mapping[str, str], provenance: Path | None = None) -> None:
        """Read the keys in the environment; `known` has the timings of lanes by their names.

        Raises ConfigError if a key is missing, or if what the host says of a model does not fit it.
        """
        self._darkroom = Darkroom(config.engine, provenance)
        lanes = []
        for provider in config.providers:
            models = [model for model in config.remote_models if model.provider == provider.name]
            for model in models:
                if words := trouble_of(model, provider):
                    raise ConfigError(f"model {model.name}: {words}")
            if models:
                lanes.append(
                    ProviderLane(provider, models, _key(provider), self._darkroom, known.get(provider.name, ""))
                )
        self._lanes = tuple(lanes)
        self.step_histogram = StepHistogram()
        """Nothing is counted in it: a provider tells of no steps."""

    @property
    def lanes(self) -> Sequence[ProviderLane]:
        """The lanes, in the order of the configuration."""
        return self._lanes

    @property
    def troubles(self) -> Mapping[str, str]:
        """The models of providers that are stopped."""
        return {name: words for lane in self._lanes for name, words in lane.troubles.items()}

    @property
    def timings(self) -> Timings:
        """The timings of the first lane."""
        return self._lanes[0].timings

    def cancel(self, job_id: JobId) -> None:
        """Wait no longer for a job."""
        for lane in self._lanes:
            lane.cancel(job_id)

    async def run(self) -> None:
        """Wait until cancelled, then close everything."""
        try:
            await asyncio.Event().wait()
        finally:
            for lane in self._lanes:
                await lane.close()
            await self._darkroom.close()


def _key(provider: ProviderConfig) -> str | None:
    key = read_provider_key(provider.name)
    if key is None and provider.is_openai:
        raise ConfigError(
            f"There is no key for the provider {provider.name}: set {provider_key(provider.name)} to it, or "
            f"{provider_key(provider.name)}_FILE to a file that holds it. Or remove the provider and its models."
        )
    return key
