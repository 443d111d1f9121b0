"""``status`` and ``why``: what the journal says, as facts and as text."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jurymast.app.clock import SystemClock
from jurymast.app.control import ControlFile
from jurymast.domain.errors import JournalError, JurymastError
from jurymast.domain.events import (
    ApiDrifted,
    CanaryFinished,
    CycleFinished,
    DecisionAbstained,
    DecisionMade,
    Event,
    FailedOver,
    ForecastNoted,
    ModeChanged,
    ModelNoticed,
    ModelSwapped,
    OpinionStopped,
    OrderFilled,
    OrderIntended,
    RoutesRanked,
    RunStarted,
    RunStopped,
    StateChanged,
)
from jurymast.domain.money import USD, format_usd
from jurymast.domain.provider import same_model
from jurymast.domain.status import TradingState
from jurymast.faces.cli.model_news import describe_model
from jurymast.faces.cli.narration import describe
from jurymast.journal.queries import JournalReader
from jurymast.policy.demands import sentences
from jurymast.ports import Recorded

STALE_SECS = 120.0
CHAIN_MAX = 200


def status(data_dir: Path) -> dict[str, Any]:
    """The last known state. Money in dollars, times in ISO 8601 UTC, ages in seconds."""
    now = SystemClock().utc_now()
    demands = ControlFile(data_dir, SystemClock()).demands()
    by_hand = {
        "halted": demands.floor is TradingState.HALTED,
        "by_hand": list(sentences(demands, now)),
    }
    try:
        return _facts(data_dir, by_hand)
    except JournalError as error:
        if not by_hand["by_hand"]:
            raise
        return {"running": None, "mode": None, "journal": str(error), **by_hand}


def _facts(data_dir: Path, by_hand: dict[str, Any]) -> dict[str, Any]:
    with JournalReader(data_dir / "journal.db") as journal:
        pid = journal.writer_pid()
        started, stopped = journal.last(RunStarted), journal.last(RunStopped)
        cycle = journal.last(CycleFinished)
        facts: dict[str, Any] = {
            "running": pid is not None,
            "pid": pid,
            **by_hand,
            "simulated": list(started.simulated) if started else [],
            "exchange": started.exchange if started else None,
            "last_stop": stopped.reason if stopped and pid is None else None,
            "api_drift": _drift(journal, started),
            "stopped_models": _stopped(journal),
            "models": _model_news(journal, started),
            "mode": None,
        }
        if cycle is not None:
            facts |= _cycle_facts(cycle)
        for name, kind in (
            ("mode_change", ModeChanged),
            ("state_change", StateChanged),
            ("failover", FailedOver),
        ):
            event = journal.last(kind)
            facts[f"last_{name}"] = None if event is None else _dated(event)
        return facts


def _drift(journal: JournalReader, started: RunStarted | None) -> list[str]:
    """What the exchange sent in this run that can't be read. New fields that do no harm are left out."""
    rows = journal.events([ApiDrifted], newest_first=True, limit=CHAIN_MAX)
    found = (row.event for row in reversed(rows) if started is not None and row.event.at >= started.at)
    return [event.name for event in found if isinstance(event, ApiDrifted) and not event.harmless]


def _stopped(journal: JournalReader) -> list[str]:
    """Models whose opinions count for nothing any more, and why."""
    rows = journal.events([OpinionStopped], newest_first=True, limit=CHAIN_MAX)
    found = (row.event for row in reversed(rows))
    return [f"{event.model}: {event.reason}" for event in found if isinstance(event, OpinionStopped)]


def _model_news(journal: JournalReader, started: RunStarted | None) -> list[str]:
    """What people should know about models in this run: names, ends, swaps, behaviour. The last of each."""
    rows = journal.events([ModelNoticed, ModelSwapped, CanaryFinished], newest_first=True, limit=CHAIN_MAX)
    news: dict[tuple[str, ...], str] = {}
    for event in (row.event for row in reversed(rows)):
        if started is None or event.at < started.at:
            continue
        match event:
            case ModelNoticed():
                news["noticed", str(event.provider), event.model, event.notice] = describe_model(event)[1]
            case ModelSwapped():
                news["swapped", str(event.route)] = (
                    "" if same_model(event.served, event.route.model) else describe_model(event)[1]
                )
            case CanaryFinished():
                news["canary", event.served] = describe_model(event)[1] if event.changed else ""
            case _:
                pass
    return [line for line in news.values() if line]


