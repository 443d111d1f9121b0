"""Kalshi's fixed-point text to whole numbers and back, and the prices a market accepts.

Prices arrive as dollars with up to six decimals (``"0.5600"``), counts as contracts with two
(``"10.00"``). They become micro-dollars and centi-contracts without ever being floats: 16 % of recorded
book changes have fractional sizes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from jurymast.domain.money import CONTRACT, PAYOUT, USD, Centi, Micros

_DECIMAL: Final = re.compile(r"(-?)(\d{1,15})(?:\.(\d{1,9}))?", re.ASCII)
_DOLLAR_PLACES: Final = 6
_COUNT_PLACES: Final = 2
RANGES_MAX: Final = 64


def micros(text: object) -> Micros:
    """Dollars as text to micro-dollars. Raises ValueError for anything but an exact fixed-point text."""
    return _scaled(text, _DOLLAR_PLACES)


def centi(text: object) -> Centi:
    """Contracts as text to centi-contracts. Raises ValueError for anything but an exact fixed-point text."""
    return _scaled(text, _COUNT_PLACES)


def dollars_text(price: Micros) -> str:
    """A price for a request: four decimals, as many as requests may carry.

    Raises ValueError for a price that needs more: it would be rounded by somebody.
    """
    if price < 0 or price % (USD // 10_000):
        raise ValueError(f"a price of {price} micro-dollars does not fit four decimals of a dollar")
    return f"{price // USD}.{price % USD // 100:04d}"


def count_text(count: Centi) -> str:
    """A count for a request: ``10.00``. Raises ValueError for a negative one."""
    if count < 0:
        raise ValueError(f"a count of {count} centi-contracts is negative")
    return f"{count // CONTRACT}.{count % CONTRACT:02d}"


def _scaled(text: object, places: int) -> int:
    found = _DECIMAL.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise ValueError(f"{_quoted(text)} is no fixed-point text")
    sign, whole, fraction = found[1], found[2], (found[3] or "").ljust(places, "0")
    if fraction[places:].strip("0"):
        raise ValueError(f"{_quoted(text)} has more than {places} decimals")
    value = int(whole + fraction[:places])
    return -value if sign else value


def _quoted(value: object) -> str:
    return repr(value)[:80]


@dataclass(frozen=True, slots=True)
class PriceRange:
    """Prices from ``start`` to ``end`` in steps, in micro-dollars."""

    start: Micros
    end: Micros
    step: Micros

    def __post_init__(self) -> None:
        if not (0 <= self.start < self.end <= PAYOUT and 0 < self.step <= self.end - self.start):
            raise ValueError(f"a price range from {self.start} to {self.end} in steps of {self.step}")


@dataclass(frozen=True, slots=True)
class PriceGrid:
    """The YES prices a market accepts. ``price_ranges`` is the only truth; structure names are labels.

    Ranges follow each other without gap; a border belongs to both. $0 and $1 are no prices.
    """

    ranges: tuple[PriceRange, ...]

    def __post_init__(self) -> None:
        if not 0 < len(self.ranges) <= RANGES_MAX:
            raise ValueError(f"a market has 1 to {RANGES_MAX} price ranges, not {len(self.ranges)}")
        for below, above in zip(self.ranges, self.ranges[1:], strict=False):
            if below.end != above.start:
                raise ValueError(f"price ranges leave a gap or overlap between {below.end} and {above.start}")

    @classmethod
    def of(cls, ranges: Iterable[PriceRange]) -> PriceGrid:
        """From ranges in any order."""
        return cls(tuple(sorted(ranges, key=lambda each: each.start)))

    def accepts(self, price: Micros) -> bool:
        """Whether a YES price may be sent."""
        return 0 < price < PAYOUT and any(
            each.start <= price <= each.end and (price - each.start) % each.step == 0 for each in self.ranges
        )

    def at_most(self, price: Micros) -> Micros | None:
        """The dearest price on the grid that is not above ``price``; None when there is none."""
        for each in reversed(self.ranges):
            if price >= each.start:
                top = min(price, each.end)
                found = top - (top - each.start) % each.step
                if found >= PAYOUT:
                    found -= each.step
                if found > 0:
                    return found
        return None

    def at_least(self, price: Micros) -> Micros | None:
        """The cheapest price on the grid that is not below ``price``; None when there is none."""
        for each in self.ranges:
            if price <= each.end:
                low = max(price, each.start, 1)
                found = low + (each.start - low) % each.step
                if found <= each.end and found < PAYOUT:
                    return found
        return None
