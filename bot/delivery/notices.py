"""Tells a server's log channel of cases and reports, and the people who reported a result what became of that.

What is still to be said is read from the rows, so that it is said after a restart, too, and once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from contextlib import suppress
from typing import Protocol

from bot.delivery.gate import pause
from bot.delivery.poster import in_time
from bot.errors import DeliveryError, TryLater
from bot.jobs import ChannelId, UserId
from bot.policy.limits import log_channel_of
from bot.storage.cases import Case, Cases
from bot.storage.database import Database, insist
from bot.storage.member_reports import MemberReports, Report
from bot.storage.rules import Rules

NOTICE_SECONDS = 10.0
"""How long one message may take."""
GATHER_SECONDS = 0.2
"""How long changes of the database are gathered before the rows are read again."""
log = logging.getLogger(__name__)


class NoticePoster(Protocol):
    """What a surface implements to send notices. Each raises DeliveryError, and TryLater if it may work later."""

    async def post_case(self, case: Case, channel_id: ChannelId) -> None:
        """Tell a log channel what a moderator did."""
        ...

    async def post_report(self, report: Report, channel_id: ChannelId) -> None:
        """Tell a log channel that a result was reported."""
        ...

    async def tell_reporter(self, report: Report, user_id: UserId) -> None:
        """Tell a person, in a direct message, what became of their report."""
        ...


class Notices:
    """Sends notices. The task `run` owns it."""

    def __init__(self, database: Database, rules: Rules, cases: Cases, reports: MemberReports) -> None:
        self._changed = database.listen()
        self._rules = rules
        self._cases = cases
        self._reports = reports
        self._poster: NoticePoster | None = None
        self._attached = asyncio.Event()

    def attach(self, poster: NoticePoster) -> None:
        """Use `poster` from now on."""
        self._poster = poster
        self._attached.set()

    async def run(self) -> None:
        """Send what is to be said, first that of an earlier run, until cancelled."""
        await self._attached.wait()
        tries = 0
        while True:
            self._changed.clear()
            tries = 0 if await self._catch_up() else tries + 1
            with suppress(TimeoutError):
                async with asyncio.timeout(pause(tries) if tries else None):
                    await self._changed.wait()
            await asyncio.sleep(GATHER_SECONDS)

    async def _catch_up(self) -> bool:
        """Send all notices; False if one must be tried again. One that cannot be sent holds up no other."""
        assert self._poster is not None  # noqa: S101 - it is attached
        done = True
        for case in await insist(self._cases.unlogged):
            channel_id = log_channel_of(await insist(self._rules.book, case.guild_id))
            if channel_id is None or await self._sent(self._poster.post_case(case, channel_id)):
                await insist(self._cases.logged, case)
            else:
                done = False
        for report in await insist(self._reports.unlogged):
            channel_id = log_channel_of(await insist(self._rules.book, report.guild_id))
            if channel_id is None or await self._sent(self._poster.post_report(report, channel_id)):
                await insist(self._reports.logged, report)
            else:
                done = False
        for report, user_id in await insist(self._reports.untold):
            if await self._sent(self._poster.tell_reporter(report, user_id)):
                await insist(self._reports.told, report, user_id)
            else:
                done = False
        return done

    async def _sent(self, sending: Awaitable[None]) -> bool:
        """Whether a notice was sent, or can never be sent; False if it must be tried again."""
        try:
            await in_time(sending, NOTICE_SECONDS)
        except TryLater as error:
            log.warning("a notice cannot be sent now: %s", error)
            return False
        except DeliveryError as error:
            # A person who takes no direct messages reads it with /report. Discord's text may quote the message.
            log.info("a notice cannot be sent: %s", type(error).__name__)
        except Exception as error:  # noqa: BLE001 - it is logged
            log.error("a notice was not sent, because of a bug: %s", type(error).__name__)  # noqa: TRY400
        return True
