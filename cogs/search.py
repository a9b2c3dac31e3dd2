"""/search: results found by words, by meaning, by pictures and by filters, page by page, for the person alone."""

from __future__ import annotations

from dataclasses import dataclass

import discord
from discord import app_commands
from discord.ext import commands

from bot import responses
from bot.client import Client
from bot.errors import UserError
from bot.jobs import Clock, Job, JobId, PictureRef, utcnow
from bot.language import mark, say
from bot.policy.policy import Policy
from bot.requests.admission import Admission
from bot.requests.uploads import CALLED, check_facts
from bot.search import queries
from bot.search.client import Answer, Search
from bot.search.queries import MOST_CHARACTERS, Query
from bot.search.sent import SentPictures
from bot.search.visibility import Facts, Scope, Seer, may_see
from bot.storage.queue import Queue
from cogs import _controls, _people, _requests, _searching, _targets, _words
from cogs._buttons import add_cog, button, pressed
from cogs._gallery import Gallery, Remembered
from cogs._pictures import send_pictures
from cogs.intake import Intake

PAGE = 5
"""Results of a page: as many buttons as fit into a row."""

SCOPES = list(Scope)

NOTHING = mark("Type words to look for, or attach a picture as `image:` to find results that look like it.")

_PLACES = {
    Scope.MINE: "my results",
    Scope.PUBLIC: "this server's public results",
    Scope.SERVER: "this server (moderators)",
    Scope.ALL: "all servers (host)",
}


@dataclass(frozen=True, slots=True)
class Session:
    """A search whose pages can be turned."""

    scope: Scope
    answer: Answer
    by_picture: bool


