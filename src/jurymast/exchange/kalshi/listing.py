"""Pages of the list of events, read fast: a market in full when it is new, then only what moves.

Tens of thousands of markets are listed again and again, and most of a market's two kilobytes never change.
What a market *is* (texts, times, ticks, shard) is read strictly by :func:`markets.read_market` whenever its
terms are not those seen before; prices and status are read from the few fields that hold them. A market
or event that can't be read is left out and counted, as everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec

from jurymast.domain.errors import SchemaDrift
from jurymast.domain.market import Book, Level, Market
from jurymast.domain.money import PAYOUT, Centi
from jurymast.exchange.kalshi.frames import price_of, size_of
from jurymast.exchange.kalshi.markets import KalshiMarket, Lifecycle, read_market
from jurymast.exchange.kalshi.reading import UNREADABLE, Drift, decoded

_OPERATION: Final = "GetEvents.markets"


class _Row(msgspec.Struct):
    """The fields of a market that are looked at each time, and those that make its terms."""

    ticker: str
    event_ticker: str
    status: Lifecycle
    rules_primary: str
    open_time: str
    close_time: str
    price_ranges: msgspec.Raw
    yes_bid_dollars: str
    yes_bid_size_fp: str
    yes_ask_dollars: str
    yes_ask_size_fp: str
    volume_24h_fp: str
    title: str | None = None
    yes_sub_title: str | None = None
    rules_secondary: str | None = None
    exchange_index: int | None = None
    fee_waiver_expiration_time: str | None = None

    def terms(self, category: str) -> int:
        """A fingerprint of all that a market is, prices and status apart."""
        return hash(
            (
                self.event_ticker,
                self.rules_primary,
                self.open_time,
                self.close_time,
                bytes(self.price_ranges),
                self.title,
                self.yes_sub_title,
                self.rules_secondary,
                self.exchange_index,
                self.fee_waiver_expiration_time,
                category,
            )
        )


class _Event(msgspec.Struct):
    category: str | None = None
    markets: list[msgspec.Raw] | None = None


class _Page(msgspec.Struct):
    events: list[msgspec.Raw]
    cursor: str | None = None


_PAGES: Final = msgspec.json.Decoder(_Page)
_EVENTS: Final = msgspec.json.Decoder(_Event)
_ROWS: Final = msgspec.json.Decoder(_Row)


@dataclass(slots=True)
class Terms:
    """What is known of a market: as read last, in the domain's words, and the fingerprint of its terms."""

    market: KalshiMarket
    noun: Market
    fingerprint: int

    @classmethod
    def of(cls, market: KalshiMarket, category: str, fingerprint: int = 0) -> Terms:
        """From a market that was read whole. Without a fingerprint the next look reads it whole again."""
        return cls(market, market.snapshot(market.top, market.open_time, category).market, fingerprint)


@dataclass(frozen=True, slots=True)
class Listed:
    """A market as one page shows it."""

    terms: Terms
    status: Lifecycle
    top: Book
    volume_24h: Centi


@dataclass(frozen=True, slots=True)
class EventPage:
    """The markets of one page that could be read, and where the next one begins; empty at the end."""

    markets: tuple[Listed, ...]
    cursor: str


def read_page(body: bytes, known: dict[str, Terms], drift: Drift) -> EventPage:
    """A page with its nested markets; ``known`` is looked up by ticker and brought up to date.

    Raises SchemaDrift when the page itself can't be read.
    """
    try:
        page = _PAGES.decode(body)
    except (msgspec.DecodeError, ValueError) as error:
        raise SchemaDrift(f"GetEvents: the page can't be read ({str(error)[:80]})") from None
    found: list[Listed] = []
    for raw in page.events:
        try:
            event = _EVENTS.decode(raw)
        except (msgspec.DecodeError, ValueError) as error:
            drift.saw("GetEvents", UNREADABLE, str(error)[:80])
            continue
        category = event.category or ""
        for market in event.markets or ():
            try:
                found.append(read_listed(market, category, known, drift))
            except SchemaDrift as strange:
                drift.saw(_OPERATION, UNREADABLE, str(strange))
    return EventPage(tuple(found), page.cursor or "")


def read_listed(raw: msgspec.Raw, category: str, known: dict[str, Terms], drift: Drift) -> Listed:
    """One market. Raises SchemaDrift."""
    try:
        row = _ROWS.decode(raw)
        fingerprint = row.terms(category)
        terms = known.get(row.ticker)
        if terms is None or terms.fingerprint != fingerprint:
            market = read_market(decoded(_OPERATION, bytes(raw)), drift)
            terms = known[row.ticker] = Terms.of(market, category, fingerprint)
        top = Book(
            _best(row.yes_bid_dollars, row.yes_bid_size_fp), _best(row.yes_ask_dollars, row.yes_ask_size_fp)
        )
        volume = size_of(row.volume_24h_fp)
    except (msgspec.DecodeError, ValueError) as error:
        raise SchemaDrift(f"{_OPERATION}: {str(error)[:80]}") from None
    if volume < 0:
        raise SchemaDrift(f"{_OPERATION}: the field volume_24h_fp holds {row.volume_24h_fp}")
    return Listed(terms, row.status, top, volume)


def _best(price_text: str, size_text: str) -> tuple[Level, ...]:
    """The best level of a side. $0 bid and $1 asked stand for an empty one."""
    price, size = price_of(price_text), size_of(size_text)
    if size < 0:
        raise ValueError(f"a size of {size_text}")
    return (Level(price, size),) if 0 < price < PAYOUT and size else ()
