"""One trading cycle: reconcile, leave, look, ask, size, check, send.

Exits come before entries and need no model. A market costs AI money only after :mod:`.selection` has let
it through. Everything that does not become an order leaves a reason.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from jurymast.domain.decision import Decision
from jurymast.domain.errors import ExchangeError, ReconcileError
from jurymast.domain.events import CycleFinished, StateChanged, TradeDeclined
from jurymast.domain.market import MarketSnapshot
from jurymast.domain.money import Micros, format_cents
from jurymast.domain.order import OrderIntent
from jurymast.domain.portfolio import Exposure
from jurymast.domain.status import EmergencyMode, SystemStatus, TradingState
from jurymast.policy import liquidation, risk
from jurymast.policy.emergency import EntryOrder, ModeRules, row_for
from jurymast.policy.exits import exit_for
from jurymast.policy.judges import Trading
from jurymast.policy.quality import Belief
from jurymast.policy.screening import screen
from jurymast.policy.sizing import Declined, belief_of, size
from jurymast.ports import Clock, DecisionMaker, EvidenceSource, Exchange
from jurymast.trading.doubts import Doubts
from jurymast.trading.exits import exit_intent
from jurymast.trading.gateway import Gateway
from jurymast.trading.guard import Guard
from jurymast.trading.intents import entry_intent
from jurymast.trading.portfolio import Portfolio
from jurymast.trading.reconcile import Progress, Reconciler
from jurymast.trading.recorder import Recorder
from jurymast.trading.selection import Selection, forget_closed
from jurymast.trading.settings import CycleSettings


class Judge(DecisionMaker, Protocol):
    """The AI layer as the cycle needs it: decisions, and how good judgement is."""

    @property
    def mode(self) -> EmergencyMode: ...

    @property
    def size_share(self) -> float:
        """Share of the mode's size that judgement has earned back."""
        ...

    def note_trading(self, trading: Trading, now: datetime | None = None) -> None:
        """Hear how well the trading rooms know what they do, and the exchange's time when they know it."""
        ...

    def recall(self, snapshot: MarketSnapshot) -> Decision | None:
        """A provider's opinion of before, as far as it still counts in the market as it is now."""
        ...

    def get_system_status(self) -> SystemStatus: ...


@dataclass(slots=True)
class _Tally:
    scanned: int = 0
    screened: int = 0
    decided: int = 0
    abstained: int = 0
    orders: int = 0
    fills: int = 0


