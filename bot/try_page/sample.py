"""What is there when the page opens: the server's gallery, and a result of the built-in model with all its buttons."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from bot.app import App
from bot.config import EMBEDDED_MODEL
from bot.jobs import ChannelId, Destination, GuildId, Image, MessageId, Requester, UserId
from bot.picture_files import measure
from bot.policy.limits import GALLERY, SERVER
from bot.requests.resolve import usual_request
from bot.storage.cases import By
from bot.try_page.place import Place

PROMPT = "a robot on the moon"
SEED = 6
FILE = Path(__file__).parent / "sample.png"
"""What the built-in model paints for this prompt and seed."""

FAVOURITES = 1
"""How many people must favour a result until it is in the gallery: on a server of three, the usual number never do."""


async def set_gallery(app: App, place: Place) -> None:
    """Make the channel for favourites the server's gallery, as the moderator would."""
    by = By(GuildId(place.guild.id), UserId(place.seats["moderator"].id))
    await app.cases.change(by, "gallery", SERVER, {GALLERY: (place.gallery.id, FAVOURITES)})


async def _admit(_: Any) -> None:
    """Let the request in: no person asked for it."""


async def show_sample(app: App, client: Any, place: Place) -> None:
    """Post the picture in the main channel as one that somebody asked for; nothing with a model that did not paint it.

    It takes the way of every result from the database on, so that its buttons, its reactions and its numbers are real.
    """
    model = app.config.models[0]
    if model != EMBEDDED_MODEL:
        return
    png = FILE.read_bytes()
    size = measure(png)
    assert size is not None  # noqa: S101 - it is a PNG of ours
    image = Image(png, SEED, *size.size, hashlib.sha256(png).hexdigest(), nsfw=0.0)
    requester = Requester(UserId(place.seats["another"].id), GuildId(place.guild.id))
    job = await app.queue.enqueue(
        requester,
        Destination(ChannelId(place.main.id)),
        replace(usual_request(model), prompt=PROMPT, seed=SEED),
        interaction_id=None,
        admit=_admit,
        seconds=0.0,
    )
    assert job is not None  # noqa: S101 - it has no interaction that came before
    await app.queue.adopt(job, [image])
    message = await client.get_partial_messageable(place.main.id).send(f"**{PROMPT}**")
    await app.queue.place_message(job.id, MessageId(message.id))