def _cycle_facts(cycle: CycleFinished) -> dict[str, Any]:
    return {
        "mode": cycle.mode.value,
        "state": cycle.state.value,
        "age_secs": round((datetime.now(UTC) - cycle.at).total_seconds(), 1),
        "cycle": cycle.cycle,
        "exchange_time": cycle.exchange_time.isoformat(),
        "markets": cycle.scanned,
        "providers": cycle.providers or {},
        "active_route": cycle.active_route or None,
        "equity_usd": cycle.equity / USD,
        "cash_usd": cycle.cash / USD,
        "realized_pnl_usd": cycle.realized_pnl / USD,
        "open_positions": cycle.open_positions,
        "resting_orders": cycle.resting_orders,
        "ai_cost_usd": cycle.ai_cost / USD,
    }


def status_text(facts: dict[str, Any]) -> str:
    """The facts for people."""
    if facts["running"] is None:
        told = (f"by hand      {line}" for line in facts["by_hand"])
        return "\n".join([f"journal      {facts['journal']}", *told])
    alive = f"running (pid {facts['pid']})" if facts["running"] else "NOT RUNNING"
    if facts["last_stop"]:
        alive += f", stopped: {facts['last_stop']}"
    lines = [f"jurymast     {alive}"]
    if facts["halted"]:
        lines.append("halt latch   SET: no orders until `jurymast resume`")
    lines += [f"by hand      {line}" for line in facts["by_hand"]]
    if facts["simulated"]:
        lines.append(f"SIMULATED    {', '.join(facts['simulated'])}")
    if facts["api_drift"]:
        lines.append(f"API CHANGED  can't be read: {', '.join(facts['api_drift'])}; update jurymast")
    lines += [f"stopped      {line}" for line in facts["stopped_models"]]
    lines += [f"models       {line}" for line in facts["models"]]
    if facts["mode"] is None:
        return "\n".join([*lines, "no cycle has finished yet"])
    stale = "  STALE" if facts["running"] and facts["age_secs"] > STALE_SECS else ""
    lines += [
        f"mode         {facts['mode'].upper()}   trading {facts['state'].upper()}",
        f"cycle        {facts['cycle']}, {facts['age_secs']:.0f} s ago{stale}; {facts['markets']} markets, "
        f"exchange time {facts['exchange_time'][:16]}",
        f"answering    {facts['active_route'] or 'nobody'}",
        "providers    " + "  ".join(f"{name} {health}" for name, health in facts["providers"].items()),
        f"equity       {format_usd(round(facts['equity_usd'] * USD))}   cash "
        f"{format_usd(round(facts['cash_usd'] * USD))}   realised "
        f"{format_usd(round(facts['realized_pnl_usd'] * USD), sign=True)}",
        f"positions    {facts['open_positions']}   resting orders {facts['resting_orders']}",
        f"AI cost      {format_usd(round(facts['ai_cost_usd'] * USD), places=4)} since the start",
    ]
    for name in ("mode_change", "state_change", "failover"):
        if (event := facts[f"last_{name}"]) is not None:
            lines.append(f"last         {event['at'][11:19]} {event['line']}")
    return "\n".join(lines)


def why(data_dir: Path, ticker: str | None) -> dict[str, Any]:
    """The chain of reasons of a market's last story; the last market asked about when no ticker is named."""
    with JournalReader(data_dir / "journal.db") as journal:
        if ticker is None:
            last = journal.events([DecisionMade, DecisionAbstained], newest_first=True, limit=1)
            if not last:
                raise JurymastError("no model has been asked about any market yet")
            ticker = str(last[0].event.ticker)
        story = journal.events(ticker=ticker, newest_first=True, limit=CHAIN_MAX)
        if not story:
            raise JurymastError(
                f"the journal has nothing about {ticker}: it was never listed, or never reached a filter. "
                "Tickers are case-sensitive."
            )
        chain = _last_story(story)
        trade = _last_trade(journal, story, chain)
        mode = _before(journal, ModeChanged, chain[-1])
        return {
            "ticker": ticker,
            "traded": any(isinstance(row.event, OrderFilled) for row in chain),
            "mode": mode or "normal",
            "chain": [{"seq": row.seq, **_dated(row.event)} for row in chain] + _attempts(chain),
            "order": _order(journal, chain),
            "last_trade": [{"seq": row.seq, **_dated(row.event)} for row in trade],
        }


