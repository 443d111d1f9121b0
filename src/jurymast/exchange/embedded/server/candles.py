"""Candles: prices from the exchange's own prints, bids and asks from what the crowd quoted then."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from jurymast.domain.errors import OrderRejected
from jurymast.domain.money import PAYOUT, Micros
from jurymast.exchange.embedded.exchange import EmbeddedExchange
from jurymast.exchange.embedded.records import SECOND_US, Print
from jurymast.exchange.embedded.server.replies import Query
from jurymast.exchange.embedded.server.shapes import Json
from jurymast.exchange.embedded.server.wire import dollars, fp, seconds
from jurymast.exchange.questions import Question

CANDLES_MAX: Final = 5_000
"""In one answer; the real exchange gives 10,000."""
MINUTES: Final = (1, 60, 1_440)
_TURN: Final = 200


async def candles(exchange: EmbeddedExchange, question: Question, query: Query, markets: int) -> list[Json]:
    """Candles of one market that end between ``start_ts`` and ``end_ts`` and not in the future."""
    minutes = query.number("period_interval", low=1)
    if minutes not in MINUTES:
        raise OrderRejected("bad_request", f"period_interval {minutes} is none of {MINUTES}")
    period_us = minutes * 60 * SECOND_US
    listing = exchange.catalogue.listing(question.ticker)
    opened_us = listing.open_us if listing is not None else 0
    start_us = max(query.number("start_ts") * SECOND_US, opened_us)
    end_us = min(query.number("end_ts") * SECOND_US, exchange.now_us())
    first = -(-start_us // period_us) * period_us
    if (end_us - first) // period_us * markets >= CANDLES_MAX:
        raise OrderRejected("bad_request", f"more than {CANDLES_MAX} candlesticks")
    prints = [each for each in exchange.engine.state.tape if each.ticker == question.ticker]
    rows: list[Json] = []
    previous: Micros | None = None
    place = 0
    opening = _quote(exchange, question, first - period_us)
    for number, period_end in enumerate(range(first, end_us + 1, period_us)):
        if number % _TURN == _TURN - 1:
            await asyncio.sleep(0)
        while place < len(prints) and prints[place].at_us <= period_end - period_us:
            previous = prints[place].price
            place += 1
        within = []
        while place < len(prints) and prints[place].at_us <= period_end:
            within.append(prints[place])
            place += 1
        closing = _quote(exchange, question, period_end)
        rows.append(_candle(period_end, opening, closing, within, previous))
        previous = within[-1].price if within else previous
        opening = closing
    return rows


def _quote(exchange: EmbeddedExchange, question: Question, at_us: int) -> tuple[Micros, Micros]:
    """Best bid and ask then; $0 and $1 where a side was empty."""
    quotes = exchange.crowd.quotes(question, at_us)
    bid = quotes.bids[0].price if quotes.bids else 0
    return bid, quotes.asks[0].price if quotes.asks else PAYOUT


def _candle(
    end_us: int,
    opening: tuple[Micros, Micros],
    closing: tuple[Micros, Micros],
    prints: Sequence[Print],
    previous: Micros | None,
) -> Json:
    price: dict[str, str | None] = {
        "previous_dollars": None if previous is None else dollars(previous),
    }
    if prints:
        prices = [each.price for each in prints]
        count = sum(each.count for each in prints)
        mean = sum(each.price * each.count for each in prints) // count
        price |= _spread(prices[0], prices[-1], min(prices), max(prices)) | {"mean_dollars": dollars(mean)}
    return {
        "end_period_ts": seconds(end_us),
        "yes_bid": _side(opening[0], closing[0]),
        "yes_ask": _side(opening[1], closing[1]),
        "price": price,
        "volume_fp": fp(sum(each.count for each in prints)),
        "open_interest_fp": fp(0),
    }


def _side(opening: Micros, closing: Micros) -> dict[str, str]:
    return _spread(opening, closing, min(opening, closing), max(opening, closing))


def _spread(opening: Micros, closing: Micros, low: Micros, high: Micros) -> dict[str, str]:
    return {
        "open_dollars": dollars(opening),
        "low_dollars": dollars(low),
        "high_dollars": dollars(high),
        "close_dollars": dollars(closing),
    }
