"""``/metrics`` over real sockets, read by Prometheus's own parser."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from history_world import ROUTE, abstained, cycle, decided, provider_is, started, stopped
from jurymast.app import alerts, live
from jurymast.app.alerts import AlertState, Delivery
from jurymast.app.live import Live
from jurymast.domain.decision import AbstainReason, Attempt, Rung
from jurymast.domain.events import Event
from jurymast.domain.money import USD
from jurymast.domain.provider import ProviderName
from jurymast.domain.status import (
    BudgetReport,
    EmergencyMode,
    ProviderStatus,
    RouteReport,
    RouteState,
    SystemStatus,
    TradingState,
)
from jurymast.faces.web import custom_metrics
from jurymast.faces.web.access import Access
from jurymast.faces.web.exposition import CONTENT_TYPE, Family, Kind, written
from jurymast.faces.web.metrics import Meter
from jurymast.faces.web.server import serving
from jurymast.journal.sqlite import SqliteJournal
from jurymast.policy.alert_contacts import Inbox
from jurymast.testing.clock import FakeClock

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "a-token-of-good-length"
START = datetime(2026, 3, 2, 12, tzinfo=UTC)
RULES = ROOT / "deploy/prometheus/alerts.yml"
MATCHED_NUMBER = re.compile(r"(?:^|[\s(])\d[\d.]* *[-+*/] *(?:on|ignoring)\b")
"""PromQL matches vectors with vectors: after a number it is an error of syntax."""
NAME = re.compile(r"\bjurymast_[a-z0-9_]+")
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def hour(at: datetime = START) -> list[Event]:
    """Three questions: one answered at once, one after a failure, one by nobody."""
    well = Attempt(ROUTE, "answered", secs=0.4, cost=2_000)
    slow = Attempt(ROUTE, "answered", secs=3.0, cost=1_000)
    failed = Attempt(ROUTE, "failed", secs=1.0, failure="timeout")  # type: ignore[arg-type] # a word equals its text
    return [
        started(at),
        provider_is(at, ProviderName.XAI, ProviderStatus.HEALTHY),
        decided(at + timedelta(seconds=10), attempts=(well,)),
        decided(at + timedelta(seconds=20), rung=Rung.FAILOVER, attempts=(failed, slow)),
        abstained(at + timedelta(seconds=30), attempts=(failed,)),
        cycle(at + timedelta(seconds=40)),
    ]


def present() -> Live:
    reports = (RouteReport(ROUTE, RouteState.HEALTHY, 9, 4, 100, 0.5, in_flight=2, median_secs=0.4),)
    status = SystemStatus(
        EmergencyMode.MINIMAL, "x", {ProviderName.XAI: ProviderStatus.DEGRADED}, reports, ROUTE, 300,
        budgets=(BudgetReport("all a day", 5 * USD, 4 * USD, held=USD // 2),),
    )  # fmt: skip
    return Live(
        live.VERSION, 1, datetime.now(UTC), "t", ("exchange",), status, TradingState.REDUCING, 0.25, (), ()
    )


@asynccontextmanager
async def bot(directory: Path, events: Iterable[Event] = ()) -> AsyncIterator[SqliteJournal]:
    """A journal somebody writes, with what a bot and its alerts keep beside it."""
    journal = SqliteJournal.open(directory / "journal.db", clock=FakeClock())
    await journal.append(*(list(events) or hour()))
    (directory / live.NAME).write_bytes(msgspec.json.encode(present()))
    kept = AlertState(inboxes={"phone": Inbox()}, deliveries={"phone": Delivery(3, 1, "HTTP 500")})
    (directory / alerts.NAME).write_bytes(msgspec.json.encode(kept))
    try:
        yield journal
    finally:
        await journal.close()


def families(text: str) -> list[Metric]:
    return list(text_string_to_metric_families(text))


def samples(text: str) -> Samples:
    found: Samples = {}
    for family in families(text):
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found, f"{key} twice"
            found[key] = sample.value
    return found


def value(text: str, name: str, **labels: str) -> float:
    return samples(text)[f"jurymast_{name}", tuple(sorted(labels.items()))]


async def test_prometheus_reads_what_has_happened_and_how_it_is(tmp_path: Path) -> None:
    """Totals of the journal, the present of the bot, alerts: over a socket, in Prometheus's format."""
    async with (
        bot(tmp_path),
        serving(tmp_path, Access(TOKEN, "127.0.0.1"), 0) as url,
        aiohttp.ClientSession() as session,
        session.get(f"{url}/metrics") as reply,
    ):
        text = await reply.text()
        assert (reply.status, reply.headers["Content-Type"]) == (200, CONTENT_TYPE)
    assert value(text, "up") == 1
    assert value(text, "decisions_total", rung="failover") == 1
    assert value(text, "abstentions_total", reason="all_providers_failed") == 1
    # What has not happened yet is told as 0: the first time would be lost on Prometheus otherwise.
    assert {value(text, "decisions_total", rung=rung) for rung in Rung} == {0, 1}
    assert {value(text, "abstentions_total", reason=reason) for reason in AbstainReason} == {0, 1}
    assert value(text, "provider_requests_total", provider="xai", outcome="failed") == 2
    assert value(text, "provider_cost_dollars_total", provider="xai") == pytest.approx(0.003)
    assert value(text, "provider_answer_duration_seconds_count", provider="xai") == 2
    assert value(text, "provider_answer_duration_seconds_sum", provider="xai") == pytest.approx(3.4)
    assert value(text, "mode", mode="minimal") == 1
    assert value(text, "mode", mode="normal") == 0
    assert value(text, "budget_spent_dollars", budget="all a day") == 4.0
    assert value(text, "alert_deliveries_total", contact="phone", outcome="failed") == 1
    assert value(text, "equity_dollars") == 10_000.0


