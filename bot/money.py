"""Amounts of money: whole micro-dollars, of which a million are one US dollar. No amount is ever a float."""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal
from typing import NewType

Micros = NewType("Micros", int)
"""Millionths of a US dollar."""

DOLLAR = 1_000_000
CENT = 10_000
_TENTH = 1_000
NOTHING = Micros(0)


def micros_of_dollars(dollars: Decimal) -> Micros:
    """An amount in dollars as micro-dollars, rounded up."""
    return Micros(int((dollars * DOLLAR).to_integral_value(ROUND_CEILING)))


def micros_of_cents(cents: int) -> Micros:
    """An amount in whole cents as micro-dollars."""
    return Micros(cents * CENT)


def dollars(micros: int) -> str:
    """An amount as people read it: exactly, with two digits behind the point at least, such as $1.20 or $0.0421."""
    whole, rest = divmod(abs(micros), DOLLAR)
    return f"{'-' if micros < 0 else ''}${whole:,}.{f'{rest:06d}'.rstrip('0').ljust(2, '0')}"


def roughly(micros: int) -> str:
    """An estimate as people read it: rounded up to a tenth of a cent."""
    return dollars(-(-micros // _TENTH) * _TENTH)