class TradingCycle:
    """Runs cycles. ``state`` starts REDUCING and becomes ACTIVE after the first clean reconciliation.

    ``last`` is the last cycle of the run before, if any: the day's loss is counted on.
    """

    def __init__(
        self,
        *,
        exchange: Exchange,
        judge: Judge,
        evidence: EvidenceSource,
        recorder: Recorder,
        portfolio: Portfolio,
        gateway: Gateway,
        reconciler: Reconciler,
        clock: Clock,
        settings: CycleSettings | None = None,
        last: CycleFinished | None = None,
    ) -> None:
        self.settings = settings or CycleSettings()
        self._doubts = Doubts(
            portfolio,
            clock=clock,
            orders_plan=self.settings.risk.orders_per_minute_max,
            hard_cap_bp=self.settings.exits.hard_market_cap_bp,
            last=last,
        )
        self.state = TradingState.REDUCING
        self.cycles = 0
        self._exchange = exchange
        self._judge = judge
        self._evidence = evidence
        self._recorder = recorder
        self._portfolio = portfolio
        self._gateway = gateway
        self._reconciler = reconciler
        self._clock = clock
        self._selection = Selection(
            exchange,
            recorder,
            clock=clock,
            decisions_max=self.settings.decisions_max,
            ask_again_secs=self.settings.ask_again_secs,
            ask_again_move=self.settings.ask_again_move,
            secs_to_close_max=self.settings.secs_to_close_max,
        )
        self._decisions: dict[str, tuple[Decision, float]] = {}
        self._trade = asyncio.Lock()
        self.guard = Guard(judge, gateway, self.settings.table)
        self._reconciled = False
        self._equity: Micros = 0
        self._turn = asyncio.Lock()
        self._heard = Progress(0, 0, ())

    def tune(self, settings: CycleSettings) -> None:
        """Go by these from the next look on; what each mode may do stays as it was."""
        self.settings = replace(settings, table=self.settings.table)
        self._doubts.orders_plan = settings.risk.orders_per_minute_max
        self._selection.tune(settings)

    @property
    def equity(self) -> Micros:
        """Cash and positions at the last look, in micro-dollars."""
        return self._equity

    @property
    def reconciled(self) -> bool:
        """Whether our books have been squared with the exchange in this run."""
        return self._reconciled

    async def run_once(self) -> CycleFinished:
        """One cycle, start to end. Raises JournalUnwritable only: without a journal there is no trading."""
        async with self._turn:
            return await self._run()

    async def square(self, *, closing: bool = False) -> None:
        """Between two cycles, because the exchange has news: take over what filled and was paid.

        ``closing`` puts the result on record, as the last word of a run. Nothing is sent, and doubts are the
        next cycle's. Raises JournalUnwritable only.
        """
        async with self._turn:
            if not self._reconciled:
                return
            try:
                self._heard = self._heard.plus(await self._reconciler.run_once(first=closing))
            except ReconcileError as error:
                await self._set_state(self.state.safest(TradingState.REDUCING), str(error))

    async def square_books(self) -> tuple[str, ...]:
        """Only square the books, without looking for trades; what differed. Raises ReconcileError,
        JournalUnwritable."""
        async with self._turn:
            progress = await self._reconciler.run_once(first=True)
            self._heard, self._reconciled = self._heard.plus(progress), True
            return progress.differences

    async def _run(self) -> CycleFinished:
        started = self._clock.monotonic()
        tally = _Tally()
        snapshots: dict[str, MarketSnapshot] = {}
        try:
            first = not self._reconciled
            progress = self._heard.plus(await self._reconciler.run_once(first=first))
            self._reconciled, self._heard = True, Progress(0, 0, ())
            snapshots = {snapshot.ticker: snapshot for snapshot in await self._exchange.list_snapshots()}
            now = await self._exchange.now()
        except (ReconcileError, ExchangeError) as error:
            self._judge.note_trading(self._doubts.unread(error))
            await self._set_state(TradingState.REDUCING, str(error))
            return await self._finish(tally, snapshots, started, await self._exchange_time())
        tally.fills, tally.scanned = progress.fills, len(snapshots)
        self._equity = self._portfolio.value(snapshots)
        self._judge.note_trading(
            self._doubts.read(
                now,
                self._equity,
                progress.differences,
                orders_last_minute=self._gateway.orders_last_minute,
                clock_skew_secs=self._exchange.clock_skew_secs,
                first=first,
            ),
            now,
        )
        self._selection.forget(snapshots)
        forget_closed(self._decisions, snapshots)
        await self._set_state(*self._called_for(progress))
        await self._withdraw(tally)
        await self._keep_alive(now)
        await self._leave(snapshots, now, tally)
        welcome = self.state is TradingState.ACTIVE and self._gateway.takes_entries
        if self._rules.entries and welcome:
            await self._enter(snapshots, tally)
        return await self._finish(tally, snapshots, started, now)

    # States

    def _called_for(self, progress: Progress) -> tuple[TradingState, str]:
        demanded = self._gateway.demands.state
        if demanded is not None and demanded.floor is TradingState.HALTED:
            return TradingState.HALTED, f"the halt latch is set: {demanded.reason}"
        mode = self._judge.mode
        if mode is EmergencyMode.KILLED:
            return TradingState.HALTED, f"mode {mode}"
        if mode is EmergencyMode.SUSPENDED:
            return TradingState.REDUCING, f"mode {mode}"
        if self._portfolio.unresolved:
            unknown = ", ".join(sorted(self._portfolio.unresolved))
            return TradingState.REDUCING, f"the fate of {unknown} is unknown"
        if progress.differences:
            return TradingState.REDUCING, f"books corrected: {'; '.join(progress.differences)}"
        if demanded is not None:
            return demanded.floor, f"by hand: {demanded.reason}"
        return TradingState.ACTIVE, "reconciled"

    async def _set_state(self, state: TradingState, reason: str) -> None:
        if state is self.state:
            return
        old, self.state = self.state, state
        await self._recorder.record(StateChanged(at=self._clock.utc_now(), old=old, new=state, reason=reason))

    async def _withdraw(self, tally: _Tally) -> None:
        """Resting entries must outlive neither the leave nor the judgement that placed them."""
        if await self.guard.look():
            await self._catch_up(tally)

    async def _keep_alive(self, now: datetime) -> None:
        """Resting entries expire soon, so that they end with a bot that dies. While all is well, those
        live on whose forecast is the latest of its market and fresh."""
        rules = self._rules
        if self.state is not TradingState.ACTIVE or not rules.entries:
            return
        lifetime = self._exchange_span(rules.entry_ttl_secs)
        for order in list(self._portfolio.orders.values()):
            intent = self._portfolio.open_intents[order.client_order_id]
            if order.expires_at is None or order.expires_at - now > lifetime / 2:
                continue
            if self._stands(intent):
                await self._gateway.extend(intent, order, now + lifetime)

    def _stands(self, intent: OrderIntent) -> bool:
        """Whether the forecast behind an order is still what we think."""
        decision, at = self._decisions.get(intent.ticker, (None, 0.0))
        fresh = self._clock.monotonic() - at <= self._rules.forecast_age_secs_max
        return fresh and decision is not None and decision.decision_id == intent.decision_id

    async def _exchange_time(self) -> datetime | None:
        """The exchange's time, if that can be told without it."""
        try:
            return await self._exchange.now()
        except ExchangeError:
            return None

    def _exchange_span(self, secs: float) -> timedelta:
        """What passes at the exchange in so many seconds of ours."""
        return timedelta(seconds=secs * self._exchange.speed)

    # Exits

    async def _leave(self, snapshots: dict[str, MarketSnapshot], now: datetime, tally: _Tally) -> None:
        if self.state is TradingState.HALTED:
            return
        busy = self._exposure(now).busy
        demanded = self._gateway.demands.state
        working_down = demanded is not None and demanded.work_down
        for position in list(self._portfolio.positions.values()):
            snapshot = snapshots.get(position.ticker)
            if snapshot is None or position.ticker in busy:
                continue
            belief = self._live_belief(snapshot)
            plan = exit_for(
                position,
                snapshot,
                self._equity,
                self.settings.exits,
                belief,
                allowed=self._rules.exits,
            )
            if plan is None and working_down:
                plan = liquidation.work_down(position, snapshot, self.settings.liquidation)
            if plan is not None:
                await self._send(exit_intent(position, snapshot, plan), snapshot, tally)

    def _live_belief(self, snapshot: MarketSnapshot) -> Belief | None:
        """What a fresh forecast makes of the price now, or in an outage what is left of the last one."""
        rules = self._rules
        if not snapshot.book.two_sided:
            return None
        decision, at = self._decisions.get(snapshot.ticker, (None, 0.0))
        fresh = self._clock.monotonic() - at <= rules.forecast_age_secs_max
        if decision is not None and fresh and decision.cached is None and rules.ask_ai:
            return belief_of(decision, snapshot, rules)
        if rules.ask_ai:
            return None
        kept = self._judge.recall(snapshot)
        return belief_of(kept, snapshot, rules) if kept is not None else None

    @property
    def _rules(self) -> ModeRules:
        """The row of the mode as it is now."""
        return self.settings.table[self._judge.mode]

    def _row(self, *, cached: bool) -> ModeRules:
        """The row that judges a decision, at the share of its size that judgement has earned back."""
        row = row_for(self.settings.table, self._judge.mode, cached=cached)
        share = self._judge.size_share
        return row if share == 1.0 else replace(row, size_multiple=row.size_multiple * share)

    # Entries

    async def _enter(self, snapshots: dict[str, MarketSnapshot], tally: _Tally) -> None:
        chosen, dropped = await self._selection.choose(snapshots.values(), self._rules, self._judge.recall)
        tally.screened += dropped
        gate = asyncio.Semaphore(self.settings.concurrency_max)

        async def consider(snapshot: MarketSnapshot) -> None:
            async with gate:
                await self._consider(snapshot, tally)

        tasks = [asyncio.create_task(consider(each)) for each in chosen]
        try:
            await asyncio.gather(*tasks)
        finally:
            # A straggler must not send an order after its cycle has broken.
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _consider(self, listed: MarketSnapshot, tally: _Tally) -> None:
        snapshot = await self._selection.seen_lately(listed, self._rules)
        if snapshot is None:
            return
        if self._rules.ask_ai:
            self._selection.asked(snapshot)
        evidence = await self._evidence.evidence_for(snapshot.market, snapshot.as_of)
        answer = await self._judge.get_trading_decision(
            snapshot, evidence, deadline_secs=self.settings.decision_deadline_secs
        )
        if not isinstance(answer, Decision):
            tally.abstained += 1
            return
        if answer.cached is not None:
            self._selection.recalled(answer.ticker, answer.cached.decision_id)
        tally.decided += 1
        async with self._trade:  # one order at a time, each sized on what the one before has left
            await self._act(answer, snapshot, tally)

    async def _act(self, decision: Decision, asked: MarketSnapshot, tally: _Tally) -> None:
        try:
            snapshot = await self._exchange.get_snapshot(asked.ticker)
        except ExchangeError as error:
            self._decline(decision, Declined("market", "unavailable", str(error)))
            return
        if (stale := self._stale(decision, asked, snapshot)) is not None:
            self._decline(decision, stale)
            return
        rules = self._row(cached=decision.cached is not None)
        self._decisions[snapshot.ticker] = (decision, self._clock.monotonic())
        screened = screen(snapshot, rules, self.settings.secs_to_close_max) if rules.entries else None
        if screened is not None:
            self._decline(decision, Declined("screening", screened.reason, screened.detail))
            return
        sized = size(decision, snapshot, self._exposure(snapshot.as_of), rules)
        if isinstance(sized, Declined):
            self._decline(decision, sized)
            return
        rests = rules.entry_order is EntryOrder.LIMIT  # what we send crosses: the others leave nothing behind
        lifetime = self._exchange_span(rules.entry_ttl_secs) if rests else None
        await self._send(entry_intent(decision, snapshot, sized, lifetime), snapshot, tally)

    def _stale(self, decision: Decision, asked: MarketSnapshot, snapshot: MarketSnapshot) -> Declined | None:
        """Whether the world has moved on since the question was put."""
        age_secs, rules = decision.age_secs(self._clock.utc_now()) + decision.secs, self._rules
        limit = rules.forecast_age_secs_max
        if decision.cached is None and age_secs > limit:
            detail = f"{age_secs:.0f} s, at most {limit:.0f} {rules.at('forecast_age_secs_max')}"
            return Declined("staleness", "forecast_too_old", detail)
        if not snapshot.book.two_sided:
            return Declined("staleness", "book_gone", "no bid or no ask any more")
        moved = abs(snapshot.book.mid - asked.book.mid)
        if moved > self.settings.move_gate:
            detail = f"the price moved {format_cents(moved)} while the model was thinking"
            return Declined("staleness", "price_moved", detail)
        return None

    # Sending

    async def _send(self, intent: OrderIntent, snapshot: MarketSnapshot, tally: _Tally) -> None:
        verdict = risk.check(
            intent,
            snapshot,
            self._exposure(snapshot.as_of),
            self._row(cached=intent.cached),
            self.state,
            self.settings.risk,
            orders_last_minute=self._gateway.orders_last_minute,
        )
        if not verdict.allowed:
            self._recorder.emit(
                TradeDeclined(
                    at=self._clock.utc_now(),
                    decision_id=intent.decision_id,
                    ticker=intent.ticker,
                    gate="risk",
                    reason=str(verdict.reason),
                    detail=verdict.detail,
                )
            )
            return
        order = await self._gateway.submit(intent, verdict)
        if order is None:
            return
        tally.orders += 1
        await self._catch_up(tally)

    async def _catch_up(self, tally: _Tally) -> None:
        """Take over the fills and the cash that our last order or cancel has changed."""
        try:
            tally.fills += await self._reconciler.after_order()
        except ExchangeError as error:
            state = self.state.safest(TradingState.REDUCING)
            await self._set_state(state, f"fills unknown after an order: {error}")

    def _decline(self, decision: Decision, declined: Declined) -> None:
        self._recorder.emit(
            TradeDeclined(
                at=self._clock.utc_now(),
                decision_id=decision.decision_id,
                ticker=decision.ticker,
                gate=declined.gate,
                reason=declined.reason,
                detail=declined.detail,
            )
        )

    # Totals

    def _exposure(self, now: datetime) -> Exposure:
        return self._portfolio.exposure(self._equity, now)

    async def _finish(
        self, tally: _Tally, snapshots: dict[str, MarketSnapshot], started: float, now: datetime | None
    ) -> CycleFinished:
        self.cycles += 1
        status = self._judge.get_system_status()
        book = self._portfolio
        if snapshots:
            self._equity = book.value(snapshots)
        event = CycleFinished(
            at=self._clock.utc_now(),
            cycle=self.cycles,
            exchange_time=now or self._clock.utc_now(),
            secs=self._clock.monotonic() - started,
            scanned=tally.scanned,
            screened=tally.screened,
            decided=tally.decided,
            abstained=tally.abstained,
            orders=tally.orders,
            fills=tally.fills,
            mode=status.mode,
            state=self.state,
            cash=book.cash,
            equity=self._equity,
            realized_pnl=book.realized_pnl,
            open_positions=len(book.positions),
            resting_orders=len(book.orders),
            ai_cost=status.cost,
            contracts_held=sum(position.size for position in book.positions.values()),
            providers={name.value: health.value for name, health in status.providers.items()},
            active_route=str(status.active_route or ""),
            day_equity=self._doubts.day_equity,
        )
        self._recorder.emit(event)
        return event
