"""What a person, a server and the host may spend on providers in 24 hours, and what is left of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from bot.config import LimitsConfig
from bot.errors import Rejected
from bot.language import mark, sentence
from bot.money import Micros, dollars, micros_of_cents, roughly
from bot.policy.limits import HOST, QUOTA_WINDOW, LimitName, Limits, Origin
from bot.storage.spending import Payments, Spent

HOST_MONEY = "host_money"
"""The limit that only the host can change."""

WHOSE = {
    LimitName.MONEY: mark("your budget here"),
    LimitName.SERVER_MONEY: mark("the budget of this server"),
    HOST_MONEY: mark("the budget of this Atelier"),
}


@dataclass(frozen=True, slots=True)
class Fund:
    """One limit of money in 24 hours, and what was spent of it."""

    name: str
    most: Micros
    origin: Origin
    spent: Payments

    @property
    def used(self) -> Micros:
        """What is spent or held now."""
        return Micros(sum(micros for _, micros in self.spent))

    @property
    def left(self) -> Micros:
        """What is left."""
        return Micros(max(self.most - self.used, 0))

    def fits_at(self, micros: Micros) -> datetime | None:
        """When an amount will fit; None if it fits now, or never."""
        over = self.used + micros - self.most
        if over <= 0 or micros > self.most:
            return None
        for at, amount in self.spent:
            over -= amount
            if over <= 0:
                return at + QUOTA_WINDOW
        return None


@dataclass(frozen=True, slots=True)
class Purse:
    """The three limits that hold for a request: of the person, of the server and of the host."""

    funds: tuple[Fund, Fund, Fund]

    @property
    def mine(self) -> Fund:
        """What the person may spend."""
        return self.funds[0]

    @property
    def left(self) -> Micros:
        """What can be spent now."""
        return min(fund.left for fund in self.funds)

    def refusal(self, micros: Micros) -> Rejected | None:
        """Why an amount cannot be spent, and when it can; None if it can."""
        if micros <= 0:
            return None
        for fund in self.funds:
            if fund.used + micros <= fund.most:
                continue
            whose = sentence(WHOSE[fund.name])
            words = sentence(
                "This costs about {cost}, and {left} of {whose} is left: {used} of {most} in 24 hours is spent "
                "({origin}).",
                cost=roughly(micros),
                left=dollars(fund.left),
                whose=whose,
                used=dollars(fund.used),
                most=dollars(fund.most),
                origin=fund.origin.reference,
            )
            if micros > fund.most:
                words = sentence(
                    "This costs about {cost}, more than {whose} for 24 hours, {most} ({origin}). Ask for fewer or "
                    "smaller pictures, or choose another model.",
                    cost=roughly(micros),
                    whose=whose,
                    most=dollars(fund.most),
                    origin=fund.origin.reference,
                )
            return Rejected(
                words,
                rule=fund.name,
                retry_at=fund.fits_at(micros),
                # What the host alone can raise is nothing that moderators can change.
                origin=str(fund.origin) if fund.name == LimitName.MONEY or fund.origin != HOST else "",
                asked=fund.used + micros,
                allowed=fund.most,
            )
        return None


def purse_of(limits: Limits, defaults: LimitsConfig, spent: Spent) -> Purse:
    """What may be spent, by the limits. A server's limit never allows more than the host's default for servers."""
    server, origin = limits.server_money.value, limits.server_money.origin
    if server > defaults.server_money:
        server, origin = defaults.server_money, HOST
    return Purse(
        (
            Fund(LimitName.MONEY, micros_of_cents(limits.money.value), limits.money.origin, spent.person),
            Fund(LimitName.SERVER_MONEY, micros_of_cents(server), origin, spent.server),
            Fund(HOST_MONEY, micros_of_cents(defaults.host_money), HOST, spent.host),
        )
    )