def _order(journal: JournalReader, chain: list[Recorded]) -> dict[str, Any] | None:
    """In which order routes of equal health were asked then, and why; None before it was ever told."""
    noted = (row.event.record.category for row in chain if isinstance(row.event, ForecastNoted))
    category = next(noted, "").casefold()
    for row in journal.events([RoutesRanked], newest_first=True, limit=CHAIN_MAX):
        event = row.event
        if isinstance(event, RoutesRanked) and row.seq < chain[-1].seq and event.category in {"", category}:
            routes = [{"route": str(each.route), "reason": each.reason} for each in event.order]
            return {"at": event.at.isoformat(), "by": event.by, "routes": routes}
    return None


def _last_story(newest_first: list[Recorded]) -> list[Recorded]:
    """From the last question to a model onwards; without one, the last refusal to ask."""
    for place, row in enumerate(newest_first):
        if isinstance(row.event, DecisionMade | DecisionAbstained):
            return newest_first[: place + 1][::-1]
    return newest_first[:1]


def _last_trade(
    journal: JournalReader, newest_first: list[Recorded], chain: list[Recorded]
) -> list[Recorded]:
    """The story of the last order when it is an older one: a position's reason to be."""
    intents = [row for row in newest_first if isinstance(row.event, OrderIntended)]
    if not intents or intents[0] in chain:
        return []
    rows = journal.events(decision_id=intents[0].event.decision_id, limit=CHAIN_MAX)
    fills = [row for row in newest_first if isinstance(row.event, OrderFilled) and row.seq > rows[0].seq]
    return sorted([*rows, *fills], key=lambda row: row.seq)


def _before(journal: JournalReader, kind: type[ModeChanged], row: Recorded) -> str | None:
    modes = [r for r in journal.events([kind], newest_first=True, limit=CHAIN_MAX) if r.seq < row.seq]
    return modes[0].event.new.value if modes and isinstance(modes[0].event, ModeChanged) else None


def _attempts(chain: list[Recorded]) -> list[dict[str, Any]]:
    rows = []
    for row in chain:
        match row.event:
            case DecisionMade(decision=source):
                attempts = source.attempts
            case DecisionAbstained(abstain=source):
                attempts = source.attempts
            case _:
                continue
        for attempt in attempts:
            detail = f": {attempt.detail}" if attempt.detail else ""
            took = f" in {attempt.secs:.1f} s" if attempt.sent else ""
            line = f"{attempt.route} {attempt.outcome}{took}{detail}"
            rows.append({"seq": row.seq, "at": row.event.at.isoformat(), "kind": "attempt", "line": line})
    return rows


def why_text(chain: dict[str, Any]) -> str:
    """The chain for people."""
    verdict = "traded" if chain["traded"] else "not traded"
    lines = [f"{chain['ticker']}: {verdict} (mode {chain['mode'].upper()})"]
    lines += [f"  {row['at'][11:19]} {row['line']}" for row in chain["chain"]]
    if (order := chain["order"]) is not None:
        lines.append(f"asked by {order['by']} among equals in health (since {order['at'][11:19]}):")
        lines += [
            f"  {place}. {each['route']}: {each['reason']}" for place, each in enumerate(order["routes"], 1)
        ]
    if chain["last_trade"]:
        lines.append("last trade:")
        lines += [f"  {row['at'][11:19]} {row['line']}" for row in chain["last_trade"]]
    return "\n".join(lines)


def _dated(event: Event) -> dict[str, Any]:
    described = describe(event)
    return {
        "at": event.at.isoformat(),
        "kind": type(event).__name__,
        "line": described[1] if described else type(event).__name__,
    }
