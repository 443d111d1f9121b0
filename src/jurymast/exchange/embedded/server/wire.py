"""Whole numbers to Kalshi's fixed-point text and back, and the names things have on the wire.

Written apart from the client's reader on purpose: two readings of the same documents check each other.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final

from jurymast.domain.errors import OrderRejected
from jurymast.domain.money import CONTRACT, USD, Centi, Micros
from jurymast.exchange.embedded.records import SECOND_US

_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 (UTC, and written without its offset)
_COUNT: Final = re.compile(r"(\d{1,9})(?:\.(\d{1,2}))?", re.ASCII)
_PRICE: Final = re.compile(r"(\d{1,9})\.(\d{2,4})", re.ASCII)
_ORDER: Final = re.compile(r"0a{7}-0000-4000-8000-([0-9a-f]{12})")


@lru_cache(maxsize=16_384)
def dollars(amount: Micros) -> str:
    """Four decimals, six when the amount needs them: ``0.5600``, ``-1.234567``."""
    whole, part = divmod(abs(amount), USD)
    digits = f"{part:06d}"
    if digits.endswith("00"):
        digits = digits[:4]
    return f"{'-' if amount < 0 else ''}{whole}.{digits}"


def dollars6(amount: Micros) -> str:
    """Always six decimals, as costs and fees are written on the websocket."""
    whole, part = divmod(abs(amount), USD)
    return f"{'-' if amount < 0 else ''}{whole}.{part:06d}"


@lru_cache(maxsize=16_384)
def fp(count: Centi) -> str:
    """Contracts with two decimals: ``10.00``, ``-0.50``."""
    whole, part = divmod(abs(count), CONTRACT)
    return f"{'-' if count < 0 else ''}{whole}.{part:02d}"


def cents(amount: Micros) -> int:
    """Whole cents, rounded down, where the wire is still in them."""
    return amount * 100 // USD


def rfc3339(at_us: int) -> str:
    """``2026-01-05T12:00:00.123456Z``; without a fraction when there is none."""
    return (_EPOCH + timedelta(microseconds=at_us)).isoformat() + "Z"


def stamp(at: datetime) -> str:
    """A UTC time as RFC 3339."""
    return at.replace(tzinfo=None).isoformat() + "Z"


def milliseconds(at_us: int) -> int:
    """Unix milliseconds of an engine time."""
    return at_us // 1_000


def seconds(at_us: int) -> int:
    """Unix seconds of an engine time."""
    return at_us // SECOND_US


def outcome_side(bid: bool) -> str:
    """Which contract an order is for."""
    return "yes" if bid else "no"


def book_side(bid: bool) -> str:
    """Which side of the YES book an order is on."""
    return "bid" if bid else "ask"


def order_id(number: int) -> str:
    """Orders are numbered; on the wire the number looks like a UUID."""
    return f"0aaaaaaa-0000-4000-8000-{number:012x}"


def order_number(text: str) -> int:
    """Raises OrderRejected with code ``not_found`` for an id this exchange never gave out."""
    found = _ORDER.fullmatch(text)
    if found is None:
        raise OrderRejected("not_found", f"there is no order {text[:64]!r}")
    return int(found[1], 16)


def trade_id(number: int) -> str:
    """A print on the wire."""
    return f"0bbbbbbb-0000-4000-8000-{number:012x}"


def fill_id(number: int) -> str:
    """One member's side of a print."""
    return f"0ccccccc-0000-4000-8000-{number:012x}"


def market_id(place: int) -> str:
    """A market by its place in the catalogue."""
    return f"0ddddddd-0000-4000-8000-{place:012x}"


def user_id(owner: int) -> str:
    """A member."""
    return f"0eeeeeee-0000-4000-8000-{owner:012x}"


def count_of(text: str, name: str) -> Centi:
    """Raises OrderRejected with code ``invalid_parameters`` for anything but contracts as text."""
    found = _COUNT.fullmatch(text)
    if found is None:
        raise OrderRejected("invalid_parameters", f"{name} {text[:32]!r} is no count with 0 to 2 decimals")
    return int(found[1]) * CONTRACT + int((found[2] or "").ljust(2, "0"))


def price_of(text: str, name: str = "price") -> Micros:
    """Raises OrderRejected with code ``invalid_parameters`` for anything but dollars as text."""
    found = _PRICE.fullmatch(text)
    if found is None:
        raise OrderRejected("invalid_parameters", f"{name} {text[:32]!r} is no price with 2 to 4 decimals")
    return int(found[1]) * USD + int(found[2].ljust(6, "0"))
