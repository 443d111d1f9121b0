"""The host's database, as far as it lets itself be written.

Decisions, texts, probes and failovers go to its table of model queries, each with its exact cost; the health
of models to its table of model health. Only methods that are coroutines are called, each within a bound;
whatever fails is counted and said in the status, and nothing of the host waits for it. Our own record is the
journal.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from typing import Any, Final

from jurymast.domain.decision import Abstain, Decision
from jurymast.domain.events import (
    DecisionAbstained,
    DecisionMade,
    Event,
    FailedOver,
    ModeChanged,
    ProbeSent,
    RouteChanged,
    SecondOpinionGiven,
    ShadowAnswered,
    TextCompleted,
)
from jurymast.domain.money import USD, Micros
from jurymast.domain.status import RouteState

WRITE_SECS: Final = 5.0
QUEUE_MAX: Final = 1_000
FAILURES_MAX: Final = 20
"""After so many failures in a row nothing more is tried."""
STRATEGY: Final = "jurymast"
_log = logging.getLogger("jurymast.adapter")


class HostDatabase:
    """Writes what it hears to ``db``. Everything runs on the layer's thread but :meth:`__init__`."""

    def __init__(self, db: Any) -> None:
        self._db = db
        self._rows: asyncio.Queue[tuple[str, Any]] | None = None
        self._writer: asyncio.Task[None] | None = None
        self._failures = 0
        self.written = 0
        self.trouble = ""

    @property
    def usable(self) -> bool:
        """Whether it has a method that can be awaited."""
        return any(self._method(name) is not None for name in ("log_llm_query", "update_model_health"))

    def heard(self, event: Event) -> None:
        """Take down an event. Called on the layer's loop."""
        for method, row in _rows(event):
            self._put(method, row)

    async def drain(self) -> None:
        """Write what waits, within a bound."""
        writer, self._writer = self._writer, None
        if writer is None or self._rows is None:
            return
        try:
            async with asyncio.timeout(WRITE_SECS):
                await self._rows.join()
        except TimeoutError:
            self.trouble = f"{self._rows.qsize()} rows were left unwritten"
        writer.cancel()
        await asyncio.gather(writer, return_exceptions=True)
        self._rows = None

    def _put(self, method: str, row: Any) -> None:
        if row is None or self._failures >= FAILURES_MAX or self._method(method) is None:
            return
        if self._rows is None or self._writer is None or self._writer.done():
            self._rows = asyncio.Queue(QUEUE_MAX)
            self._writer = asyncio.get_running_loop().create_task(self._write(self._rows))
        try:
            self._rows.put_nowait((method, row))
        except asyncio.QueueFull:
            self.trouble = f"the host's database has fallen behind by {QUEUE_MAX} rows"

    async def _write(self, rows: asyncio.Queue[tuple[str, Any]]) -> None:
        while True:
            name, row = await rows.get()
            try:
                method = self._method(name)
                if method is not None and self._failures < FAILURES_MAX:
                    async with asyncio.timeout(WRITE_SECS):
                        await method(row)
                    self.written += 1
                    self._failures = 0
            except Exception as error:  # the host's database is the host's: nothing of ours depends on it
                self._failures += 1
                self.trouble = f"{name}: {type(error).__name__}: {error}"
                _log.warning("the host's database refused a row: %s", self.trouble)
            finally:
                rows.task_done()

    def _method(self, name: str) -> Any:
        method = getattr(self._db, name, None)
        return method if inspect.iscoroutinefunction(method) else None


def _rows(event: Event) -> list[tuple[str, Any]]:
    match event:
        case DecisionMade(decision=decision):
            return [("log_llm_query", _decided(decision))]
        case DecisionAbstained(abstain=abstain):
            return [("log_llm_query", _abstained(abstain))]
        case TextCompleted():
            text = f"{event.detail} ({event.route})"
            return [("log_llm_query", _query(event, event.purpose, text, event.cost))]
        case ProbeSent():
            return [("log_llm_query", _query(event, "probe", f"{event.route}: {event.detail}", event.cost))]
        case SecondOpinionGiven():
            text = f"{event.route}: {event.detail}"
            return [("log_llm_query", _query(event, "second_opinion", text, event.cost))]
        case ShadowAnswered():
            return [("log_llm_query", _query(event, "shadow", f"{event.route}: {event.detail}", event.cost))]
        case FailedOver():
            text = f"{event.from_route or 'nobody'} -> {event.to_route or 'nobody'}: {event.reason}"
            return [("log_llm_query", _query(event, "failover", text, 0))]
        case ModeChanged():
            text = f"{event.old} -> {event.new}: {event.reason}"
            return [("log_llm_query", _query(event, "mode", text, 0))]
        case RouteChanged():
            return [("update_model_health", _health(event))]
        case _:
            return []


def _decided(decision: Decision) -> Any:
    belief = decision.forecast
    text = f"{belief.probability_pct}% ({belief.low_pct}-{belief.high_pct}): {decision.reason}"
    return _new(
        "LLMQuery",
        timestamp=decision.decided_at,
        strategy=STRATEGY,
        query_type="trading_decision",
        market_id=decision.ticker,
        prompt=f"forecast of {decision.ticker}",
        response=text,
        cost_usd=decision.cost / USD,
        confidence_extracted=belief.probability,
        decision_extracted=str(decision.rung),
    )


def _abstained(abstain: Abstain) -> Any:
    return _new(
        "LLMQuery",
        timestamp=abstain.decided_at,
        strategy=STRATEGY,
        query_type="trading_decision",
        market_id=abstain.ticker,
        prompt=f"forecast of {abstain.ticker}",
        response=f"{abstain.reason}: {abstain.detail}",
        cost_usd=abstain.cost / USD,
        decision_extracted="SKIP",
    )


def _query(event: Event, kind: str, text: str, cost: Micros) -> Any:
    return _new(
        "LLMQuery",
        timestamp=event.at,
        strategy=STRATEGY,
        query_type=kind,
        market_id=event.ticker,
        prompt=kind,
        response=text,
        cost_usd=cost / USD,
    )


def _health(event: RouteChanged) -> Any:
    usable = event.new in {RouteState.HEALTHY, RouteState.SUSPECT}
    return _new(
        "ModelHealth",
        model_name=event.route.model,
        is_available=usable,
        last_check_time=event.at,
        consecutive_failures=0 if event.new is RouteState.HEALTHY else 1,
        avg_response_time=0.0,
    )


def _new(name: str, **fields: Any) -> Any:
    """A row in the host's own class; None where it has none."""
    try:
        from src.utils import database
    except Exception:  # no host around us, or one whose database module can't be imported
        return None
    made = getattr(database, name, None)
    return None if made is None else made(**fields)
