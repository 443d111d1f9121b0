"""One trading cycle over thousands of markets: what looking costs before any model is asked.

The markets are the bundled questions over and over under new tickers with texts of their own; prices
are SIMULATED. They are listed over the wire by an embedded exchange in the same process, so that what the
exchange does for a request is counted as well. The judge abstains at once: all that is measured is the
bot's own work and the exchange's. The floor
reads every mid price out of the same snapshots and does nothing with them; the rival is what a plain
script does: take the markets from JSON in Kalshi's field names and filter the dictionaries.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from measure import Spread, between, dump, parser, ratio, show

from jurymast.app.clock import SystemClock
from jurymast.domain.decision import Abstain, AbstainReason
from jurymast.domain.market import EvidenceItem, MarketSnapshot
from jurymast.domain.money import CENT, CONTRACT, USD
from jurymast.domain.status import EmergencyMode, SystemStatus
from jurymast.exchange.embedded.exchange import EmbeddedExchange
from jurymast.exchange.embedded.server.keys import KeyRing
from jurymast.exchange.embedded.server.limits import UNLIMITED
from jurymast.exchange.embedded.server.server import ExchangeServer
from jurymast.exchange.embedded.server.site import WireSettings
from jurymast.exchange.kalshi.exchange import KalshiExchange
from jurymast.exchange.kalshi.hosts import Credentials, Environment, embedded
from jurymast.exchange.kalshi.http import KalshiHttp
from jurymast.exchange.kalshi.pace import Pace
from jurymast.exchange.kalshi.rest import KalshiRest
from jurymast.exchange.kalshi.signing import Signer, generate_pem
from jurymast.exchange.questions import BundledEvidence, Question, load_bundle
from jurymast.journal.sqlite import SqliteJournal
from jurymast.policy.emergency import TABLE
from jurymast.policy.judges import Trading
from jurymast.policy.screening import screen
from jurymast.trading.cycle import TradingCycle
from jurymast.trading.gateway import Gateway
from jurymast.trading.portfolio import Portfolio
from jurymast.trading.reconcile import Reconciler
from jurymast.trading.recorder import Recorder
from jurymast.trading.settings import CycleSettings

START = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
MARKETS_MAX = 100_000
TARGET_SECS = 1.0
TARGET_MARKETS = 5_000
SECS_TO_CLOSE_MAX = CycleSettings().secs_to_close_max
RULES = TABLE[EmergencyMode.NORMAL]


class InstantJudge:
    """Judgement that costs nothing: always able, always abstaining."""

    mode = EmergencyMode.NORMAL
    size_share = 1.0
    asked = 0

    def note_trading(self, trading: Trading, now: datetime | None = None) -> None:
        del trading, now

    def recall(self, snapshot: MarketSnapshot) -> None:
        del snapshot

    async def get_trading_decision(
        self, snapshot: MarketSnapshot, evidence: tuple[EvidenceItem, ...] = (), *, deadline_secs: float
    ) -> Abstain:
        del evidence, deadline_secs
        self.asked += 1
        return Abstain(
            decision_id=f"bench-{self.asked}",
            ticker=snapshot.ticker,
            reason=AbstainReason.MODEL_ABSTAINED,
            detail="the benchmark's judge always abstains",
            mode=self.mode,
            cost=0,
            secs=0.0,
            market_price=snapshot.book.mid,
            as_of=snapshot.as_of,
            decided_at=datetime.now(UTC),
            simulated=True,
        )

    def get_system_status(self) -> SystemStatus:
        return SystemStatus(self.mode, "benchmark", {}, (), None, 0)


def main() -> None:
    options = parser(__doc__, rounds=7)
    options.add_argument("--markets", type=between(100, MARKETS_MAX), default=TARGET_MARKETS)
    options.add_argument("--memory-markets", type=between(100, MARKETS_MAX), default=60_000)
    options.add_argument("--memory-only", action="store_true", help="print what the memory process measures")
    chosen = options.parse_args()
    if chosen.memory_only:
        print(json.dumps(asyncio.run(_memory(chosen.memory_markets, chosen.seed))))
        return
    timed, counts = asyncio.run(_timed(chosen.markets, chosen.rounds, chosen.seed))
    memory = _memory_elsewhere(chosen.memory_markets, chosen.seed)
    if chosen.json:
        facts = {name: Spread.of(values) for name, values in timed.items()}
        dump("cycle_scan", {"markets": chosen.markets, "secs": facts, "counts": counts, "memory": memory})
        return
    _print(timed, counts, memory, chosen.markets, chosen.rounds)


def _print(
    timed: dict[str, list[float]], counts: dict[str, int], memory: dict[str, int], markets: int, rounds: int
) -> None:
    floor = Spread.of(timed["mid prices (floor)"]).median
    rows = []
    for name, values in timed.items():
        spread = Spread.of(value * 1e3 for value in values)
        median = spread.median / 1e3
        rows.append([name, spread.text(1), ratio(median, floor), f"{median / markets * 1e6:.2f}"])
    title = f"{markets:,} markets, {rounds} rounds, SIMULATED prices: median (low..high)"
    show(title, ["what", "ms", "of floor", "us a market"], rows)
    print(f"\n{counts['screened']:,} screened, {counts['asked']} put to the judge in all cycles")
    if markets == TARGET_MARKETS:
        slowest = max(timed["cycle, first"] + timed["cycle, later"])
        print(f"target: a cycle under {TARGET_SECS:g} s: {'met' if slowest < TARGET_SECS else 'MISSED'}")
    count, text = memory["markets"], memory["text_bytes"]
    rows = [
        [name, f"{memory[key] / 1e6:,.0f}", f"{memory[key] / count:,.0f}", ratio(memory[key], text)]
        for name, key in (
            ("their texts alone (floor)", "text_bytes"),
            ("loaded questions", "questions_bytes"),
            ("exchange over them", "exchange_bytes"),
            ("one snapshot of each", "snapshots_bytes"),
            ("everything", "total_bytes"),
        )
    ]
    show(f"Memory of {count:,} markets, resident", ["what", "MB", "bytes a market", "of floor"], rows)


async def _timed(count: int, rounds: int, seed: int) -> tuple[dict[str, list[float]], dict[str, int]]:
    questions, clock, judge = synthetic(count), SystemClock(), InstantJudge()
    floor: list[float] = []
    rival: list[float] = []
    listing: list[float] = []
    filters: list[float] = []
    first: list[float] = []
    later: list[float] = []
    screened = 0
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as directory:
            async with _exchange(questions, clock, seed) as exchange:
                journal = SqliteJournal.open(Path(directory) / "journal.db", clock=clock)
                cycle = _cycle(exchange, journal, judge, questions, clock)
                started = time.perf_counter()
                snapshots = await exchange.list_snapshots()
                listing.append(time.perf_counter() - started)
                if len(snapshots) != count:
                    raise SystemExit(f"{len(snapshots)} of {count} markets trade")
                page = _as_json(snapshots)
                floor.append(_secs(lambda found=snapshots: _mids(found)))
                if not 0 < _screen(snapshots) <= _plain_scan(page):
                    raise SystemExit("the plain script dropped markets that the filters let through")
                rival.append(_secs(lambda text=page: _plain_scan(text)))
                filters.append(_secs(lambda found=snapshots: _screen(found)))
                for times in (first, later):
                    started = time.perf_counter()
                    finished = await cycle.run_once()
                    times.append(time.perf_counter() - started)
                    if finished.scanned != count or not finished.abstained:
                        raise SystemExit(f"the cycle did not do its work: {finished}")
                    screened = finished.screened
                await journal.close()
    timed = {
        "mid prices (floor)": floor,
        "plain script: JSON and dictionaries": rival,
        "cheap filters alone": filters,
        "snapshots from the exchange": listing,
        "cycle, first": first,
        "cycle, later": later,
    }
    return timed, {"screened": screened, "asked": judge.asked}


def _secs(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def _mids(snapshots: Sequence[MarketSnapshot]) -> int:
    return sum(snapshot.book.mid for snapshot in snapshots if snapshot.book.two_sided)


def _screen(snapshots: Sequence[MarketSnapshot]) -> int:
    return sum(screen(snapshot, RULES, SECS_TO_CLOSE_MAX) is None for snapshot in snapshots)


def _as_json(snapshots: Sequence[MarketSnapshot]) -> str:
    """The same markets as Kalshi lists them; prices are dollars as text."""
    return json.dumps({"markets": [_kalshi(snapshot) for snapshot in snapshots]})


def _kalshi(snapshot: MarketSnapshot) -> dict[str, object]:
    market, book = snapshot.market, snapshot.book
    return {
        "ticker": market.ticker,
        "event_ticker": market.event_ticker,
        "title": market.title,
        "rules_primary": market.rules,
        "status": snapshot.status.value,
        "open_time": market.open_time.isoformat(),
        "close_time": market.close_time.isoformat(),
        "yes_bid_dollars": f"{book.bids[0].price / USD:.4f}" if book.bids else "",
        "yes_ask_dollars": f"{book.asks[0].price / USD:.4f}" if book.asks else "",
        "yes_bid_size_fp": f"{book.bids[0].count / CONTRACT:.2f}" if book.bids else "",
        "yes_ask_size_fp": f"{book.asks[0].count / CONTRACT:.2f}" if book.asks else "",
        "volume_24h_fp": f"{snapshot.volume_24h / CONTRACT:.2f}",
    }


def _plain_scan(text: str) -> int:
    """The filters as a script writes them: no depth beyond the best level, no reasons kept."""
    passed = 0
    for market in json.loads(text)["markets"]:
        if market["status"] != "active" or not market["yes_bid_dollars"] or not market["yes_ask_dollars"]:
            continue
        bid, ask = float(market["yes_bid_dollars"]), float(market["yes_ask_dollars"])
        secs = (datetime.fromisoformat(market["close_time"]) - START).total_seconds()
        passed += (
            RULES.price_min / USD <= (bid + ask) / 2 <= RULES.price_max / USD
            and ask - bid <= (RULES.spread_max + CENT / 2) / USD
            and float(market["volume_24h_fp"]) >= RULES.volume_min / CONTRACT
            and RULES.secs_to_close_min <= secs <= SECS_TO_CLOSE_MAX
        )
    return passed


def synthetic(count: int) -> tuple[Question, ...]:
    """Bundled questions under new tickers, all trading at ``START``, each with texts of its own."""
    bundle = load_bundle()
    return tuple(_synthetic(bundle[number % len(bundle)], number) for number in range(count))


def _synthetic(question: Question, number: int) -> Question:
    life = question.resolves_at - question.listed_at
    listed_at = START - life * (number % 7 + 1) / 10
    return replace(
        question,
        ticker=f"BENCH-{number:06d}",
        event_ticker=f"EV-BENCH-{number:06d}",
        title=f"{question.title} ({number})",
        rules=f"{question.rules} ({number})",
        background=f"{question.background} ({number})",
        listed_at=listed_at,
        resolves_at=listed_at + life,
        close_time=listed_at + max(question.close_time - question.listed_at, life + timedelta(hours=1)),
    )


@asynccontextmanager
async def _exchange(
    questions: tuple[Question, ...], clock: SystemClock, seed: int
) -> AsyncIterator[KalshiExchange]:
    """The client of an embedded exchange that nobody else uses."""
    pem, keys = generate_pem(), KeyRing()
    keys.add("bench", pem)
    house = EmbeddedExchange(questions, clock=clock, seed=seed, start=START)
    settings = WireSettings(tier=UNLIMITED)
    async with ExchangeServer(house, clock=clock, keys=keys, settings=settings, ticking=False) as server:
        key = Credentials(Environment.EMBEDDED, Signer("bench", pem))
        rest = KalshiRest(KalshiHttp(embedded(server.port), key, clock=clock))
        await rest.learn_limits()
        exchange = KalshiExchange(rest, clock=clock, pace=Pace(1.0, clock.utc_now(), house.now()))
        yield exchange
        await exchange.close()
    house.close()


def _cycle(
    exchange: KalshiExchange,
    journal: SqliteJournal,
    judge: InstantJudge,
    questions: tuple[Question, ...],
    clock: SystemClock,
) -> TradingCycle:
    portfolio = Portfolio()
    recorder = Recorder(journal, portfolio)
    gateway = Gateway(exchange, recorder, portfolio, clock=clock)
    return TradingCycle(
        exchange=exchange,
        judge=judge,
        evidence=BundledEvidence(questions),
        recorder=recorder,
        portfolio=portfolio,
        gateway=gateway,
        reconciler=Reconciler(exchange, recorder, portfolio, gateway, clock=clock),
        clock=clock,
    )


def _memory_elsewhere(count: int, seed: int) -> dict[str, int]:
    """Measured in a fresh process, whose memory nobody has used and given back before."""
    command = [sys.executable, __file__, "--memory-only", "--memory-markets", str(count), "--seed", str(seed)]
    found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=300)
    return json.loads(found.stdout)


async def _memory(count: int, seed: int) -> dict[str, int]:
    load_bundle()
    before = _resident_bytes()
    questions = synthetic(count)
    loaded = _resident_bytes()
    async with _exchange(questions, SystemClock(), seed) as exchange:
        opened = _resident_bytes()
        snapshots = await exchange.list_snapshots()
        looked = _resident_bytes()
        if len(snapshots) != count:
            raise SystemExit(f"{len(snapshots)} of {count} markets trade")
    texts = sum(len(q.title.encode()) + len(q.rules.encode()) + len(q.background.encode()) for q in questions)
    return {
        "markets": count,
        "text_bytes": texts,
        "questions_bytes": loaded - before,
        "exchange_bytes": opened - loaded,
        "snapshots_bytes": looked - opened,
        "total_bytes": looked - before,
    }


def _resident_bytes() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
