"""The simulated crowd: who quotes and who takes, SIMULATED, around the price path of each question.

A market maker keeps the book of :class:`BookMaker` on offer. Noise takers buy and sell by a coin.
Informed takers know the fundamental price better than the quotes show it, and now and then a bit of the
outcome. Every act is a pure function of the seed, the market, the time and the book it meets, so that a
replay does the same; none of it touches more than one market.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

from jurymast.domain.market import Book as Quotes
from jurymast.domain.money import CENT, CONTRACT, PAYOUT, Centi, Micros
from jurymast.exchange.books import BookMaker, step_at
from jurymast.exchange.embedded.catalogue import as_datetime
from jurymast.exchange.embedded.commands import Cancel, Decrease, OpenAccount, Place
from jurymast.exchange.embedded.engine import Engine
from jurymast.exchange.embedded.floor import Market
from jurymast.exchange.embedded.lifecycle import Stage
from jurymast.exchange.embedded.records import SECOND_US, Lifetime
from jurymast.exchange.paths import PricePath
from jurymast.exchange.questions import Question

CASH: Final[Micros] = 10**15
"""Of each member of the crowd, a billion dollars: it never runs dry."""
TAKERS_MAX: Final = 3
"""Orders to take in one market at one time."""
INFORMED_SHARE: Final = 0.3
OUTCOME_SHARE: Final = 0.1
"""Of the informed, those who act on the outcome itself."""
MISPRICING_MIN: Final = 0.05
"""Log-odds that quotes must be off for the informed to act."""
_DAY_US: Final = 86_400 * SECOND_US
_IDLE_US_MAX: Final = 3_600 * SECOND_US


class Crowd:
    """Acts in one market at a time, through the same engine as everybody."""

    def __init__(self, engine: Engine, seed: int) -> None:
        self._engine = engine
        self._seed = seed
        self._books = BookMaker(seed)
        self._path = PricePath(seed)
        cash = (CASH,) * engine.state.shards
        self._maker, self._noise, self._informed = (
            self._account(user, cash) for user in ("crowd-maker", "crowd-noise", "crowd-informed")
        )

    def quotes(self, question: Question, now_us: int) -> Quotes:
        """What the maker offers, or would offer, now."""
        return self._books.book(question, step_at(as_datetime(now_us)))

    def volume_24h(self, question: Question, now_us: int) -> Centi:
        return self._books.volume_24h(question, as_datetime(now_us))

    def quote(self, market: Market, question: Question, now_us: int) -> None:
        """Bring the maker's orders to what it wants on offer: cancel, cut down, add."""
        if market.state.stage is not Stage.ACTIVE:
            return
        quotes = self.quotes(question, now_us)
        wanted = {(True, level.price): level.count for level in quotes.bids}
        wanted |= {(False, level.price): level.count for level in quotes.asks}
        for order in [each for each in market.book.orders() if each.owner == self._maker]:
            count = wanted.pop((order.bid, order.price), 0)
            if count == 0:
                self._engine.apply(Cancel(self._maker, order.number), now_us)
            elif order.remaining > count:
                self._engine.apply(Decrease(self._maker, order.number, to=count), now_us)
            elif order.remaining < count:
                wanted[order.bid, order.price] = count - order.remaining
        for (bid, price), count in wanted.items():
            self._engine.apply(Place(self._maker, question.ticker, bid, price, count), now_us)

    def take(self, market: Market, question: Question, idle_us: int, now_us: int) -> None:
        """A few takers, as many as the usual volume of the market asks for since the last time."""
        if market.state.stage is not Stage.ACTIVE:
            return
        expected = self.volume_24h(question, now_us) * min(idle_us, _IDLE_US_MAX) // _DAY_US
        draws = blake2b(f"{self._seed}|{question.ticker}|flow|{now_us}".encode()).digest()
        for taker in range(TAKERS_MAX):
            chance, who, way, size = draws[4 * taker : 4 * taker + 4]
            share = expected // TAKERS_MAX
            count = share * (size + 1) // 128 // CONTRACT * CONTRACT
            if count < CONTRACT:
                if chance * CONTRACT >= share * 256:
                    continue
                count = CONTRACT
            informed = who < INFORMED_SHARE * 256
            buys = self._direction(question, way, now_us) if informed else way < 128
            if buys is not None:
                self._take(market, self._informed if informed else self._noise, buys, count, now_us)

    def withdraw(self, market: Market, now_us: int) -> None:
        """Take the maker's orders off a market that nobody looks at any more."""
        for order in [each for each in market.book.orders() if each.owner == self._maker]:
            self._engine.apply(Cancel(self._maker, order.number), now_us)

    def quoted(self) -> set[str]:
        """Tickers in which the maker has orders."""
        return {order.ticker for order in self._engine.floor.open[self._maker].values()}

    def _direction(self, question: Question, way: int, now_us: int) -> bool | None:
        """What the informed do: True buys YES, None stays out."""
        if way < OUTCOME_SHARE * 256:
            return question.outcome
        off = self._path.mispricing(question, as_datetime(now_us))
        return None if abs(off) < MISPRICING_MIN else off < 0

    def _take(self, market: Market, owner: int, buys: bool, count: Centi, now_us: int) -> None:
        best = market.book.best_ask if buys else market.book.best_bid
        if best is None:
            return
        price = best + CENT if buys else best - CENT
        price = min(max(price, CENT), PAYOUT - CENT)
        ticker = market.listing.ticker
        order = Place(owner, ticker, buys, price, count, lifetime=Lifetime.IMMEDIATE_OR_CANCEL)
        self._engine.apply(order, now_us)

    def _account(self, user: str, cash: tuple[Micros, ...]) -> int:
        opened = self._engine.apply(OpenAccount(user, 0, cash, house=True), self._engine.state.now_us)
        number: int = opened.number  # type: ignore[union-attr] # opening an account gives the account
        return number


def able(engine: Engine) -> bool:
    """Whether the crowd can act at all now."""
    return not (engine.state.trading_paused or engine.state.exchange_paused)
