"""Removing a result for good: its pictures from the table and the folder, and a note that its message owes."""

from __future__ import annotations

import aiosqlite

from bot.errors import Refers, UserError, refer
from bot.jobs import Clock, Job, JobStatus, MessageId, Scope, to_text
from bot.storage.cases import DELETE, By, Case, add_case
from bot.storage.database import Database
from bot.storage.images import ImageFolder

# Only a server's own: a moderator elsewhere is told of no such message.
BY_MESSAGE = "SELECT * FROM jobs WHERE message_id = ? AND guild_id = ?"

OWED = """
SELECT jobs.* FROM removals JOIN jobs ON jobs.id = removals.job_id WHERE removals.noted_at IS NULL ORDER BY jobs.id
"""


class Removals:
    """Removes results, and remembers whose message does not say so yet."""

    def __init__(self, database: Database, images: ImageFolder, clock: Clock) -> None:
        self._database = database
        self._images = images
        self._clock = clock

    async def remove(self, by: By, message_id: MessageId) -> tuple[Case, Job]:
        """Remove the pictures of the result that a message shows. Raises UserError when it is none of this server."""

        async def work(connection: aiosqlite.Connection) -> tuple[Case, Job, list[str]]:
            cursor = await connection.execute(BY_MESSAGE, (message_id, by.guild_id))
            row = await cursor.fetchone()
            if row is None:
                raise UserError("That message is no result on this server. Copy the link of one, or its id.")
            job = Job.from_row(row)
            if job.status is not JobStatus.DELIVERED:
                raise UserError(
                    f"That request is {job.status}: it shows no pictures. "
                    f"{refer(Refers.COMMAND, 'mod cancel')} ends open ones."
                )
            cursor = await connection.execute("SELECT path FROM images WHERE job_id = ?", (job.id,))
            paths = [row["path"] for row in await cursor.fetchall()]
            if not paths:
                raise UserError("The pictures of that message were removed before.")
            await connection.execute("DELETE FROM images WHERE job_id = ?", (job.id,))
            await connection.execute("INSERT INTO removals (job_id) VALUES (?)", (job.id,))
            case = await add_case(
                connection,
                to_text(self._clock()),
                by,
                DELETE,
                (Scope.PERSON, job.requester.user_id),
                {"message": message_id, "pictures": len(paths)},
                {"message": message_id, "pictures": 0},
            )
            return case, job, paths

        case, job, paths = await self._database.write(work)
        # What a crash leaves behind here is swept at the next start, since no row names it.
        await self._images.drop(paths)
        return case, job

    async def owed(self) -> list[Job]:
        """Removed results whose messages do not say so yet."""
        return [Job.from_row(row) for row in await self._database.fetch_all(OWED)]

    async def noted(self, job: Job) -> None:
        """Note that the message says so, or never will."""
        await self._database.execute(
            "UPDATE removals SET noted_at = ? WHERE job_id = ?", (to_text(self._clock()), job.id)
        )
