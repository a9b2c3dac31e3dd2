"""Amounts of money: whole micro-dollars, of which a million are one US dollar. No amount is ever a float."""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal
from typing import NewType

Micros = NewType("Micros", int)
"""Millionths of a US dollar."""

DOLLAR = 1_000_000
CENT = 10_000
NOTHING = Micros(0)


def micros_of_dollars(dollars: Decimal) -> Micros:
    """An amount in dollars as micro-dollars, rounded up."""
    return Micros(int((dollars * DOLLAR).to_integral_value(ROUND_CEILING)))


def micros_of_cents(cents: int) -> Micros:
    """An amount in whole cents as micro-dollars."""
    return Micros(cents * CENT)


def dollars(micros: int) -> str:
    """An amount as people read it: in cents, or more exactly below ten cents, such as $1.20 or $0.0421."""
    whole, rest = divmod(abs(micros), DOLLAR)
    digits = f"{rest:06d}"
    exact = digits.rstrip("0").ljust(2, "0")
    kept = digits[:2] if abs(micros) >= 10 * CENT and rest % CENT == 0 else exact
    return f"{'-' if micros < 0 else ''}${whole:,}.{kept}"
