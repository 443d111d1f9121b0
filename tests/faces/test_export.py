"""``jurymast export`` and ``jurymast plot``: what they tell is what the journal has."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import random
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from history_world import ROUTE, abstained, cycle, decided, provider_is, started
from jurymast.domain.decision import Attempt, ForecastRecord
from jurymast.domain.events import Event, FailedOver, ForecastScored, ModeChanged, TextCompleted
from jurymast.domain.market import Side
from jurymast.domain.money import CENT, CONTRACT, USD
from jurymast.domain.order import Action, Fill, Settlement
from jurymast.domain.provider import FailureKind, ProviderName, Tier
from jurymast.domain.status import EmergencyMode, ProviderStatus
from jurymast.faces.cli.export import NAMES
from jurymast.faces.cli.main import cli
from jurymast.faces.cli.plot import NAMES as PLOTS
from jurymast.faces.pictures import PICTURES
from jurymast.faces.tables import HEALTH, TABLES, dollars
from jurymast.journal.sqlite import SqliteJournal
from jurymast.testing.clock import FakeClock

NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
ANSWERED = Attempt(ROUTE, "answered", "", 1.25, 1_234)
FAILED = Attempt(ROUTE, "failed", "=cmd|' /C calc'!A0", 0.5, 0, FailureKind.TIMEOUT)


def written(directory: Path, events: Iterable[Event]) -> Path:
    async def write() -> None:
        journal = SqliteJournal.open(directory / "journal.db", clock=FakeClock())
        known = list(events)
        for place in range(0, len(known), 1_000):
            await journal.append(*known[place : place + 1_000])
        await journal.close()

    asyncio.run(write())
    return directory


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


def exported(name: str, directory: Path, *options: str) -> list[dict[str, str]]:
    done = run("export", name, "--data-dir", str(directory), *options)
    assert done.exit_code == 0, done.output
    return list(csv.DictReader(io.StringIO(done.output)))


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty days: decisions with their attempts, outages, equity, forecasts that came true or not."""
    from jurymast.domain.events import OrderFilled, PositionSettled

    dice, at, events = random.Random(0), NOW - timedelta(days=30), list[Event]()
    events.append(started(at))
    equity = 10_000
    while at < NOW - timedelta(minutes=20):
        at += timedelta(minutes=10)
        equity += dice.randrange(-20, 22)
        events.append(cycle(at, equity=equity * USD))
        events.append(decided(at, attempts=(FAILED, replace(ANSWERED, secs=dice.lognormvariate(0, 0.5)))))
        if dice.random() < 0.02:
            name = dice.choice([ProviderName.XAI, ProviderName.OPENAI])
            events.append(provider_is(at, name, dice.choice(list(ProviderStatus))))
        if dice.random() < 0.05:
            events.append(abstained(at, attempts=(FAILED,)))
        if dice.random() < 0.1:
            pct = dice.randrange(1, 100)
            record = ForecastRecord(
                "Q-1", "Q", "world", ProviderName.XAI, "grok-4.3", Tier.MID, pct, 50 * CENT, 0.1, pct / 100,
                at, at,
            )  # fmt: skip
            events.append(ForecastScored(at=at, record=record, yes=dice.random() * 100 < pct))
    events += [
        ModeChanged(at=at, old=EmergencyMode.NORMAL, new=EmergencyMode.MINIMAL, reason="nobody answers"),
        FailedOver(at=at, from_route=ROUTE, to_route=None, reason="open"),
        TextCompleted(
            at=at,
            purpose="gateway",
            route=ROUTE,
            detail="answered",
            secs=1.0,
            attempts=(ANSWERED,),
            asker="desk",
        ),
        OrderFilled(
            at=at,
            fill=Fill("f-1", "o-1", "c-1", "Q-1", Side.YES, Action.BUY, 41 * CENT, 250, 12_345, at),
        ),
        PositionSettled(
            at=at, settlement=Settlement("Q-1", Side.YES, 3 * CONTRACT, 3 * USD, at), pnl=1_770_000
        ),
    ]
    return written(tmp_path_factory.mktemp("month"), events)


