"""A recorded market as the crowd of the embedded exchange; SIMULATED.

The maker's orders follow the tape, change by change; executions on the tape are takers' orders. Ours meet
them in the engine like anybody's. What the fill model promises, each time on the cautious side:

  - More contracts at a level join the queue behind us, fewer leave from behind us: our place gets better by
    executions only.
  - We are filled when somebody on the tape takes at our price and the queue before us is used up, or when
    an order on the tape comes to our price. A level that merely shrinks fills nobody.
  - What we took of a level stays taken until the tape has had nothing at that price: the recorded market
    did not know us, and goes on offering what is gone.
  - Nobody on the tape reacts to us.

What was on show and what was taken is kept in the market's state, so that a restart goes on where it was.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from typing import Final

from jurymast.domain.market import Book as Quotes
from jurymast.domain.market import Level
from jurymast.domain.money import PAYOUT, Centi, Micros
from jurymast.exchange.embedded.commands import Cancel, Decrease, OpenAccount, Place
from jurymast.exchange.embedded.crowd import CASH
from jurymast.exchange.embedded.engine import Engine
from jurymast.exchange.embedded.execution import Execution
from jurymast.exchange.embedded.floor import Market
from jurymast.exchange.embedded.lifecycle import (
    Stage,
)
from jurymast.exchange.embedded.records import Lifetime, Order
from jurymast.exchange.questions import Question
from jurymast.exchange.tapes.reel import MARK_US, Reel, Tape

STEPS_MAX: Final = 5_000
"""Changes played one by one at one tick; of more than that only what they come to is shown."""
MARKETS_MAX: Final = 48
"""As many as the exchange simulates in depth at one tick."""


class TapeCrowd:
    """Plays a tape instead of the simulated crowd."""

    def __init__(self, engine: Engine, tape: Tape) -> None:
        self._engine = engine
        self._players = {ticker: Player(reel) for ticker, reel in tape.reels.items()}
        cash = (CASH,) * engine.state.shards
        self._maker, self._taker = (self._account(user, cash) for user in ("tape-maker", "tape-taker"))

    def quotes(self, question: Question, now_us: int) -> Quotes:
        """What the tape has on offer at a time; of the past only the best, to the minute."""
        player = self._players[question.ticker]
        if now_us < player.at_us:
            bid, ask = player.reel.tops.get(now_us // MARK_US, (0, PAYOUT))
            return book_of_places({bid: 1, ask - PAYOUT: 1})
        return book_of_places(player.levels_at(now_us))

    def volume_24h(self, question: Question, now_us: int) -> Centi:
        """As the market told it when it was recorded, or what the tape has of executions."""
        del now_us  # a tape has one volume
        reel = self._players[question.ticker].reel
        return reel.market.volume_24h if reel.market is not None else reel.traded

    def quote(self, market: Market, question: Question, now_us: int) -> None:
        """Play on until now."""
        player, known = self._players[question.ticker], market.state
        if known.acted >= 0:
            player.forward(known.acted_us)  # after a restart; else the player is there already
        trades = market.state.stage is Stage.ACTIVE
        if trades:
            self._note_taken(market)
        pending = player.until(now_us)
        if not trades or known.acted < 0 or len(pending) > STEPS_MAX:
            player.forward(now_us)
        else:
            for place, change in player.play(pending):
                if place > PAYOUT:
                    self._execute(market, place - PAYOUT, change, now_us)
                else:
                    self._show(market, place, player.levels.get(place, 0), now_us)
        player.at_us = max(player.at_us, now_us)
        if trades:
            self._show_all(market, player, now_us)

    def take(self, market: Market, question: Question, idle_us: int, now_us: int) -> None:
        """Takers are on the tape and have acted with the rest of it."""

    def withdraw(self, market: Market, now_us: int) -> None:
        """Take the maker's orders off a market that nobody looks at any more; what was taken stays taken."""
        self._note_taken(market)
        for order in [each for each in market.book.orders() if each.owner == self._maker]:
            self._engine.apply(Cancel(self._maker, order.number), now_us)
        for shown in market.state.recorded.values():
            shown[0] = 0

    def quoted(self) -> set[str]:
        """Tickers in which the maker has orders."""
        return {order.ticker for order in self._engine.floor.open[self._maker].values()}

    def _note_taken(self, market: Market) -> None:
        """What is missing since the last time was taken by members."""
        for place, shown in market.state.recorded.items():
            missing = shown[0] - self._resting(market, place)
            shown[0] -= missing
            shown[1] += missing

    def _show_all(self, market: Market, player: Player, now_us: int) -> None:
        """Bring every level to the tape's, first what gets less: the maker must not stand in its own way."""
        recorded, levels = market.state.recorded, player.levels
        less: list[int] = []
        more: list[int] = []
        for place in sorted(recorded.keys() | levels.keys()):
            shown, taken = recorded.get(place, (0, 0))
            size = levels.get(place, 0)
            left = size - min(taken, size)
            if shown > left or (taken and not size):
                less.append(place)
            elif shown < left:
                more.append(place)
        for place in (*less, *more):
            self._show(market, place, levels.get(place, 0), now_us)

    def _show(self, market: Market, place: int, size: Centi, now_us: int) -> None:
        """Have ``size`` less what was taken on offer at a level."""
        recorded = market.state.recorded
        shown = recorded.setdefault(place, [0, 0])
        shown[1] = min(shown[1], size)
        wanted = size - shown[1]
        if wanted > shown[0]:
            self._add(market, place, shown, wanted - shown[0], now_us)
        elif wanted < shown[0]:
            self._remove(market, place, shown[0] - wanted, now_us)
            shown[0] = wanted
        if not size:
            recorded.pop(place, None)

    def _add(self, market: Market, place: int, shown: list[int], count: Centi, now_us: int) -> None:
        price = place if place > 0 else PAYOUT + place
        order = Place(self._maker, market.listing.ticker, place > 0, price, count)
        done = self._engine.apply(order, now_us)
        assert isinstance(done, Execution)  # noqa: S101 (placing gives an execution)
        shown[0] += done.order.remaining
        shown[1] += done.filled

    def _remove(self, market: Market, place: int, count: Centi, now_us: int) -> None:
        """The newest first: whoever leaves was behind us."""
        for order in reversed(self._orders(market, place)):
            by = min(count, order.remaining)
            self._engine.apply(Decrease(self._maker, order.number, by=by), now_us)
            count -= by
            if not count:
                return

    def _execute(self, market: Market, price: Micros, count: Centi, now_us: int) -> None:
        """Somebody on the tape takes. What it takes of the maker is no member's doing."""
        bought = count > 0
        lifetime = Lifetime.IMMEDIATE_OR_CANCEL
        order = Place(self._taker, market.listing.ticker, bought, price, abs(count), lifetime)
        self._engine.apply(order, now_us)
        for place, shown in market.state.recorded.items():
            if (place < 0) is bought:
                shown[0] = self._resting(market, place)

    def _resting(self, market: Market, place: int) -> Centi:
        return sum(order.remaining for order in self._orders(market, place))

    def _orders(self, market: Market, place: int) -> list[Order]:
        """The maker's orders at a level, first come first."""
        level = market.book.side(place > 0).levels.get(abs(place))
        if level is None:
            return []
        return [order for order in level.orders.values() if order.owner == self._maker]

    def _account(self, user: str, cash: tuple[Micros, ...]) -> int:
        opened = self._engine.apply(OpenAccount(user, 0, cash, house=True), self._engine.state.now_us)
        number: int = opened.number  # type: ignore[union-attr] # opening an account gives the account
        return number


