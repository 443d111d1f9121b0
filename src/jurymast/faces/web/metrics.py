"""What Prometheus is told: totals from the history, the present from the files a running bot keeps.

The first scrape adds up the history; each next one reads only what the journal has had since, so that a
scrape costs the same at any size of the journal. Names have their unit last (seconds, dollars), labels only
take values from closed lists and the configuration: providers, models, caps, contacts; no ticker, no reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Final

from jurymast import __version__
from jurymast.app import alerts, live
from jurymast.app.live import Live
from jurymast.domain.decision import AbstainReason, Rung
from jurymast.domain.errors import JournalError
from jurymast.domain.events import CycleFinished
from jurymast.domain.money import USD, Micros
from jurymast.domain.status import EmergencyMode, ProviderStatus, TradingState
from jurymast.faces.web import custom_metrics
from jurymast.faces.web.exposition import Family, Kind, written
from jurymast.journal.history import HistoryFile
from jurymast.journal.queries import JournalReader
from jurymast.policy.alert_signals import Level
from jurymast.policy.history import LATENCY_SECS, TOLD_BY, History, Present, Tally

ROUTES_MAX: Final = 100
"""Routes, budgets and contacts told of, each."""
BUCKETS_EVERY: Final = 2
"""Of the history's buckets of latency every second one is told."""


