"""A tape as an exchange: its markets listed as they were recorded, and the exchange over them; SIMULATED."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from jurymast.domain.market import Side
from jurymast.domain.money import PAYOUT, USD, Micros
from jurymast.exchange.embedded.catalogue import as_datetime, micros_since_epoch, series_of
from jurymast.exchange.embedded.exchange import EmbeddedExchange, Flow, Rules
from jurymast.exchange.embedded.lifecycle import DECI_CENT, LINEAR_CENT, TAPERED_DECI_CENT, Listing, Ticks
from jurymast.exchange.embedded.records import SECOND_US
from jurymast.exchange.questions import Question
from jurymast.exchange.tapes.file import unusable
from jurymast.exchange.tapes.playing import MARKETS_MAX, Player, TapeCrowd, book_of_places
from jurymast.exchange.tapes.reel import Reel, load_tape
from jurymast.policy.fees import DIRECT_MEMBER
from jurymast.ports import Clock

TICK_SECS: Final = 0.05
"""For servers: what the tape has of so long comes at once."""
CENTI_CENT: Final = Ticks("centi_cent", ((0, PAYOUT, 100),))
"""A hundredth of a cent, the finest that orders can name."""


def open_tape(
    path: Path,
    *,
    clock: Clock,
    database: Path | str = ":memory:",
    speed: float = 1.0,
    cash: Micros = 10_000 * USD,
) -> EmbeddedExchange:
    """An exchange whose markets are those of a tape, from its beginning; a database goes on where it was.

    Raises ConfigError when it is no tape, has too many markets, or the database was begun otherwise.
    """
    tape = load_tape(path)
    if len(tape.reels) > MARKETS_MAX:
        raise unusable(path, f"has {len(tape.reels)} markets; at most {MARKETS_MAX} can be played")
    listed = {ticker: _listed(reel) for ticker, reel in tape.reels.items()}
    return EmbeddedExchange(
        [question for question, _ in listed.values()],
        clock=clock,
        start=as_datetime(tape.start_us),
        database=database,
        speed=speed,
        cash=cash,
        rules=Rules(near=len(listed)),
        flow=Flow(
            name=f"tape {path.name}, recorded at {tape.host}",
            crowd=lambda engine: TapeCrowd(engine, tape),
            listings={ticker: listing for ticker, (_, listing) in listed.items()},
        ),
    )


def _listed(reel: Reel) -> tuple[Question, Listing]:
    """A recorded market as the exchange lists it. It ends with its tape, or when it closed.

    Where the tape does not tell the result, the side that was dearer at the end wins. Fees are those of a
    series whose makers pay nothing: what the series charged is not on the tape.
    """
    market = reel.market
    start_us, end_us = reel.times_us[0], reel.times_us[-1] + SECOND_US
    closes_us = micros_since_epoch(market.close_time) if market is not None else 0
    if closes_us > start_us:  # the time of a recorded exchange may not be the wall's
        end_us = min(end_us, closes_us)
    opened_us = start_us - SECOND_US
    event = market.event_ticker if market is not None else reel.ticker.rpartition("-")[0] or reel.ticker
    middle = _last_middle(reel)
    yes = middle >= PAYOUT // 2 if market is None or market.result is None else market.result is Side.YES
    question = Question(
        ticker=reel.ticker,
        source="tape",
        source_id=reel.ticker,
        title=market.title if market is not None else reel.ticker,
        background="",
        rules=market.rules if market is not None else "",
        url="",
        category="other",
        listed_at=as_datetime(opened_us),
        close_time=as_datetime(end_us),
        resolves_at=as_datetime(end_us),
        crowd_probability=min(max(middle / PAYOUT, 0.01), 0.99),
        outcome=yes,
        event_ticker=event,
    )
    listing = Listing(
        ticker=reel.ticker,
        event_ticker=event,
        series_ticker=series_of(question.category),
        open_us=opened_us,
        close_us=end_us,
        resolve_us=end_us,
        outcome=yes,
        ticks=_ticks(reel),
        fees=DIRECT_MEMBER,
    )
    return question, listing


def _ticks(reel: Reel) -> Ticks:
    """As the market told them, or the coarsest that take every price on the tape."""
    if reel.market is not None:
        ranges = tuple((each.start, each.end, each.step) for each in reel.market.grid.ranges)
        return Ticks("recorded", ranges)
    prices = {place % PAYOUT for place in set(reel.places)}
    return next(
        ticks
        for ticks in (LINEAR_CENT, TAPERED_DECI_CENT, DECI_CENT, CENTI_CENT)
        if all(map(ticks.takes, prices))
    )


def _last_middle(reel: Reel) -> Micros:
    player = Player(reel)
    player.forward(reel.times_us[-1])
    book = book_of_places(player.levels)
    bid = book.bids[0].price if book.bids else 0
    ask = book.asks[0].price if book.asks else PAYOUT
    return (bid + ask) // 2
