"""What the paper exchange knows: time, cash, orders, fills, positions, settlements.

Each method is one statement or two on the file; the caller holds the transaction. Numbers of orders and
fills are counters, so that the same calls make the same ids.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from jurymast.domain.errors import SchemaDrift
from jurymast.domain.market import Side
from jurymast.domain.money import CONTRACT, Centi, Micros
from jurymast.domain.order import Action, Fill, Order, OrderIntent, OrderStatus, Settlement
from jurymast.exchange.matching import FLAT, Holding, Take
from jurymast.exchange.storage import ExchangeFile, Row

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_ORDERS: Final = (
    "SELECT seq, client_order_id, ticker, side, action, limit_price, count, filled, status, created_us, "
    "expires_us FROM orders"
)
_FILLS: Final = (
    "SELECT f.seq, o.seq, o.client_order_id, o.ticker, o.side, o.action, f.price, f.count, f.fee, f.at_us "
    "FROM fills f JOIN orders o ON o.seq = f.order_seq"
)


class Ledger:
    """The records in one file. A new file begins at ``start`` with ``cash``; an old one goes on.

    Raises ConfigError when an old file was begun with another seed: its fills would not fit the books.
    """

    def __init__(self, file: ExchangeFile, *, seed: int, start: datetime, step: int, cash: Micros) -> None:
        self._file = file
        state = file.row("SELECT seed FROM state")
        if state is None:
            file.run("INSERT INTO state VALUES (?, ?, ?, ?)", str(seed), _us(start), step, cash)
        elif state != (str(seed),):
            raise file.unusable(f"was begun with seed {state[0]}, not {seed}")

    def clock(self) -> tuple[datetime, int]:
        """Exchange time and step at the last change."""
        at_us, step = self._state()[:2]
        return _time(at_us), step

    def set_clock(self, at: datetime, step: int) -> None:
        self._file.run("UPDATE state SET at_us = ?, step = ?", _us(at), step)

    def cash(self) -> Micros:
        """All cash, that behind resting orders included."""
        cash: Micros = self._state()[2]
        return cash

    def add_cash(self, amount: Micros) -> None:
        self._file.run("UPDATE state SET cash = cash + ?", amount)

    def collateral(self) -> Micros:
        """Cash that resting orders to buy may still need."""
        rows = self._file.rows(
            "SELECT COALESCE(SUM(limit_price * (count - filled)), 0) FROM orders "
            "WHERE status = 'resting' AND action = 'buy'"
        )
        amount: Micros = rows[0][0]
        return amount // CONTRACT

    def add_order(self, intent: OrderIntent, status: OrderStatus, at: datetime) -> Order:
        """Record an order, without fills yet."""
        seq = self._file.run(
            "INSERT INTO orders (client_order_id, ticker, side, action, limit_price, count, filled, status, "
            "created_us, expires_us) VALUES (?, ?, ?, ?, ?, ?, 0, ?, ?, ?)",
            *(intent.client_order_id, intent.ticker, intent.side.value, intent.action.value),
            *(intent.limit_price, intent.count, status.value, _us(at)),
            None if intent.expires_at is None else _us(intent.expires_at),
        )
        return _order(self._file.rows(f"{_ORDERS} WHERE seq = ?", seq)[0])

    def find_order(self, client_order_id: str) -> Order | None:
        row = self._file.row(f"{_ORDERS} WHERE client_order_id = ?", client_order_id)
        return None if row is None else _order(row)

    def resting_orders(self) -> list[Order]:
        """In order of arrival."""
        return [_order(row) for row in self._file.rows(f"{_ORDERS} WHERE status = 'resting' ORDER BY seq")]

    def cancel(self, order: Order) -> None:
        self._file.run(
            "UPDATE orders SET status = 'canceled' WHERE status = 'resting' AND client_order_id = ?",
            order.client_order_id,
        )

    def cancel_expired(self, at: datetime) -> None:
        self._file.run(
            "UPDATE orders SET status = 'canceled' WHERE status = 'resting' AND expires_us <= ?", _us(at)
        )

    def cancel_market(self, ticker: str) -> None:
        self._file.run(
            "UPDATE orders SET status = 'canceled' WHERE status = 'resting' AND ticker = ?", ticker
        )

    def add_fill(self, order: Order, take: Take, price: Micros, fee: Micros, at: datetime, step: int) -> None:
        """Record an execution of ``order`` at ``price`` against the displayed level of ``take``."""
        self._file.run(
            "INSERT INTO fills (order_seq, price, count, fee, at_us, step, yes_price) "
            "SELECT seq, ?, ?, ?, ?, ?, ? FROM orders WHERE client_order_id = ?",
            *(price, take.count, fee, _us(at), step, take.yes_price, order.client_order_id),
        )
        self._file.run(
            "UPDATE orders SET filled = filled + ?, "
            "status = CASE WHEN filled + ? = count THEN 'executed' ELSE status END WHERE client_order_id = ?",
            *(take.count, take.count, order.client_order_id),
        )

    def fills(self, after: str | None) -> list[Fill]:
        """Fills behind ``after``. Raises SchemaDrift when this exchange never reported that one."""
        seq = 0 if after is None else _sequence(after)
        if after is not None and self._file.row("SELECT 1 FROM fills WHERE seq = ?", seq) is None:
            raise _foreign(f"fill {after}")
        return [_fill(row) for row in self._file.rows(f"{_FILLS} WHERE f.seq > ? ORDER BY f.seq", seq)]

    def taken(self, step: int) -> dict[str, dict[Micros, Centi]]:
        """What our orders took of the displayed levels in this step, by ticker and YES price."""
        taken: dict[str, dict[Micros, Centi]] = {}
        for ticker, yes_price, count in self._file.rows(
            "SELECT o.ticker, f.yes_price, SUM(f.count) FROM fills f JOIN orders o ON o.seq = f.order_seq "
            "WHERE f.step = ? GROUP BY o.ticker, f.yes_price",
            step,
        ):
            taken.setdefault(ticker, {})[yes_price] = count
        return taken

    def holding(self, ticker: str) -> Holding:
        row = self._file.row("SELECT count, cost FROM positions WHERE ticker = ?", ticker)
        return FLAT if row is None else Holding(*row)

    def holdings(self) -> Mapping[str, Holding]:
        rows = self._file.rows("SELECT ticker, count, cost FROM positions ORDER BY ticker")
        return {ticker: Holding(count, cost) for ticker, count, cost in rows}

    def set_holding(self, ticker: str, holding: Holding) -> None:
        if holding.count == 0:
            self._file.run("DELETE FROM positions WHERE ticker = ?", ticker)
            return
        self._file.run(
            "INSERT OR REPLACE INTO positions (ticker, count, cost) VALUES (?, ?, ?)",
            *(ticker, holding.count, holding.cost),
        )

    def tickers_at_stake(self) -> list[str]:
        """Tickers with a position or a resting order."""
        rows = self._file.rows(
            "SELECT ticker FROM positions UNION SELECT ticker FROM orders WHERE status = 'resting'"
        )
        return [ticker for (ticker,) in rows]

    def settle(self, settlement: Settlement) -> None:
        """Pay a position out and close it."""
        self._file.run(
            "INSERT INTO settlements (ticker, result, count, revenue, at_us) VALUES (?, ?, ?, ?, ?)",
            *(settlement.ticker, settlement.result.value, settlement.count, settlement.revenue),
            _us(settlement.at),
        )
        self.set_holding(settlement.ticker, FLAT)
        self.add_cash(settlement.revenue)

    def settlements(self, after: str | None) -> list[Settlement]:
        """Settlements behind that of ``after``. Raises SchemaDrift when there was none."""
        seq = 0
        if after is not None:
            row = self._file.row("SELECT seq FROM settlements WHERE ticker = ?", after)
            if row is None:
                raise _foreign(f"a settlement of {after}")
            seq = row[0]
        rows = self._file.rows(
            "SELECT ticker, result, count, revenue, at_us FROM settlements WHERE seq > ? ORDER BY seq", seq
        )
        return [Settlement(row[0], Side(row[1]), row[2], row[3], _time(row[4])) for row in rows]

    def _state(self) -> Row:
        return self._file.rows("SELECT at_us, step, cash FROM state")[0]


def _us(at: datetime) -> int:
    return (at - _EPOCH) // _MICROSECOND


def _time(at_us: int) -> datetime:
    return _EPOCH + at_us * _MICROSECOND


def _sequence(fill_id: str) -> int:
    digits = fill_id.removeprefix("F-")
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 18 else -1


def _foreign(what: str) -> SchemaDrift:
    return SchemaDrift(
        f"the SIMULATED exchange never reported {what}: the journal belongs to another exchange file. "
        "Use the two files that were begun together."
    )


def _order(row: Row) -> Order:
    seq, client_order_id, ticker, side, action, limit_price, count, filled, status, created, expires = row
    return Order(
        order_id=f"O-{seq:08d}",
        client_order_id=client_order_id,
        ticker=ticker,
        side=Side(side),
        action=Action(action),
        limit_price=limit_price,
        count=count,
        filled=filled,
        status=OrderStatus(status),
        created_at=_time(created),
        expires_at=None if expires is None else _time(expires),
    )


def _fill(row: Row) -> Fill:
    seq, order_seq, client_order_id, ticker, side, action, price, count, fee, at_us = row
    return Fill(
        fill_id=f"F-{seq:08d}",
        order_id=f"O-{order_seq:08d}",
        client_order_id=client_order_id,
        ticker=ticker,
        side=Side(side),
        action=Action(action),
        price=price,
        count=count,
        fee=fee,
        at=_time(at_us),
    )
