"""The trading rules of the embedded exchange: SIMULATED trading of real, resolved questions.

Everything an order meets is enforced as on Kalshi: ticks, collateral, fees, time in force, reduce-only
exits, ids that are used up, settlement. Two things are simpler. Our orders do not show in the displayed
book and do not meet each other; and resting orders meet the book once in each step that somebody looks,
so an order that the price crossed and left between two calls did not fill.

Methods change the ledger and nothing else; the caller holds the transaction.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Final, TypeAlias

from jurymast.domain.errors import OrderRejected
from jurymast.domain.market import Book, MarketSnapshot, MarketStatus, Side
from jurymast.domain.money import CENT, CONTRACT, PAYOUT, Centi, Micros
from jurymast.domain.order import Action, Order, OrderIntent, OrderStatus, Settlement, TimeInForce
from jurymast.exchange.books import BookMaker, step_at, without
from jurymast.exchange.ledger import Ledger
from jurymast.exchange.matching import Take, after_fill, cash_for, takes
from jurymast.exchange.questions import Question, as_market
from jurymast.policy.fees import fee

MAX_COUNT: Final[Centi] = 1_000_000 * CONTRACT
"""Largest order."""
_CLIENT_ORDER_ID: Final = re.compile(r"[A-Za-z0-9_\-:+=/]{1,64}")

Taken: TypeAlias = dict[str, dict[Micros, Centi]]
"""Liquidity gone from the displayed books of a step, by ticker and YES price."""


class Venue:
    """All markets of a set of questions, on one ledger."""

    def __init__(self, questions: Sequence[Question], ledger: Ledger, seed: int) -> None:
        self.questions: Final = {question.ticker: question for question in questions}
        self._markets = {question.ticker: as_market(question) for question in questions}
        self._books = BookMaker(seed)
        self._ledger = ledger

    def question(self, ticker: str) -> Question:
        """Raises OrderRejected with code ``market_not_found``."""
        try:
            return self.questions[ticker]
        except KeyError:
            raise OrderRejected("market_not_found", f"there is no market {ticker}") from None

    def available(self) -> Micros:
        """Cash less the collateral of resting orders."""
        return self._ledger.cash() - self._ledger.collateral()

    def snapshot(self, question: Question, now: datetime, taken: Taken) -> MarketSnapshot:
        """The market as displayed at ``now``, less what was ``taken`` in this step."""
        status = _status(question, now)
        trading = status is MarketStatus.ACTIVE
        resolved = status is MarketStatus.FINALIZED
        return MarketSnapshot(
            market=self._markets[question.ticker],
            status=status,
            book=self._book(question, step_at(now), taken) if trading else Book((), ()),
            volume_24h=self._books.volume_24h(question, now) if trading else 0,
            as_of=now,
            result=_result(question) if resolved else None,
        )

    def advance(self, now: datetime) -> None:
        """Bring everything up to ``now``: expire, settle, and in a new step match resting orders."""
        _, last_step = self._ledger.clock()
        step = step_at(now)
        self._ledger.cancel_expired(now)
        self._settle(now)
        if step > last_step:
            self._match_resting(now)
        self._ledger.set_clock(now, step)

    def place(self, intent: OrderIntent, now: datetime) -> Order:
        """Match an order at once and rest what may rest.

        Raises OrderRejected with one of Kalshi's codes: ``order_already_exists``, ``market_not_found``,
        ``invalid_parameters``, ``market_closed``, ``insufficient_balance``,
        ``fill_or_kill_insufficient_resting_volume`` (which uses the id up), and with ``no_position`` for
        an exit where nothing is held.
        """
        if self._ledger.find_order(intent.client_order_id) is not None:
            raise OrderRejected("order_already_exists", f"{intent.client_order_id} was used before")
        question = self.question(intent.ticker)
        _check_parameters(intent, now)
        if _status(question, now) is not MarketStatus.ACTIVE:
            raise OrderRejected("market_closed", f"{intent.ticker} does not trade now")
        book = self._book(question, step_at(now), self._ledger.taken(step_at(now)))
        count = self._allowed_count(intent)
        chosen = takes(book, intent.side, intent.action, intent.limit_price, count)
        filled = sum(take.count for take in chosen)
        if intent.time_in_force is TimeInForce.FILL_OR_KILL and filled < intent.count:
            self._ledger.add_order(intent, OrderStatus.CANCELED, now)
            raise OrderRejected(
                "fill_or_kill_insufficient_resting_volume",
                f"{intent.ticker} offers {filled} of {intent.count} centi-contracts within the limit",
            )
        rests = intent.time_in_force is TimeInForce.GOOD_TILL_CANCELED
        self._check_cash(intent, chosen, intent.count - filled if rests else 0)
        order = self._ledger.add_order(intent, OrderStatus.RESTING, now)
        for take in chosen:
            self._execute(order, take, take.price, fee(take.price, take.count), now)
        if not rests:
            self._ledger.cancel(order)
        return self.known(order)

    def known(self, order: Order) -> Order:
        """The order as it stands. Raises OrderRejected with code ``not_found`` for one of elsewhere."""
        found = self._ledger.find_order(order.client_order_id)
        if found is None:
            raise OrderRejected("not_found", f"there was never an order {order.client_order_id} here")
        return found

    def _book(self, question: Question, step: int, taken: Taken) -> Book:
        book = self._books.book(question, step)
        gone = taken.get(question.ticker)
        return without(book, gone) if gone else book

    def _allowed_count(self, intent: OrderIntent) -> Centi:
        """What may trade at once: an exit never sells more than is held."""
        if not intent.reduce_only:
            return intent.count
        held = self._ledger.holding(intent.ticker).of(intent.side)
        if held == 0:
            raise OrderRejected("no_position", f"no {intent.side} contract of {intent.ticker} is held")
        return min(intent.count, held)

    def _check_cash(self, intent: OrderIntent, chosen: Sequence[Take], rest: Centi) -> None:
        """Everything a purchase may cost must be there first; what netting frees comes after."""
        if intent.action is not Action.BUY:
            return
        need = cash_for(intent.limit_price, rest) + sum(
            cash_for(take.price, take.count) + fee(take.price, take.count) for take in chosen
        )
        available = self.available()
        if need > available:
            raise OrderRejected(
                "insufficient_balance", f"{need} micro-dollars are needed and {available} are available"
            )

    def _execute(self, order: Order, take: Take, price: Micros, charged: Micros, now: datetime) -> None:
        held = self._ledger.holding(order.ticker)
        holding, cash = after_fill(held, order.side, order.action, price, take.count, charged)
        self._ledger.add_fill(order, take, price, charged, now, step_at(now))
        self._ledger.set_holding(order.ticker, holding)
        self._ledger.add_cash(cash)

    def _match_resting(self, now: datetime) -> None:
        """Let resting orders take what has come within their limit; they pay their limit, as makers."""
        step = step_at(now)
        taken: Taken = {}
        for order in sorted(self._ledger.resting_orders(), key=_priority):
            count = order.remaining
            if order.action is Action.SELL:
                count = min(count, self._ledger.holding(order.ticker).of(order.side))
                if count == 0:
                    self._ledger.cancel(order)
                    continue
            book = self._book(self.questions[order.ticker], step, taken)
            for take in takes(book, order.side, order.action, order.limit_price, count):
                charged = fee(order.limit_price, take.count, maker=True)
                self._execute(order, take, order.limit_price, charged, now)
                gone = taken.setdefault(order.ticker, {})
                gone[take.yes_price] = gone.get(take.yes_price, 0) + take.count

    def _settle(self, now: datetime) -> None:
        """Pay every market that has resolved, in the order of their resolutions."""
        at_stake = [self.questions[ticker] for ticker in self._ledger.tickers_at_stake()]
        due = [question for question in at_stake if question.resolves_at <= now]
        for question in sorted(due, key=lambda question: (question.resolves_at, question.ticker)):
            self._ledger.cancel_market(question.ticker)
            holding = self._ledger.holding(question.ticker)
            if holding.count:
                result = _result(question)
                revenue = cash_for(PAYOUT, holding.of(result))
                self._ledger.settle(
                    Settlement(question.ticker, result, holding.count, revenue, question.resolves_at)
                )


def _status(question: Question, now: datetime) -> MarketStatus:
    if now < question.listed_at:
        return MarketStatus.INITIALIZED
    return MarketStatus.ACTIVE if now < question.resolves_at else MarketStatus.FINALIZED


def _result(question: Question) -> Side:
    return Side.YES if question.outcome else Side.NO


def _check_parameters(intent: OrderIntent, now: datetime) -> None:
    wrong = None
    if not _CLIENT_ORDER_ID.fullmatch(intent.client_order_id):
        wrong = f"client_order_id {intent.client_order_id!r}: 1 to 64 of letters, digits and _-:+=/"
    elif intent.limit_price % CENT:
        wrong = f"a price of {intent.limit_price} micro-dollars is not a whole cent"
    elif intent.count > MAX_COUNT:
        wrong = f"a count of {intent.count} centi-contracts is above {MAX_COUNT}"
    elif intent.expires_at is not None and intent.expires_at <= now:
        wrong = "it has expired already"
    if wrong is not None:
        raise OrderRejected("invalid_parameters", wrong)


def _priority(order: Order) -> tuple[str, bool, Micros, str]:
    """Best price first, then first come; orders on the two sides of a book do not compete."""
    yes_price = order.limit_price if order.side is Side.YES else PAYOUT - order.limit_price
    bid = (order.side is Side.YES) == (order.action is Action.BUY)
    return order.ticker, bid, -yes_price if bid else yes_price, order.order_id