class Player:
    """How far a reel has been played, and the book as of then."""

    def __init__(self, reel: Reel) -> None:
        self.reel = reel
        self.at_us = 0
        self.levels: dict[int, Centi] = {}
        self._next = 0

    def until(self, now_us: int) -> range:
        """What is to be played until then."""
        return range(self._next, bisect_right(self.reel.times_us, now_us))

    def play(self, pending: range) -> Iterator[tuple[int, Centi]]:
        """Executions and changes in order; the book is as of the one that is told."""
        for index in pending:
            self._next = index + 1
            place, change = self.reel.places[index], self.reel.changes[index]
            if place < PAYOUT:
                self._change(place, change)
            yield place, change

    def forward(self, until_us: int) -> None:
        """Play without telling."""
        for _ in self.play(self.until(until_us)):
            pass
        self.at_us = max(self.at_us, until_us)

    def levels_at(self, now_us: int) -> dict[int, Centi]:
        """The book at a time to come, without playing on."""
        levels = dict(self.levels)
        for index in self.until(now_us):
            place = self.reel.places[index]
            if place < PAYOUT:
                levels[place] = levels.get(place, 0) + self.reel.changes[index]
        return levels

    def _change(self, place: int, change: Centi) -> None:
        left = self.levels.get(place, 0) + change
        if left > 0:
            self.levels[place] = left
        else:
            self.levels.pop(place, None)


def book_of_places(levels: Mapping[int, Centi]) -> Quotes:
    """Levels by place as a book, best first."""
    bids = sorted((place for place in levels if 0 < place < PAYOUT), reverse=True)
    asks = sorted(PAYOUT + place for place in levels if -PAYOUT < place < 0)
    return Quotes(
        tuple(Level(price, levels[price]) for price in bids),
        tuple(Level(price, levels[price - PAYOUT]) for price in asks),
    )