class SearchCog(commands.Cog, name="Search"):
    """Finds results, and shows only what the person may see now."""

    def __init__(
        self,
        search: Search,
        sent: SentPictures,
        queue: Queue,
        admission: Admission,
        policy: Policy,
        intake: Intake,
        gallery: Gallery,
        clock: Clock,
        *,
        checks_uploads: bool,
    ) -> None:
        """`checks_uploads` is whether the host has pictures checked for nudity."""
        self._search = search
        self._sent = sent
        self._queue = queue
        self._admission = admission
        self._policy = policy
        self._intake = intake
        self._gallery = gallery
        self._clock = clock
        self._checks_uploads = checks_uploads
        self._sessions = Remembered[Session]()

    @app_commands.command(description="Find results by words, by meaning, by a picture and by filters")
    @app_commands.guild_only()
    @app_commands.rename(scope="in")
    @app_commands.describe(
        query='Words, "phrases", -words to leave out, and filters such as by:me tag:castle rated:3 before:7d',
        image="A picture: results that look like it are found. It is not kept",
        scope="Where to look; this server's public results if you do not say",
    )
    @app_commands.choices(scope=[app_commands.Choice(name=words, value=scope) for scope, words in _PLACES.items()])
    async def search(
        self,
        interaction: discord.Interaction[Client],
        query: app_commands.Range[str, 1, MOST_CHARACTERS] | None = None,
        image: discord.Attachment | None = None,
        scope: str = Scope.PUBLIC,
    ) -> None:
        """Show the first page of what is found."""
        if query is None and image is None:
            raise UserError(NOTHING)
        wanted = Query() if query is None else queries.parse(query, me=interaction.user.id, now=self._clock())
        if image is not None:
            check_facts(CALLED["image"], image.size, image.width, image.height, image.content_type)
        await self._begin(interaction, wanted, Scope(scope), image=image)

    @pressed("alike")
    async def alike_pressed(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        """Show results whose prompt is like that of a result."""
        job, _ = await _targets.result(self._queue, interaction, about.job_id)
        await self._begin(interaction, queries.like(job.request.title), Scope.PUBLIC, without=job.id)

    @pressed("lookalike")
    async def lookalike_pressed(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        """Show results whose pictures look like one of a result."""
        job, _ = await _targets.result(self._queue, interaction, about.job_id)
        await self._begin(interaction, Query(), Scope.PUBLIC, without=job.id, picture=about)

    async def _begin(
        self,
        interaction: discord.Interaction[Client],
        query: Query,
        scope: Scope,
        *,
        without: JobId | None = None,
        image: discord.Attachment | None = None,
        picture: PictureRef | None = None,
    ) -> None:
        await responses.defer(interaction, ephemeral=True, thinking=True)
        seer = await _searching.seer_of(interaction, self._search, scope)
        look = None
        if image is not None:
            upload = (await self._intake.fetched({"image": image}))["image"]
            limits = None
            if self._checks_uploads:
                place = _people.destination(interaction)
                limits = await self._policy.picture_limits(_people.place(interaction), place.channels)
            look = await self._sent.look(upload.data, limits)
        answer = await self._search.find(query, seer, without, look=look, picture=picture)
        session = Session(seer.scope, answer, by_picture=look is not None or picture is not None)
        number = self._sessions.add(interaction.user.id, session)
        await self._show(interaction, number, session, 0, seer)

    @pressed("foundpage")
    async def page_pressed(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        """Turn to another page; the number of the control's job is that of the search."""
        session = self._sessions.of(interaction.user.id, about.job_id)
        await responses.defer(interaction)
        seer = await _searching.seer_of(interaction, self._search, session.scope)
        await self._show(interaction, about.job_id, session, about.number, seer)

    @pressed("found")
    async def found_pressed(self, interaction: discord.Interaction[Client], about: PictureRef) -> None:
        """Show a result that was found; the number of the control is that of the scope."""
        await responses.defer(interaction, ephemeral=True, thinking=True)
        seer = await _searching.seer_of(interaction, self._search, SCOPES[min(about.number, len(SCOPES) - 1)])
        job = await self._visible(about.job_id, seer)
        if job is None:
            raise UserError(_targets.NO_RESULT)
        pictures = await self._queue.pictures(job.id)
        view = None
        if job.requester.guild_id == seer.guild_id:
            view = _controls.controls_of(job, len(pictures), self._admission)
        await send_pictures(interaction, self._queue, job, pictures, _requests.result(job, pictures), view)

    async def _visible(self, job_id: JobId, seer: Seer) -> Job | None:
        """A result, if the person may see it now."""
        job = await self._queue.get(job_id)
        if job is None:
            return None
        has_pictures, is_replaced = await self._queue.has_images(job_id), await self._queue.is_replaced(job_id)
        facts = Facts.of(job, has_pictures=has_pictures, is_replaced=is_replaced)
        return job if may_see(facts, seer) else None

    async def _show(
        self, interaction: discord.Interaction[Client], number: JobId, session: Session, page: int, seer: Seer
    ) -> None:
        """Put a page in the place of the answer: whatever the person may not see any more is left out."""
        notes = _searching.notes(session.answer, by_picture=session.by_picture)
        hits = session.answer.hits[page * PAGE : (page + 1) * PAGE]
        shown = [(job, hit) for hit in hits if (job := await self._visible(JobId(hit.job_id), seer)) is not None]
        if not session.answer.hits:
            await responses.edit_deferred(interaction, "\n".join([_searching.nothing(seer.scope), *notes]))
            return
        pages = -(-len(session.answer.hits) // PAGE)
        first = page * PAGE + 1
        count = len(session.answer.hits)
        head = say("**{count} found**, page {page} of {pages}", count=count, page=page + 1, pages=pages)
        lines = [
            head,
            *(_searching.line(interaction.client, at, job, hit) for at, (job, hit) in enumerate(shown, start=first)),
        ]
        if len(shown) < len(hits):
            lines.append(say("-# Some results of this page were deleted, or you may not see them any more."))
        view = discord.ui.View(timeout=None)
        scope = SCOPES.index(seer.scope)
        for at, (job, _) in enumerate(shown, start=first):
            view.add_item(button("found", PictureRef(job.id, scope), say("Show {number}", number=at), row=0))
        if page:
            view.add_item(button("foundpage", PictureRef(number, page - 1), say("◀ Back"), row=1))
        if page + 1 < pages:
            view.add_item(button("foundpage", PictureRef(number, page + 1), say("More ▶"), row=1))
        files = await self._gallery.drawn(interaction, [(job, hit.picture) for job, hit in shown], first)
        words = _words.fitting([*lines, *notes])
        await responses.edit_deferred(interaction, words, view=view, attachments=files)


async def setup(client: Client) -> None:
    """Add the cog, its command and its buttons."""
    app = client.app
    cog = SearchCog(
        app.search,
        SentPictures(app.config.engine.likeness),
        app.queue,
        app.admission,
        app.policy,
        Intake.of(client),
        Gallery(app.queue, app.preferences),
        utcnow,
        checks_uploads=app.config.engine.safety == "on",
    )
    _people.open_to_messages(client, cog.search)
    await add_cog(client, cog)
