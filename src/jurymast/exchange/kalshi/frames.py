"""Frames of the websocket, decoded once into small typed structures.

Deltas are by far the most: up to 600 a second for one hot market. They have a structure and parsers of
their own; everything else keeps its message as a plain object, read by the same readers as REST answers.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final, TypeAlias

import msgspec

from jurymast.domain.errors import SchemaDrift
from jurymast.domain.money import Centi, Micros
from jurymast.exchange.kalshi.units import centi, micros

MARKET_DATA: Final = frozenset({"orderbook_delta", "orderbook_snapshot", "ticker", "trade"})
"""Frames that may be shed: a fresh snapshot makes up for them. Nothing makes up for a lost fill."""
_PRICES_KEPT: Final = 20_000


class DeltaMessage(msgspec.Struct):
    """A change of one level; ``delta_fp`` is signed."""

    market_ticker: str
    price_dollars: str
    delta_fp: str
    side: str


class Delta(msgspec.Struct, tag_field="type", tag="orderbook_delta"):
    """A frame with a change of a book."""

    sid: int
    seq: int
    msg: DeltaMessage


class SnapshotMessage(msgspec.Struct):
    """A whole book. A side without bids is left out."""

    market_ticker: str
    yes_dollars_fp: list[Any] = []
    no_dollars_fp: list[Any] = []


class Snapshot(msgspec.Struct, tag_field="type", tag="orderbook_snapshot"):
    """A frame with a whole book."""

    sid: int
    seq: int
    msg: SnapshotMessage


class Other(msgspec.Struct):
    """Any other frame. ``msg`` may be anything."""

    type: str
    sid: int | None = None
    seq: int | None = None
    id: int | None = None
    msg: Any = None


class _Kind(msgspec.Struct):
    type: str


Frame: TypeAlias = Delta | Snapshot | Other
_BOOKS: Final = msgspec.json.Decoder(Delta | Snapshot)
_OTHER: Final = msgspec.json.Decoder(Other, float_hook=Decimal)
_KIND: Final = msgspec.json.Decoder(_Kind)
_BOOK_MARK: Final = '{"type":"orderbook_'


def read_frame(text: str) -> Frame:
    """Raises SchemaDrift for what is no frame, or a book frame that is not as known."""
    try:
        frame: Frame
        if text.startswith(_BOOK_MARK) or kind_of(text).startswith("orderbook_"):
            frame = _BOOKS.decode(text)
        else:
            frame = _OTHER.decode(text)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise SchemaDrift(f"stream: a frame can't be read ({str(error)[:120]})") from None
    return frame


def kind_of(text: str) -> str:
    """The type of a frame; empty when it has none."""
    try:
        return _KIND.decode(text).type
    except (msgspec.DecodeError, ValueError, RecursionError):
        return ""


_prices: dict[str, Micros] = {}


def price_of(text: str) -> Micros:
    """A price as :func:`units.micros` reads it. The same few thousand texts come again and again."""
    price = _prices.get(text)
    if price is None:
        price = micros(text)
        if len(_prices) < _PRICES_KEPT:
            _prices[text] = price
    return price


def size_of(text: str) -> Centi:
    """A signed size as :func:`units.centi` reads it, by a short way for the usual spelling."""
    digits = text[:-3] + text[-2:]
    if text[-3:-2] == "." and digits.removeprefix("-").isdigit() and text.isascii():
        return int(digits)
    return centi(text)
