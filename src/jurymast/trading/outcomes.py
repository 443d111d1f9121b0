"""What became of the markets that models gave forecasts of, traded or not: the exchange is asked.

A few markets at a look, those first whose close has passed and then the others in turn, for many resolve
before their time. A void market ends a forecast and proves nothing. What a resolved forecast says of its
model may stop it: that is said once.
"""

from __future__ import annotations

from typing import Final

from jurymast.domain.decision import ForecastRecord
from jurymast.domain.errors import ExchangeError, OrderRejected
from jurymast.domain.events import Event, ForecastScored, OpinionStopped
from jurymast.domain.market import MarketSnapshot, MarketStatus, Side
from jurymast.policy.records import ForecastRecords
from jurymast.policy.skill import HARM_MAX
from jurymast.ports import Clock, Exchange
from jurymast.trading.recorder import Recorder

LOOKS_MAX: Final = 20
"""Markets asked about at one look."""


class Outcomes:
    """Brings outcomes to ``records`` and into the journal."""

    def __init__(
        self, exchange: Exchange, records: ForecastRecords, recorder: Recorder, *, clock: Clock
    ) -> None:
        self._exchange = exchange
        self._records = records
        self._recorder = recorder
        self._clock = clock
        self._looked: dict[str, int] = {}
        self._look = 0

    async def look(self) -> int:
        """Ask about some markets; how many forecasts were scored. An exchange that does not answer is asked
        again at the next look. Raises JournalUnwritable only."""
        self._look += 1
        try:
            now = await self._exchange.now()
        except ExchangeError:
            return 0
        pending, scored = self._records.pending, 0
        self._looked = {ticker: at for ticker, at in self._looked.items() if ticker in pending}
        due = sorted(
            pending, key=lambda each: (pending[each][0].closes_at > now, self._looked.get(each, 0), each)
        )
        for ticker in due[:LOOKS_MAX]:
            self._looked[ticker] = self._look
            try:
                snapshot = await self._exchange.get_snapshot(ticker)
            except OrderRejected:
                await self._score(pending[ticker], None)  # no such market any more
            except ExchangeError:
                break
            else:
                scored += await self._resolved(pending[ticker], snapshot)
        return scored

    async def _resolved(self, records: tuple[ForecastRecord, ...], snapshot: MarketSnapshot) -> int:
        if snapshot.status is not MarketStatus.FINALIZED:
            return 0
        await self._score(records, None if snapshot.result is None else snapshot.result is Side.YES)
        return len(records)

    async def _score(self, records: tuple[ForecastRecord, ...], yes: bool | None) -> None:
        at = self._clock.utc_now()
        await self._record(
            *(ForecastScored(at=at, ticker=each.ticker, record=each, yes=yes) for each in records)
        )
        for model, evidence in self._records.harmful():
            reason = (
                f"market and {model} together did worse than the market alone: evidence {evidence:.0f}, "
                f"beyond {HARM_MAX:.0f}"
            )
            await self._record(OpinionStopped(at=at, model=model, evidence=evidence, reason=reason))

    async def _record(self, *events: Event) -> None:
        await self._recorder.record(*events)
        for event in events:
            self._records.apply(event)
