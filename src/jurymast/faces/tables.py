"""The journal as tables for other tools: one row a fact, columns that stay.

Times are ISO 8601 UTC, money dollars to the micro-dollar, counts contracts, durations seconds, probabilities
percents; what is not known is empty. A row is as its event was written; only ``health`` is added up: it has a
row for each provider and hour.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, TypeAlias

from jurymast.domain.decision import Abstain, Decision
from jurymast.domain.events import (
    CycleFinished,
    DecisionAbstained,
    DecisionMade,
    Event,
    FailedOver,
    ForecastScored,
    ModeChanged,
    OrderChanged,
    OrderFilled,
    OrderIntended,
    PositionSettled,
    TextCompleted,
)
from jurymast.domain.money import CONTRACT, USD
from jurymast.domain.order import Order, OrderIntent
from jurymast.domain.status import ProviderStatus
from jurymast.journal.history import HistoryFile
from jurymast.journal.queries import JournalReader
from jurymast.policy.spending import KINDS as SPENDING_KINDS
from jurymast.policy.spending import charges

Row: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Table:
    """What a table is made of: the kinds of event it reads, and the rows of one."""

    doc: str
    columns: tuple[str, ...]
    kinds: tuple[type[Event], ...]
    rows: Callable[[Event], Iterable[Row]]


def dollars(micros: int | None) -> Decimal | None:
    """Exact dollars."""
    return None if micros is None else Decimal(micros) / USD


def _decision(event: Event) -> Iterator[Row]:
    match event:
        case DecisionMade(decision=source):
            forecast = source.forecast
            yield {
                **_asked(event, source),
                "answer": "forecast",
                "provider": source.route.provider.value,
                "model": source.route.model,
                "served_model": source.served_model,
                "probability_pct": forecast.probability_pct,
                "low_pct": forecast.low_pct,
                "high_pct": forecast.high_pct,
                "weight": None if source.weight is None else source.weight.used,
                "detail": source.reason,
                "simulated": source.simulated,
            }
        case DecisionAbstained(abstain=source):
            yield {**_asked(event, source), "answer": source.reason.value, "detail": source.detail}
        case _:
            pass


def _asked(event: Event, source: Decision | Abstain) -> Row:
    return {
        "at": event.at,
        "decision_id": source.decision_id,
        "ticker": source.ticker,
        "rung": source.rung.value,
        "mode": source.mode.value,
        "market_usd": dollars(source.market_price),
        "cost_usd": dollars(source.cost),
        "secs": round(source.secs, 3),
    }


def _attempts(event: Event) -> Iterator[Row]:
    match event:
        case DecisionMade(decision=source) | DecisionAbstained(abstain=source):
            attempts, of, ticker = source.attempts, source.decision_id, source.ticker
        case TextCompleted():
            attempts, of, ticker = event.attempts, "", event.ticker or ""
        case _:
            return
    for place, attempt in enumerate(attempts, start=1):
        yield {
            "at": event.at,
            "decision_id": of,
            "ticker": ticker,
            "place": place,
            "provider": attempt.route.provider.value,
            "model": attempt.route.model,
            "instance": attempt.route.instance,
            "sent": attempt.sent,
            "outcome": attempt.outcome,
            "failure": attempt.failure.value if attempt.failure else None,
            "detail": attempt.detail,
            "secs": round(attempt.secs, 3),
            "cost_usd": dollars(attempt.cost),
            "uncertain_usd": dollars(attempt.uncertain),
            "estimated": attempt.estimated,
        }


def _orders(event: Event) -> Iterator[Row]:
    match event:
        case OrderIntended(intent=intent):
            yield {
                **_order(event, intent),
                "state": "intended",
                "decision_id": intent.decision_id,
                "purpose": intent.purpose.value,
                "reason": intent.reason,
            }
        case OrderChanged(order=order):
            yield {
                **_order(event, order),
                "state": order.status.value,
                "order_id": order.order_id,
                "filled": order.filled / CONTRACT,
            }
        case _:
            pass


def _order(event: Event, order: OrderIntent | Order) -> Row:
    return {
        "at": event.at,
        "client_order_id": order.client_order_id,
        "ticker": order.ticker,
        "side": order.side.value,
        "action": order.action.value,
        "count": order.count / CONTRACT,
        "limit_usd": dollars(order.limit_price),
    }


def _fills(event: Event) -> Iterator[Row]:
    if isinstance(event, OrderFilled):
        fill = event.fill
        yield {
            "at": event.at,
            "exchange_at": fill.at,
            "fill_id": fill.fill_id,
            "client_order_id": fill.client_order_id,
            "ticker": fill.ticker,
            "side": fill.side.value,
            "action": fill.action.value,
            "count": fill.count / CONTRACT,
            "price_usd": dollars(fill.price),
            "fee_usd": dollars(fill.fee),
        }


def _settlements(event: Event) -> Iterator[Row]:
    if isinstance(event, PositionSettled):
        paid = event.settlement
        yield {
            "at": event.at,
            "exchange_at": paid.at,
            "ticker": paid.ticker,
            "result": paid.result.value,
            "count": paid.count / CONTRACT,
            "revenue_usd": dollars(paid.revenue),
            "pnl_usd": dollars(event.pnl),
        }


def _forecasts(event: Event) -> Iterator[Row]:
    if isinstance(event, ForecastScored):
        record = event.record
        yield {
            "at": event.at,
            "ticker": record.ticker,
            "category": record.category,
            "provider": record.provider.value,
            "model": record.model,
            "tier": record.tier.value,
            "shadow": record.shadow,
            "forecast_at": record.as_of,
            "probability_pct": record.probability_pct,
            "calibrated_pct": round(record.calibrated * 100, 2),
            "market_usd": dollars(record.market_price),
            "weight": record.weight,
            "outcome": None if event.yes is None else int(event.yes),
            "simulated": record.simulated,
        }


def _modes(event: Event) -> Iterator[Row]:
    if isinstance(event, ModeChanged):
        yield {"at": event.at, "from": event.old.value, "to": event.new.value, "reason": event.reason}


def _failovers(event: Event) -> Iterator[Row]:
    if isinstance(event, FailedOver):
        routes = {"from": event.from_route, "to": event.to_route}
        told = {name: str(route) if route else None for name, route in routes.items()}
        yield {"at": event.at, **told, "reason": event.reason}


def _cycles(event: Event) -> Iterator[Row]:
    if isinstance(event, CycleFinished):
        yield {
            "at": event.at,
            "exchange_at": event.exchange_time,
            "cycle": event.cycle,
            "secs": round(event.secs, 3),
            "mode": event.mode.value,
            "state": event.state.value,
            "scanned": event.scanned,
            "decided": event.decided,
            "abstained": event.abstained,
            "orders": event.orders,
            "fills": event.fills,
            "open_positions": event.open_positions,
            "resting_orders": event.resting_orders,
            "cash_usd": dollars(event.cash),
            "equity_usd": dollars(event.equity),
            "realized_pnl_usd": dollars(event.realized_pnl),
            "ai_cost_usd": dollars(event.ai_cost),
        }


def _spend(event: Event) -> Iterator[Row]:
    for charge in charges(event):
        yield {
            "at": charge.at,
            "purpose": charge.purpose.value,
            "provider": charge.route.provider.value,
            "model": charge.route.model,
            "instance": charge.route.instance,
            "market": charge.market,
            "rung": charge.rung,
            "client": charge.asker,
            "known_usd": dollars(charge.known),
            "estimated_usd": dollars(charge.estimated),
            "uncertain_usd": dollars(charge.uncertain),
        }


def _columns(text: str) -> tuple[str, ...]:
    return tuple(text.split())


TABLES: Final[Mapping[str, Table]] = {
    "decisions": Table(
        "each question's answer or its absence",
        _columns(
            "at decision_id ticker answer rung mode provider model served_model probability_pct low_pct "
            "high_pct weight market_usd cost_usd secs detail simulated"
        ),
        (DecisionMade, DecisionAbstained),
        _decision,
    ),
    "attempts": Table(
        "each request to a provider, and each route that was not asked",
        _columns(
            "at decision_id ticker place provider model instance sent outcome failure detail secs cost_usd "
            "uncertain_usd estimated"
        ),
        (DecisionMade, DecisionAbstained, TextCompleted),
        _attempts,
    ),
    "orders": Table(
        "each intent, and each word of the exchange about an order",
        _columns(
            "at client_order_id order_id decision_id ticker side action purpose count limit_usd state filled "
            "reason"
        ),
        (OrderIntended, OrderChanged),
        _orders,
    ),
    "fills": Table(
        "each execution",
        _columns(
            "at exchange_at fill_id client_order_id ticker side action count price_usd fee_usd"
        ),
        (OrderFilled,),
        _fills,
    ),
    "settlements": Table(
        "each position that was paid out",
        _columns("at exchange_at ticker result count revenue_usd pnl_usd"),
        (PositionSettled,),
        _settlements,
    ),
    "forecasts": Table(
        "each model's first forecast of a market that has resolved",
        _columns(
            "at ticker category provider model tier shadow forecast_at probability_pct calibrated_pct "
            "market_usd weight outcome simulated"
        ),
        (ForecastScored,),
        _forecasts,
    ),
    "spend": Table(
        "each request that cost or may cost something",
        _columns(
            "at purpose provider model instance market rung client known_usd estimated_usd uncertain_usd"
        ),
        tuple(kind for kind in SPENDING_KINDS if kind is not OrderIntended),
        _spend,
    ),
    "modes": Table("each change of mode", _columns("at from to reason"), (ModeChanged,), _modes),
    "failovers": Table(
        "each change of who answers first", _columns("at from to reason"), (FailedOver,), _failovers
    ),
    "cycles": Table(
        "each trading cycle with the portfolio after it",
        _columns(
            "at exchange_at cycle secs mode state scanned decided abstained orders fills open_positions "
            "resting_orders cash_usd equity_usd realized_pnl_usd ai_cost_usd"
        ),
        (CycleFinished,),
        _cycles,
    ),
}  # fmt: skip
HEALTH: Final = Table(
    "each provider, hour by hour",
    _columns(
        "at provider uptime healthy_secs degraded_secs unhealthy_secs sent answered failed overdue probes "
        "probes_failed p50_secs p95_secs cost_usd uncertain_usd"
    ),
    (),
    lambda _: (),
)
"""The one table that is added up, from the history beside the journal."""


def rows_of(name: str, data_dir: Path, since: datetime, until: datetime) -> Iterator[Row]:
    """The rows of a table from ``since`` to before ``until``, oldest first, read as they are asked for.

    Raises KeyError for a table there is none of, JournalError without a journal.
    """
    if name == "health":
        return _health(data_dir, since, until)
    return _rows(TABLES[name], data_dir, since, until)


def _rows(table: Table, data_dir: Path, since: datetime, until: datetime) -> Iterator[Row]:
    with JournalReader(data_dir / "journal.db") as reader:
        for recorded in reader.scan(table.kinds, after_seq=reader.seq_before(since)):
            if recorded.event.at >= until:
                return
            if recorded.event.at < since:  # put aside, and older than what is asked for
                continue
            yield from table.rows(recorded.event)


def _health(data_dir: Path, since: datetime, until: datetime) -> Iterator[Row]:
    for span in HistoryFile(data_dir / "journal.db").fresh(since).spans:
        if span.start >= until:
            return
        for name, tally in sorted(span.tally.providers.items()):
            yield {
                "at": span.start,
                "provider": name,
                "uptime": tally.uptime,
                **{
                    f"{status.value}_secs": round(tally.secs.get(status, 0.0), 1)
                    for status in (ProviderStatus.HEALTHY, ProviderStatus.DEGRADED, ProviderStatus.UNHEALTHY)
                },
                "sent": tally.sent,
                "answered": tally.answered,
                "failed": tally.failed,
                "overdue": tally.overdue,
                "probes": tally.probes,
                "probes_failed": tally.probes_failed,
                "p50_secs": _finite(tally.quantile(0.5)),
                "p95_secs": _finite(tally.quantile(0.95)),
                "cost_usd": dollars(tally.cost),
                "uncertain_usd": dollars(tally.uncertain),
            }


def _finite(secs: float | None) -> float | None:
    """None for what took longer than is told apart."""
    return None if secs is None or secs == float("inf") else round(secs, 3)
