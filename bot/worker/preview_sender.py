"""Previews of orders on their way to the bot: when one is due, and whether the safety check lets it go."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from bot.engine.wire import Frame, OrderKey, PreviewFrame, Stage, StageFrame
from bot.errors import PaintFailed
from bot.jobs import PictureLimits
from bot.worker import previews
from bot.worker.finishing import Finisher
from bot.worker.orders import PaintingOrder
from bot.worker.previews import LatentPreview
from bot.worker.round_robin import RoundRobinPool
from bot.worker.stages import Stages


class PreviewSender:
    """Shows how orders look while they are painted."""

    def __init__(
        self,
        finisher: Finisher,
        send: Callable[[Frame], None],
        stages: Stages,
        threads: RoundRobinPool,
        every: float,
    ) -> None:
        """Send a preview of each order every `every` seconds, made in `threads`; 0 sends none."""
        self._finisher, self._send, self._stages, self._threads, self._every = finisher, send, stages, threads, every
        self._latent_previews: dict[str, LatentPreview] = {}

    def show(self, key: OrderKey, order: PaintingOrder, pipeline: Any) -> None:
        """Show how an order looks so far, if it is time to and its model allows previews."""
        now = time.monotonic()
        if not self._every or now < order.shown_at + self._every:
            return
        latents, model = order.tap.latents, order.request.model
        # No preview if the model has a safety checker, which has not seen it, or packs its latents as Flux does.
        if latents is None or latents.ndim not in (4, 5) or getattr(pipeline, "safety_checker", None) is not None:
            return
        if model not in self._latent_previews:
            factor = getattr(pipeline, "vae_scale_factor", None) or pipeline.vae_scale_factor_spatial
            self._latent_previews[model] = LatentPreview(pipeline.vae, factor)
        order.shown_at = now
        latents = self._latent_previews[model].one_frame(latents)
        showing = self._shown(key, self._latent_previews[model], latents.float().cpu().numpy(), order.limits)
        self._threads.submit(order.owner, showing)

    def _shown(
        self, key: OrderKey, latent_preview: LatentPreview, latents: Any, limits: PictureLimits
    ) -> Iterator[None]:
        """Send a preview, unless the safety check would hide one of its pictures. It runs in an encoder's thread."""
        with self._stages.beside(StageFrame("", Stage.FINISH, (key,))):
            if self._may_be_shown(latent_preview, latents, limits):
                self._send(PreviewFrame(*key, previews.encode(latent_preview.picture(latents))))
        yield

    def _may_be_shown(self, latent_preview: LatentPreview, latents: Any, limits: PictureLimits) -> bool:
        if (nsfw := self._finisher.nsfw) is None:
            return True
        try:
            scores = [nsfw.score(latent_preview.picture(latents[[at]])) for at in range(len(latents))]
        except PaintFailed:
            # The log has the reason. The finished picture is checked again.
            return False
        return not any(map(limits.hides, scores))