async def test_from_elsewhere_looking_needs_the_token(tmp_path: Path) -> None:
    """Money is in there: on an open address Prometheus has to bring the token."""
    everywhere = Access(TOKEN, "0.0.0.0", frozenset({"127.0.0.1"}))
    async with serving(tmp_path, everywhere, 0) as shown, aiohttp.ClientSession() as session:
        url = shown.replace("0.0.0.0", "127.0.0.1")
        async with session.get(f"{url}/metrics") as reply:
            assert reply.status == 403
        async with session.get(f"{url}/metrics", headers={"Authorization": f"Bearer {TOKEN}"}) as reply:
            assert reply.status == 200
            assert value(await reply.text(), "up") == 0


async def test_a_scrape_counts_on_from_the_one_before(tmp_path: Path) -> None:
    """Each fact once, whether it came before the first scrape, between two, or in another hour."""
    meter = Meter(tmp_path)
    async with bot(tmp_path) as journal:
        assert value(meter.text(), "cycles_total") == 1
        assert value(meter.text(), "cycles_total") == 1
        await journal.append(stopped(START + timedelta(minutes=1)), *hour(START + timedelta(minutes=5)))
        assert value(meter.text(), "cycles_total") == 2
        await journal.append(*hour(START + timedelta(hours=3)))
        text, fresh = meter.text(), Meter(tmp_path).text()
    assert value(text, "cycles_total") == 3
    skipped = {"jurymast_scrape_duration_seconds", "jurymast_live_age_seconds"}
    assert {k: v for k, v in samples(text).items() if k[0] not in skipped} == {
        k: pytest.approx(v) for k, v in samples(fresh).items() if k[0] not in skipped
    }


async def test_another_journal_is_counted_from_its_beginning(tmp_path: Path) -> None:
    """The journal was moved away and a new one begun: totals are those of the new one."""
    meter = Meter(tmp_path)
    async with bot(tmp_path):
        assert value(meter.text(), "cycles_total") == 1
    for suffix in ("", "-wal", "-shm", ".lock"):
        (tmp_path / f"journal.db{suffix}").unlink(missing_ok=True)
    journal = SqliteJournal.open(tmp_path / "journal.db", clock=FakeClock(START + timedelta(days=1)))
    await journal.append(*hour(), cycle(START + timedelta(minutes=2)))
    assert value(meter.text(), "cycles_total") == 2
    await journal.close()


