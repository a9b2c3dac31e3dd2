"""What is asked before a request is accepted: what it costs in painting time and in money, and what is left."""

from __future__ import annotations

from collections.abc import Sequence

from bot.language import lasting, mark, say
from bot.money import dollars, roughly
from bot.policy.purse import WHOSE, Fund, Purse
from bot.requests.admission import Quote
from cogs import _words


def bill(*quotes: Quote, is_big: bool = True) -> str:
    """The question before requests are accepted: what they would cost together, and what is left."""
    allowance, time = quotes[0].allowance, sum(quote.seconds for quote in quotes)
    purse = next((quote.purse for quote in quotes if quote.purse is not None), None)
    painted = _words.amount(quotes[0].request)
    if len(quotes) > 1:
        painted = _words.pictures(sum(quote.request.num_images_per_prompt for quote in quotes))
    if purse is not None:
        question = mark("{pictures}, {estimate} {left} Paint it?")
        if time:
            question = mark(
                "{pictures}, about {time} of your {mine} of painting time, and in money {estimate} {left} Paint it?"
            )
        return say(
            question,
            pictures=painted,
            estimate=estimated(quotes),
            left=money_left(purse),
            time=lasting(time),
            mine=lasting(allowance.left),
        )
    question = mark("{pictures}, about {time} of the {left} of painting time that you have left today. Paint it?")
    if is_big:
        question = mark(
            "This is a big one: {pictures}, about {time} of the {left} of painting time that you have left today. "
            "Paint it?"
        )
    return say(
        question,
        pictures=painted,
        time=lasting(time),
        left=lasting(allowance.left),
    )


def estimated(quotes: Sequence[Quote]) -> str:
    """What requests to providers will probably cost, as the end of a sentence and one more."""
    names = {quote.request.provider for quote in quotes if quote.micros}
    provider = names.pop() if len(names) == 1 else say("each provider")
    micros = sum(quote.micros for quote in quotes)
    return say(
        "about {money}. This is an estimate: {provider} says afterwards what it costs, and that is what counts. If it "
        "fails, you pay nothing.",
        money=roughly(micros),
        provider=provider,
    )


def money_left(purse: Purse) -> str:
    """What a person can spend now, and what holds them back, as a sentence."""
    least = min(purse.funds, key=lambda fund: fund.left)
    return say(
        "{left} of {whose} is left, of {most} in 24 hours.",
        left=dollars(least.left),
        whose=say(WHOSE[least.name]),
        most=dollars(least.most),
    )


def spent(fund: Fund) -> str:
    """What is spent and left of a limit of money, and who decided it."""
    return say(
        "**{left}** of {whose} is left: {used} of {most} in 24 hours is spent or held ({origin}).",
        left=dollars(fund.left),
        whose=say(WHOSE[fund.name]),
        used=dollars(fund.used),
        most=dollars(fund.most),
        origin=_words.origin(fund.origin),
    )
