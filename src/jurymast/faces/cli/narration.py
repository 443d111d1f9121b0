"""Events in plain words, one line each; None for those that people need not see."""

from __future__ import annotations

from jurymast.domain.decision import Decision
from jurymast.domain.events import (
    AlertTried,
    ApiDrifted,
    BudgetCrossed,
    CanaryFinished,
    CycleFinished,
    DecisionAbstained,
    DecisionMade,
    DemandsChanged,
    EdgeChanged,
    EmergencyShadowed,
    EntriesWithdrawn,
    Event,
    FailedOver,
    FaultInjected,
    ForecastNoted,
    ForecastScored,
    MarketScreened,
    ModeChanged,
    ModelNoticed,
    ModelSwapped,
    OpinionStopped,
    OrderChanged,
    OrderFilled,
    OrderIntended,
    OrderRefused,
    OrderUnresolved,
    PositionSettled,
    ProviderChanged,
    Reconciled,
    RolloutChanged,
    RoutesRanked,
    RunStarted,
    RunStopped,
    SecondOpinionGiven,
    SettingsReloaded,
    ShadowAnswered,
    SizeShareChanged,
    StateChanged,
    TradeDeclined,
    WatchdogFired,
    WithdrawalDelayed,
)
from jurymast.domain.money import format_cents, format_contracts, format_usd
from jurymast.domain.order import Action
from jurymast.faces.cli.model_news import describe_model

STYLES = {"good": "green", "bad": "red", "warn": "yellow", "quiet": "dim", "plain": ""}


def describe(event: Event) -> tuple[str, str] | None:  # noqa: PLR0912, PLR0915 (one case per kind of event)
    """(style, line) of an event, or None."""
    match event:
        case RunStarted():
            simulated = f" SIMULATED: {', '.join(event.simulated)}." if event.simulated else ""
            return (
                "quiet",
                f"jurymast {event.version} started (pid {event.pid}, seed {event.seed}).{simulated}",
            )
        case RunStopped():
            return "quiet", f"stopped: {event.reason}"
        case Reconciled():
            found = "; ".join(event.differences) or "no differences"
            return (
                "warn" if event.differences else "quiet",
                f"reconciled: {event.positions} positions, {event.orders} open orders, "
                f"{format_usd(event.cash)} cash, {found}",
            )
        case FaultInjected():
            place = f"{event.provider}/{event.model}" if event.model else event.provider
            return "warn", f"SIMULATED outage: {place}: {event.fault}"
        case ProviderChanged():
            style = {"healthy": "good", "unhealthy": "bad"}.get(event.new.value, "warn")
            return style, f"{event.provider} is {event.new} (was {event.old}): {event.reason}"
        case EdgeChanged():
            if event.suspect:
                return "warn", f"several providers behind {event.edge} fail together: asking elsewhere first"
            return "good", f"somebody behind {event.edge} answers again"
        case ShadowAnswered():
            away = "" if event.difference_pct is None else f", {event.difference_pct} points away"
            return "quiet", f"shadow: {event.route} beside {event.beside}: {event.detail}{away}"
        case EmergencyShadowed():
            away = "" if event.difference_pct is None else f", {event.difference_pct} points away"
            return "quiet", f"shadow: without providers {'hold' if event.held else event.detail}{away}"
        case FailedOver():
            style = "bad" if event.to_route is None else "warn"
            source, target = event.from_route or "nobody", event.to_route or "nobody"
            return style, f"failover {source} -> {target}: {event.reason}"
        case ModeChanged():
            style = "good" if event.new.severity < event.old.severity else "bad"
            return style, f"mode {event.old.upper()} -> {event.new.upper()}: {event.reason}"
        case SizeShareChanged():
            return (
                "good" if event.new > event.old else "warn",
                f"size from {event.old:.0%} to {event.new:.0%} of the mode's: {event.reason}",
            )
        case EntriesWithdrawn():
            return "good", (
                f"no order rests any more ({event.reason}): {event.count} known ones gone in "
                f"{event.secs:.1f} s and {event.tries} requests, the list read empty twice"
            )
        case WithdrawalDelayed():
            return "bad", (
                f"orders may still rest ({event.reason}): {event.left} seen after {event.secs:.0f} s and "
                f"{event.tries} requests, trying on: {event.detail}"
            )
        case DemandsChanged():
            return "warn", f"by hand: {'; '.join(event.demands) or 'nothing is demanded any more'}"
        case SettingsReloaded(refused=refused) if refused:
            return "bad", f"changed settings REFUSED, those of before go on: {' '.join(refused.split())}"
        case SettingsReloaded():
            later = f"; after a restart: {', '.join(event.waiting)}" if event.waiting else ""
            return "warn", f"settings: {', '.join(event.applied) or 'nothing that is taken over now'}{later}"
        case WatchdogFired():
            end = "the list read empty twice" if event.proven else "NOT PROVEN that none rests"
            return "bad", (
                f"the watchdog acted after {event.silent_secs:.0f} s of silence ({event.reason}): "
                f"{event.count} orders taken back in {event.secs:.1f} s, {end}"
            )
        case StateChanged():
            style = "good" if event.new.severity < event.old.severity else "bad"
            return style, f"trading {event.old.upper()} -> {event.new.upper()}: {event.reason}"
        case DecisionMade(decision=d):
            f = d.forecast
            marked = " SIMULATED" if d.simulated else ""
            return "plain", (
                f"{d.ticker} {f.probability_pct}% ({f.low_pct}-{f.high_pct}) against "
                f"{format_cents(d.market_price)}; {d.reason}{_weighed(d)}; "
                f"{format_usd(d.cost, places=4)}, {d.secs:.1f} s{marked}"
            )
        case DecisionAbstained(abstain=a):
            return "warn", f"{a.ticker} no decision: {a.reason}: {a.detail}"
        case MarketScreened():
            return "quiet", f"{event.ticker} not asked: {event.reason}: {event.detail}"
        case TradeDeclined():
            return "quiet", f"{event.ticker} no trade: {event.gate}: {event.reason}: {event.detail}"
        case OrderIntended(intent=i):
            return "plain", (
                f"{i.ticker} {i.action} {format_contracts(i.count)} {i.side} "
                f"at {format_cents(i.limit_price)} ({i.purpose}): {i.reason}"
            )
        case OrderChanged(order=o):
            done = f"{format_contracts(o.filled)} of {format_contracts(o.count)} filled"
            return "quiet", f"{o.ticker} order {o.status}: {done}"
        case OrderRefused():
            return "warn", f"{event.ticker} order refused: {event.code}: {event.detail}"
        case OrderUnresolved():
            return "bad", f"{event.ticker} order of unknown fate: {event.detail}"
        case OrderFilled(fill=f):
            verb = "bought" if f.action is Action.BUY else "sold"
            return "good", (
                f"{f.ticker} {verb} {format_contracts(f.count)} {f.side} at {format_cents(f.price)}, "
                f"fee {format_usd(f.fee, places=4)}"
            )
        case PositionSettled(settlement=s):
            style = "good" if event.pnl >= 0 else "bad"
            return style, f"{s.ticker} settled {s.result.upper()}: {format_usd(event.pnl, sign=True)}"
        case BudgetCrossed():
            return "warn", (
                f"AI money: {format_usd(event.spent, places=4)} spent, {event.cap} micro-dollars used up, "
                "a soft limit"
            )
        case ModelNoticed() | ModelSwapped() | CanaryFinished():
            return describe_model(event)
        case ApiDrifted():
            style = "quiet" if event.harmless else "bad"
            return style, f"the exchange's API has changed: {event.name}: {event.detail}"
        case RolloutChanged():
            style = "quiet" if event.by_hand else "bad"
            return style, f"rollout {event.old.upper()} -> {event.new.upper()}: {event.reason}"
        case CycleFinished():
            return "quiet", cycle_line(event)
        case _:
            return _of_opinions(event) or _of_alerts(event)