class TestExport:
    def test_every_table_can_be_had_in_every_form(self, month: Path) -> None:
        """The same rows as CSV, as lines of JSON and as one JSON, with the columns that are promised."""
        for name in NAMES:
            table = HEALTH if name == "health" else TABLES[name]
            rows = exported(name, month)
            plain = json.loads(run("export", name, "--json", "--data-dir", str(month)).output)
            lines = run("export", name, "--format", "jsonl", "--data-dir", str(month)).output.splitlines()
            assert [json.loads(line) for line in lines] == plain
            assert len(rows) == len(plain)
            assert bool(rows) is (name != "orders"), name
            for row in plain:
                assert tuple(row) == table.columns
        assert set(NAMES) == {*TABLES, "health"}

    def test_figures_are_exact(self, month: Path) -> None:
        """Money to the micro-dollar, counts in contracts, times in UTC, the unknown empty."""
        (fill,) = exported("fills", month)
        assert (fill["price_usd"], fill["fee_usd"], fill["count"]) == ("0.410000", "0.012345", "2.5")
        assert datetime.fromisoformat(fill["at"]).tzinfo is UTC or fill["at"].endswith("+00:00")
        (paid,) = exported("settlements", month)
        assert (paid["revenue_usd"], paid["pnl_usd"]) == ("3.000000", "1.770000")
        attempt = exported("attempts", month)[1]
        assert (attempt["cost_usd"], attempt["failure"], attempt["sent"]) == ("0.001234", "", "true")
        assert [row["client"] for row in exported("spend", month) if row["client"]] == ["desk"]
        assert dollars(1) == Decimal("0.000001")

    def test_a_text_is_no_formula(self, month: Path) -> None:
        """What a vendor writes can't run in whoever opens the table; as JSON it is what it was."""
        assert exported("attempts", month)[0]["detail"] == "'=cmd|' /C calc'!A0"
        first = json.loads(run("export", "attempts", "--json", "--data-dir", str(month)).output)[0]
        assert first["detail"] == "=cmd|' /C calc'!A0"

    def test_days_bound_it(self, month: Path) -> None:
        """Only what is younger, and what the bot writes meanwhile does not come in."""
        cycles = exported("cycles", month, "--days", "1")
        assert 100 < len(cycles) < 150
        assert len(exported("cycles", month)) > 4_000
        hours = {row["at"] for row in exported("health", month, "--days", "2")}
        assert 45 <= len(hours) <= 50

    def test_files_and_readers_that_leave(self, month: Path, tmp_path: Path) -> None:
        """A file is written whole; one that can't be is an error; whoever has seen enough may go."""
        done = run("export", "cycles", "-o", str(tmp_path / "c.csv"), "--data-dir", str(month))
        assert done.exit_code == 0
        assert (tmp_path / "c.csv").read_text().count("\n") == len(exported("cycles", month)) + 1
        refused = run("export", "cycles", "-o", str(tmp_path / "no" / "c.csv"), "--data-dir", str(month))
        assert "can't be written" in str(refused.exception)
        shell = f"{sys.executable} -m jurymast export cycles --data-dir {month} | head -2"
        piped = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, timeout=60, check=True)
        assert len(piped.stdout.splitlines()) == 2
        assert piped.stderr == ""

    def test_no_journal_is_said(self, tmp_path: Path) -> None:
        """For every table, with its cure."""
        for name in NAMES:
            assert "there is no journal" in str(run("export", name, "--data-dir", str(tmp_path)).exception)


class TestPlot:
    def test_every_picture_is_drawn_and_told(self, month: Path, tmp_path: Path) -> None:
        """As SVG that stands alone, as text on the screen, as figures; SIMULATED where it is."""
        assert set(PLOTS) == set(PICTURES)
        for name in PLOTS:
            file = tmp_path / f"{name}.svg"
            done = run("plot", name, "--svg", str(file), "--data-dir", str(month))
            assert done.exit_code == 0, done.output
            assert "SIMULATED exchange" in done.output
            root = ET.fromstring(file.read_text())
            assert root.tag == "{http://www.w3.org/2000/svg}svg"
            assert len(list(root.iter())) > 10
            told: dict[str, Any] = json.loads(run("plot", name, "--json", "--data-dir", str(month)).output)
            assert told["rows"]
            assert told["simulated"] == ["exchange"]

    def test_the_figures_are_the_journals(self, month: Path) -> None:
        """The last equity, the spend in all, and forecasts that were said in each bin."""
        equity = json.loads(run("plot", "equity", "--json", "--data-dir", str(month)).output)["rows"]
        last = exported("cycles", month)[-1]
        assert equity[-1]["equity_usd"] == float(last["equity_usd"])
        spend = json.loads(run("plot", "spend", "--days", "32", "--json", "--data-dir", str(month)).output)[
            "rows"
        ]
        whole = sum(float(row["known_usd"]) for row in exported("spend", month))
        assert sum(row["spend_usd"] for row in spend) == pytest.approx(whole)
        bins = json.loads(
            run("plot", "calibration", "--days", "32", "--json", "--data-dir", str(month)).output
        )["rows"]
        forecasts = exported("forecasts", month)
        assert sum(row["forecasts"] for row in bins) == len(forecasts)
        low = [int(row["outcome"]) for row in forecasts if int(row["probability_pct"]) < 10]
        assert bins[0]["came"] == pytest.approx(sum(low) / len(low))

    def test_nothing_to_draw_is_said(self, tmp_path: Path) -> None:
        """An empty journal makes no empty picture."""
        written(tmp_path, [started(NOW)])
        for name in PLOTS:
            done = run("plot", name, "--data-dir", str(tmp_path), "--svg", str(tmp_path / "x.svg"))
            assert "nothing to draw yet" in str(done.exception)
            assert "nothing yet" in run("plot", name, "--data-dir", str(tmp_path)).output
        assert not (tmp_path / "x.svg").exists()