class Meter:
    """Reads one data directory. Not for several threads at once."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._journal = directory / "journal.db"
        self._identity = ""
        self._seq = 0
        self._whole = Tally()
        self._present = Present()

    def text(self) -> str:
        """The page, as it stands now; without a bot or a journal as well."""
        began = perf_counter()
        families = [*self._of_journal(), *self._of_present(), *self._of_alerts()]
        families += custom_metrics.read(self._directory, datetime.now(UTC).timestamp())
        took = _gauge("scrape_duration_seconds", "What putting this page together took.")
        return written([*families, took.add(perf_counter() - began)])

    def _of_journal(self) -> Iterator[Family]:
        running, cycle, readable = False, None, True
        try:
            with JournalReader(self._journal) as journal:
                self._follow(journal)
                running, cycle = journal.writer_pid() is not None, journal.last(CycleFinished)
        except JournalError:
            readable = False
        yield _gauge("up", "Whether a bot writes to the journal.").add(int(running))
        yield _gauge("journal_readable", "Whether the journal could be read.").add(int(readable))
        yield _gauge("build_info", "The version of this program.").add(1, version=__version__)
        if cycle is not None:
            yield from _of_cycle(cycle)
        yield from _of_totals(self._whole)

    def _follow(self, journal: JournalReader) -> None:
        """Add what has happened since the last time; everything at the first, or for another journal."""
        if not self._identity or journal.identity != self._identity:
            history = HistoryFile(self._journal)
            with suppress(JournalError):  # it can't be written: then it is read from memory, once
                history.catch_up()
            self._seq, self._whole, self._present = history.whole()
            self._identity = journal.identity
        news = History(self._present)
        for recorded in journal.scan(TOLD_BY, after_seq=self._seq):
            news.apply(recorded.event)
            self._seq = recorded.seq
        hours, _ = news.take()
        for _, tally in sorted(hours.items()):
            self._whole.add(tally)

    def _of_present(self) -> Iterator[Family]:
        present = live.read(self._directory)
        if present is None:
            return
        age_secs = (datetime.now(UTC) - present.at).total_seconds()
        yield _gauge("live_age_seconds", "Since the bot last said how it is.").add(max(0.0, age_secs))
        yield from _of_live(present)

    def _of_alerts(self) -> Iterator[Family]:
        state = alerts.read(self._directory)
        if state is None:
            return
        opened = _gauge("alerts_open", "Troubles that people were told of.")
        for level in Level:
            opened.add(sum(trouble.level is level for trouble in state.alerts.open), level=level)
        yield opened
        told = _counter("alert_deliveries_total", "Messages to contacts.")
        waiting = _gauge("alert_notices_waiting", "What a contact was not told yet.")
        for contact, delivery in sorted(state.deliveries.items())[:ROUTES_MAX]:
            told.add(delivery.sent, contact=contact, outcome="sent")
            told.add(delivery.failed, contact=contact, outcome="failed")
        for contact, inbox in sorted(state.inboxes.items())[:ROUTES_MAX]:
            waiting.add(len(inbox.waiting), contact=contact)
        yield told
        yield waiting
        yield _counter("alert_faults_total", "Faults of our own in telling.").add(state.faults)


def _of_cycle(cycle: CycleFinished) -> Iterator[Family]:
    at = _gauge("last_cycle_timestamp_seconds", "When a cycle finished last.")
    yield at.add(cycle.at.timestamp())
    yield _gauge("last_cycle_duration_seconds", "What that took.").add(cycle.secs)
    yield _gauge("equity_dollars", "Cash and positions at the bid.").add(_usd(cycle.equity))
    yield _gauge("cash_dollars", "Cash.").add(_usd(cycle.cash))
    realized = _gauge("realized_pnl_dollars", "Realized profit and loss.")
    yield realized.add(_usd(cycle.realized_pnl))
    yield _gauge("open_positions", "Markets with a position.").add(cycle.open_positions)
    yield _gauge("resting_orders", "Orders that may still fill.").add(cycle.resting_orders)


def _of_totals(whole: Tally) -> Iterator[Family]:
    yield _counter("run_seconds_total", "How long a bot has run.").add(whole.secs)
    yield _counter("cycles_total", "Trading cycles.").add(whole.cycles)
    yield _counter("orders_total", "Orders intended.").add(whole.orders)
    yield _counter("fills_total", "Executions.").add(whole.fills)
    yield _counter("settlements_total", "Positions paid out.").add(whole.settled)
    yield _counter("failovers_total", "Changes of who answers first.").add(whole.failovers)
    yield _gauge("settled_pnl_dollars", "Profit and loss of positions paid out.").add(_usd(whole.pnl))
    for name, said, label, words, counts in (
        ("decisions_total", "Forecasts, by rung of the ladder of judgement.", "rung", Rung, whole.rungs),
        ("abstentions_total", "Explicit non-decisions, by reason.", "reason", AbstainReason, whole.abstained),
        ("mode_seconds_total", "Time in each mode.", "mode", EmergencyMode, whole.modes),
        ("trading_state_seconds_total", "Time in each trading state.", "state", TradingState, whole.states),
    ):
        family = _counter(name, said)
        # Zeros too: Prometheus takes the first value that it sees of a counter for where it began.
        known = dict.fromkeys(map(str, words), 0) | {str(key): value for key, value in counts.items()}
        for key, value in sorted(known.items()):
            family.add(value, **{label: key})
        yield family
    yield from _of_providers(whole)


def _of_providers(whole: Tally) -> Iterator[Family]:
    requests = _counter("provider_requests_total", "Requests for decisions, by what became of them.")
    probes = _counter("provider_probes_total", "Probes, by whether the route was well.")
    cost = _counter("provider_cost_dollars_total", "AI money, all purposes.")
    time = _counter("provider_status_seconds_total", "Time in each state of health.")
    answer = Family("provider_answer_duration_seconds", Kind.HISTOGRAM, "How long answers took.")
    for name, tally in sorted(whole.providers.items()):
        ended = {"answered": tally.answered, "failed": tally.failed, "overdue": tally.overdue}
        for outcome, count in ended.items():
            requests.add(count, provider=name, outcome=outcome)
        requests.add(max(0, tally.sent - sum(ended.values())), provider=name, outcome="other")
        probes.add(tally.probes - tally.probes_failed, provider=name, outcome="well")
        probes.add(tally.probes_failed, provider=name, outcome="sick")
        cost.add(_usd(tally.cost), provider=name)
        for status, secs in sorted(tally.secs.items()):
            time.add(secs, provider=name, status=str(status))
        counts = [
            sum(tally.latency[n : n + BUCKETS_EVERY]) for n in range(0, len(LATENCY_SECS), BUCKETS_EVERY)
        ]
        bounds = LATENCY_SECS[BUCKETS_EVERY - 1 :: BUCKETS_EVERY]
        answer.histogram(bounds, [*counts, tally.latency[-1]], tally.answer_secs, provider=name)
    yield from (requests, probes, cost, time, answer)


def _of_live(present: Live) -> Iterator[Family]:
    status = present.status
    mode = _gauge("mode", "1 for the mode of judgement in force.")
    state = _gauge("trading_state", "1 for what orders may do.")
    health = _gauge("provider_status", "1 for the health of each provider.")
    for each in EmergencyMode:
        mode.add(int(each is status.mode), mode=each)
    for this in TradingState:
        state.add(int(this is present.state), state=this)
    for provider, found in status.providers.items():
        for word in ProviderStatus:
            health.add(int(word is found), provider=provider, status=word)
    yield from (mode, state, health)
    yield _gauge("size_ratio", "Share of the mode's size at which entries are made.").add(present.size_share)
    simulated = _gauge("simulated", "1 for each part that is not real.")
    for part in present.simulated:
        simulated.add(1, part=part)
    yield simulated
    flying = _gauge("route_requests_in_flight", "Requests under way.")
    usual = _gauge("route_answer_median_seconds", "How long answers usually take.")
    sick = _gauge("route_usable", "Whether a route is asked: healthy or suspect.")
    for report in status.routes[:ROUTES_MAX]:
        route = report.route
        labels = {"provider": route.provider.value, "model": route.model, "instance": route.instance}
        flying.add(report.in_flight, **labels)
        usual.add(report.median_secs or None, **labels)
        sick.add(int(report.state in {"healthy", "suspect"}), **labels)
    yield from (flying, usual, sick)
    yield from _of_budgets(present)


def _of_budgets(present: Live) -> Iterator[Family]:
    limit = _gauge("budget_limit_dollars", "Caps of AI money.")
    spent = _gauge("budget_spent_dollars", "Spent in the present window of a cap, doubtful bills included.")
    held = _gauge("budget_held_dollars", "Held for requests under way.")
    for report in present.status.budgets[:ROUTES_MAX]:
        limit.add(_usd(report.limit), budget=report.name)
        spent.add(_usd(report.spent + report.uncertain), budget=report.name)
        held.add(_usd(report.held), budget=report.name)
    yield from (limit, spent, held)


def _usd(amount: Micros) -> float:
    return amount / USD


def _gauge(name: str, said: str) -> Family:
    return Family(name, Kind.GAUGE, said)


def _counter(name: str, said: str) -> Family:
    return Family(name, Kind.COUNTER, said)