def _of_alerts(event: Event) -> tuple[str, str] | None:
    match event:
        case AlertTried(failure=""):
            return "quiet", f"told {event.contact}: {', '.join(event.causes)}"
        case AlertTried():
            causes = ", ".join(event.causes)
            return "warn", f"{event.contact} not told of {causes}, tried again later: {event.failure}"
        case _:
            return None


def _of_opinions(event: Event) -> tuple[str, str] | None:
    match event:
        case SecondOpinionGiven(probability_pct=percent):
            what = "the negation" if event.negated else "a second opinion"
            said = event.detail if percent is None else f"{percent} %"
            return "quiet", f"{what} of {event.ticker}: {event.route} says {said}"
        case RoutesRanked():
            of = f" on {event.category}" if event.category else ""
            first, *others = (each.route for each in event.order if not each.refused)
            return (
                "quiet",
                f"asked{of} by {event.by}: {first}, then {', '.join(map(str, others)) or 'nobody'}",
            )
        case ForecastNoted(record=r):
            return "quiet", f"{r.ticker}: {r.model} says {r.probability_pct} %, to be scored"
        case ForecastScored(record=r, yes=yes):
            came = "was void" if yes is None else f"resolved {'YES' if yes else 'NO'}"
            return "quiet", (
                f"{r.ticker} {came}: {r.model} said {r.probability_pct} %, the market "
                f"{format_cents(r.market_price)}"
            )
        case OpinionStopped():
            return "bad", f"{event.model} counts for nothing from now on: {event.reason}"
        case _:
            return None


def _weighed(decision: Decision) -> str:
    """What an opinion counts for, and what others have said beside it."""
    told = "" if decision.weight is None else f"; weight {decision.weight}"
    told += "".join(f"; {each.route} says {each.probability_pct}%" for each in decision.beside)
    return told if decision.negated_pct is None else f"{told}; of the negation {decision.negated_pct}%"


def cycle_line(event: CycleFinished) -> str:
    """The totals of one cycle."""
    return (
        f"cycle {event.cycle} {event.exchange_time:%Y-%m-%d %H:%M} "
        f"{event.mode.upper()} {event.state.upper()}: {event.scanned} markets, "
        f"{event.decided} decided, {event.abstained} abstained, "
        f"{event.orders} orders; equity {format_usd(event.equity)} "
        f"({event.open_positions} positions), AI {format_usd(event.ai_cost, places=4)}"
    )
