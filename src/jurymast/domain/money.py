"""Money and quantities as integers.

Money is in micro-dollars (1 USD = 1,000,000), quantities in centi-contracts (1 contract = 100), prices
in micro-dollars per contract. Floats never hold money: 16 % of recorded order-book changes have
fractional sizes, and float sums of them leave phantom amounts behind.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final, TypeAlias

Micros: TypeAlias = int
"""Micro-dollars."""
Centi: TypeAlias = int
"""Centi-contracts."""

USD: Final[Micros] = 1_000_000
CENT: Final[Micros] = 10_000
CONTRACT: Final[Centi] = 100
PAYOUT: Final[Micros] = USD
"""What one winning contract pays."""


def usd(amount: str | int | Decimal) -> Micros:
    """Dollars to micro-dollars. Raises ValueError below a micro-dollar or for non-numbers."""
    try:
        micros = Decimal(amount) * USD
    except ArithmeticError as error:
        raise ValueError(f"{amount!r} is no amount of dollars") from error
    if not micros.is_finite() or micros != micros.to_integral_value():
        raise ValueError(f"{amount!r} dollars is not a whole number of micro-dollars")
    return int(micros)


def format_usd(amount: Micros, *, places: int = 2, sign: bool = False) -> str:
    """Micro-dollars as text, rounded half to even: ``$1,234.56``, ``-$0.07``, with ``sign`` ``+$3.00``."""
    value = (Decimal(abs(amount)) / USD).quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN)
    prefix = "-" if amount < 0 and value else "+" if sign else ""
    return f"{prefix}${value:,}"


def format_cents(price: Micros) -> str:
    """A price as traders write it: ``62c``, ``61.5c``."""
    cents = (Decimal(price) / CENT).normalize()
    return f"{cents:f}c"


def format_contracts(count: Centi) -> str:
    """Centi-contracts as contracts: ``12``, ``0.5``."""
    return f"{(Decimal(count) / CONTRACT).normalize():f}"


def notional(price: Micros, count: Centi) -> Micros:
    """Price times quantity, rounded up to the micro-dollar (what it can cost at most)."""
    return -(-price * count // CONTRACT)