async def test_names_follow_the_conventions(tmp_path: Path) -> None:
    """Counters end in _total, units are base units and come last, everything has its help."""
    async with bot(tmp_path):
        text = Meter(tmp_path).text()
    for family in families(text):
        assert family.name.startswith("jurymast_")
        assert family.documentation
        assert family.type in {"gauge", "counter", "histogram"}
        assert not re.search(r"_(ms|minutes|usd|cents|micros|percent)\b", family.name)
    assert all(
        line.split()[2].endswith("_total")
        for line in text.splitlines()
        if line.startswith("# TYPE") and line.endswith("counter")
    )


async def test_boards_and_rules_ask_for_what_there_is(tmp_path: Path) -> None:
    """Every metric that deploy/ names is one that a bot exposes."""
    async with bot(tmp_path):
        text = Meter(tmp_path).text()
    exposed = {name for name, _ in samples(text)} | {"jurymast_simulated"}
    asked = board_questions()
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    assert all(rule["annotations"]["summary"] and rule["labels"]["severity"] for rule in group["rules"])
    asked += [rule["expr"] for rule in group["rules"]]
    used = set(NAME.findall(" ".join(asked)))
    assert len(used) > 15
    assert used <= exposed
    assert not [expression for expression in asked if MATCHED_NUMBER.search(expression)]


def board_questions() -> list[str]:
    board = json.loads((ROOT / "deploy/grafana/jurymast.json").read_text())
    return [target["expr"] for panel in board["panels"] for target in panel["targets"]]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no Prometheus here")
def test_prometheus_understands_boards_and_rules(tmp_path: Path) -> None:
    """Its own tool reads every expression, and rules fire and keep quiet as alerts_test.yml says."""
    recorded = [{"record": f"q{n}", "expr": text} for n, text in enumerate(board_questions())]
    board = tmp_path / "board.yml"
    board.write_text(json.dumps({"groups": [{"name": "board", "rules": recorded}]}))
    for words in (["check", "rules", board, RULES], ["test", "rules", RULES.with_name("alerts_test.yml")]):
        done = subprocess.run(["promtool", *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_file_of_the_user_is_shown_and_a_bad_one_left_out(tmp_path: Path) -> None:
    """Numbers, labels and counters of the user's own; what is wrong is counted and harms nothing."""
    place = tmp_path / custom_metrics.DIRECTORY
    place.mkdir()
    (place / "a.json").write_text('{"edge_seen": 1.5}')
    (place / "b.json").write_text(
        '{"seen": {"type": "counter", "help": "x\\ny", "samples": '
        '[{"labels": {"series": "K\\"\\\\\\nA"}, "value": 3}]}}'
    )
    (place / "bad.json").write_text("{")
    (place / "evil.json").write_text('{"x 1\\njurymast_up": 1}')
    (place / "large.json").write_text(json.dumps({f"m{n}": 1 for n in range(custom_metrics.SAMPLES_MAX + 1)}))
    (place / "twice.json").write_text('{"edge_seen": 2}')
    text = Meter(tmp_path).text()
    assert value(text, "custom_edge_seen") == 1.5
    assert value(text, "custom_seen_total", series='K"\\\nA') == 3
    assert value(text, "custom_files_unreadable") == 4
    assert value(text, "up") == 0


@given(
    st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), st.text(max_size=20), max_size=4),
    st.floats(),
)
def test_any_text_and_any_number_survive_the_format(labels: dict[str, str], number: float) -> None:
    """Quotes, line ends, infinities: what is read is what was written."""
    text = written([Family("x", Kind.GAUGE, 'with "quotes"\nand \\').add(number, **labels)])
    (((_, found), read),) = samples(text).items()
    assert dict(found) == labels
    assert read == number or (math.isnan(read) and math.isnan(number))


def test_buckets_add_up() -> None:
    """A histogram's buckets are cumulative, and the last is the count."""
    text = written([Family("x_seconds", Kind.HISTOGRAM, "x").histogram((0.1, 1.0), (1, 2, 3), 9.5)])
    (family,) = families(text)
    assert [sample.value for sample in family.samples] == [1, 3, 6, 9.5, 6]
    assert replace(Family("x", Kind.GAUGE, "x")).rows == []
