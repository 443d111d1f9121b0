"""What the trading rooms hold against their own picture, once a cycle, as evidence for the mode.

A doubt within a cycle lowers what orders may do, at once, and is forgotten with the cycle: that is the
trading state. A doubt that lasts, or that should never have come up, is reported here and weakens judgement:
that takes proof to mend.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Final

from jurymast.domain.errors import ExchangeError, ReconcileError, SchemaDrift
from jurymast.domain.events import CycleFinished
from jurymast.domain.money import Micros
from jurymast.policy.judges import Trading
from jurymast.ports import Clock
from jurymast.trading.portfolio import Portfolio

BASIS: Final = 10_000
PAUSED_CODES: Final = frozenset({"trading_is_paused", "exchange_is_paused"})


class Doubts:
    """Remembers since when the exchange is silent and fates are unknown, and where the day began.

    ``last`` is the last cycle of the run before, ``orders_plan`` orders a minute that are as planned,
    ``hard_cap_bp`` the cap of one market in basis points of equity.
    """

    def __init__(
        self,
        portfolio: Portfolio,
        *,
        clock: Clock,
        orders_plan: int,
        hard_cap_bp: int,
        last: CycleFinished | None = None,
    ) -> None:
        self._portfolio = portfolio
        self._clock = clock
        self.orders_plan = orders_plan
        self._hard_cap_bp = hard_cap_bp
        self._day: date | None = last.exchange_time.date() if last is not None else None
        self.day_equity: Micros = last.day_equity if last is not None else 0
        self._unread_since: float | None = None
        self._unknown_since: float | None = None

    def unread(self, error: ExchangeError | ReconcileError) -> Trading:
        """A cycle could not read the exchange."""
        self._unread_since = self._unread_since or self._clock.monotonic()
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, SchemaDrift):
            cause = cause.__cause__
        return self._report(data_stale_secs=self._secs(self._unread_since), schema_drift=str(cause or ""))

    def read(
        self,
        now: datetime,
        equity: Micros,
        differences: tuple[str, ...],
        *,
        orders_last_minute: int,
        clock_skew_secs: float,
        first: bool,
    ) -> Trading:
        """A cycle has read the exchange, at exchange time ``now``, and compared the books.

        What differs at the ``first`` comparison of a run is what we did not know yet, not what we had wrong.
        """
        self._unread_since = None
        if now.date() != self._day or self.day_equity <= 0:
            self._day, self.day_equity = now.date(), equity
        book = self._portfolio
        largest = max((position.cost for position in book.positions.values()), default=0)
        cap = max(equity, 0) * self._hard_cap_bp // BASIS
        return self._report(
            reconciled=not differences and not book.unresolved,
            loss_bp=(self.day_equity - equity) * BASIS // self.day_equity if self.day_equity > 0 else 0,
            mismatch="" if first else "; ".join(differences),
            paused=book.last_refusal in PAUSED_CODES,
            order_rate=orders_last_minute / self.orders_plan,
            hard_caps=largest / cap if cap else 0.0,
            clock_skew_secs=clock_skew_secs,
        )

    def _report(self, **found: float | str | bool) -> Trading:
        unknown = bool(self._portfolio.unresolved)
        self._unknown_since = (self._unknown_since or self._clock.monotonic()) if unknown else None
        return Trading(
            unknown_secs=self._secs(self._unknown_since),
            doubled=self._portfolio.doubled,
            **found,  # type: ignore[arg-type]  # each by the name of its field
        )

    def _secs(self, since: float | None) -> float:
        return 0.0 if since is None else self._clock.monotonic() - since
