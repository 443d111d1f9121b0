"""What telling costs: a look for troubles beside the trading, and a scrape of /metrics over a long journal.

Run: ``uv run benchmarks/telling.py [--hours N] [--json]``. The journal is made up and SIMULATED.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from history_world import ROUTE, cycle, decided, started
from jurymast.domain.decision import Attempt
from jurymast.faces.web.metrics import Meter
from jurymast.journal.sqlite import SqliteJournal
from jurymast.policy import alert_contacts, alert_signals, alerts
from jurymast.policy.alert_contacts import Contact, Inbox
from jurymast.policy.alert_signals import AlertKind, Level, Signal
from jurymast.policy.alerts import Alerts, AlertSettings
from jurymast.testing.clock import FakeClock

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
PAGE = 2_000


async def fill(path: Path, hours: int) -> int:
    """A journal of so many hours, 120 rows each; how many rows."""
    journal = SqliteJournal.open(path, clock=FakeClock())
    rows: list[Any] = [started(BEGIN)]
    attempt = Attempt(ROUTE, "answered", secs=0.8, cost=1_500)
    total = 0
    for minute in range(hours * 60):
        at = BEGIN + timedelta(minutes=minute)
        rows += [decided(at, attempts=(attempt,)), cycle(at + timedelta(seconds=30))]
        if len(rows) >= PAGE:
            await journal.append(*rows)
            total, rows = total + len(rows), []
    await journal.append(*rows)
    await journal.close()
    return total + len(rows)


def timed(what: Callable[[], object], times: int) -> dict[str, float]:
    """Median and worst, in milliseconds."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        what()
        took.append((time.perf_counter() - began) * 1_000)
    return {"median_ms": round(statistics.median(took), 3), "worst_ms": round(max(took), 3)}


def look(troubles: int) -> Callable[[], object]:
    """One look of the alert rules with so many open troubles, five contacts and a cycle's signals."""
    rules, now, stands = AlertSettings(), BEGIN, Alerts()
    for place in range(troubles):
        signal = Signal(AlertKind.MODEL, str(place), Level.WARNING, True, "x")
        stands, _ = alerts.heard(stands, signal, now, rules)
    stands, told = alerts.passed(stands, now + timedelta(seconds=rules.open_secs), rules)
    now += timedelta(seconds=rules.open_secs + 1)
    contacts = [Contact(str(place)) for place in range(5)]
    inboxes = deque(alert_contacts.taken(Inbox(), each, told, stands, now) for each in contacts)
    signals = list(alert_signals.of(cycle(BEGIN)))

    def once() -> None:
        here = stands
        for signal in signals:
            here, _ = alerts.heard(here, signal, now, rules)
        here, notices = alerts.passed(here, now, rules)
        for contact, inbox in zip(contacts, inboxes, strict=True):
            alert_contacts.due(alert_contacts.taken(inbox, contact, notices, here, now), contact, now)

    return once


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=int, default=2_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found: dict[str, Any] = {f"look, {n} open": timed(look(n), 200) for n in (0, 10, 200)}
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        found["rows"] = asyncio.run(fill(place / "journal.db", options.hours))
        found["first scrape, no history yet"] = timed(Meter(place).text, 1)
        found["first scrape"] = timed(Meter(place).text, 3)
        meter = Meter(place)
        meter.text()
        found["next scrape"] = timed(meter.text, 50)
    if options.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"{name:<32} {value}")


if __name__ == "__main__":
    main()
