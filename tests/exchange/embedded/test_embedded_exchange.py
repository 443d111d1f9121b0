"""The embedded exchange as a whole: time, crowd, memory of what happened."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
import serving_child
from serving_child import SPEED, START, act

from jurymast.domain.errors import ConfigError, OrderRejected
from jurymast.domain.money import CENT, CONTRACT, PAYOUT
from jurymast.exchange.embedded import exchange as module
from jurymast.exchange.embedded.commands import Cancel, Place, Watch
from jurymast.exchange.embedded.exchange import EmbeddedExchange, Rules
from jurymast.exchange.embedded.invariants import broken
from jurymast.exchange.embedded.lifecycle import Stage
from jurymast.exchange.embedded.records import Event, MarketChanged, Print, Status
from jurymast.exchange.embedded.server.keys import demo_key
from jurymast.exchange.paths import PricePath
from jurymast.exchange.questions import load_bundle
from jurymast.testing.clock import FakeClock

CHILD = Path(serving_child.__file__)
ROUNDS = 60

Opener = Callable[..., tuple[EmbeddedExchange, FakeClock]]


@pytest.fixture
def opened() -> Iterator[Opener]:
    """Opens exchanges that let go of their files when the test ends."""
    with ExitStack() as files:

        def opening(database: Path | str, **more: object) -> tuple[EmbeddedExchange, FakeClock]:
            exchange, clock = serving_child.opened(database, **more)
            files.callback(exchange._log.close)
            return exchange, clock

        yield opening


def state_of(exchange: EmbeddedExchange) -> bytes:
    return msgspec.msgpack.encode(exchange.engine.state)


def test_the_same_seed_and_commands_make_the_same_state(opened: Opener) -> None:
    """Two exchanges that are told the same at the same times are the same to the byte."""
    states = []
    for _ in range(2):
        exchange, clock = opened(":memory:")
        for number in range(ROUNDS):
            act(exchange, clock, number)
        states.append(state_of(exchange))
        assert broken(exchange.engine) == []
        assert exchange.engine.state.fills
    other, clock = opened(":memory:", seed=1)
    for number in range(ROUNDS):
        act(other, clock, number)
    assert states[0] == states[1] != state_of(other)


def test_nothing_is_forgotten_when_the_process_is_killed(opened: Opener, tmp_path: Path) -> None:
    """Killed in the middle of trading, the exchange comes back with all it had said, balanced."""
    database = tmp_path / "exchange.db"
    with subprocess.Popen(
        [sys.executable, str(CHILD), str(database)], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        for _ in range(40):
            said = int(child.stdout.readline())
        child.kill()
    exchange, _ = opened(database)
    assert exchange.engine.state.next_order >= said
    assert broken(exchange.engine) == []
    known = exchange.engine.state.client_ids[exchange.member.user]
    assert {"child-0", "child-20"} <= set(known)
    exchange.close()


def test_a_replay_is_what_happened(opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands replayed, with or without a snapshot between them, lead to the very same state."""
    monkeypatch.setattr(module, "SNAPSHOT_COMMANDS", 25)
    exchange, clock = opened(tmp_path / "exchange.db")
    for number in range(ROUNDS):
        act(exchange, clock, number)
    before = state_of(exchange)
    exchange._log.close()
    monkeypatch.undo()
    with closing(sqlite3.connect(tmp_path / "exchange.db")) as file:
        rows = file.execute("SELECT COUNT(*) FROM log").fetchone()[0]
    assert 0 < rows < ROUNDS
    again, _ = opened(tmp_path / "exchange.db")
    assert state_of(again) == before
    again.close()
    third, _ = opened(tmp_path / "exchange.db")
    assert third.engine.state.client_ids == again.engine.state.client_ids
    third.close()


def test_a_file_is_opened_by_one_exchange_that_fits_it(opened: Opener, tmp_path: Path) -> None:
    """Another seed, another exchange at the same time, or another kind of file is refused."""
    exchange, _ = opened(tmp_path / "exchange.db")
    with pytest.raises(ConfigError, match="another exchange"):
        opened_quickly(opened, tmp_path / "exchange.db")
    exchange.close()
    with pytest.raises(ConfigError, match="seed 0, not 5"):
        opened(tmp_path / "exchange.db", seed=5)
    with pytest.raises(ConfigError, match="shards 1, not 2"):
        opened(tmp_path / "exchange.db", rules=Rules(shards=2))
    (tmp_path / "text.db").write_text("a letter, not a database, but long enough to be one" * 20)
    with pytest.raises(ConfigError):
        opened(tmp_path / "text.db")
    with closing(sqlite3.connect(tmp_path / "other.db")) as file:
        file.execute("CREATE TABLE cake (slice)")
    with pytest.raises(ConfigError, match="is not the file"):
        opened(tmp_path / "other.db")


def opened_quickly(opened: Opener, database: Path) -> None:
    """Open without waiting for the other one to let go."""
    from jurymast.exchange.embedded import log

    patience, log.BUSY_SECS = log.BUSY_SECS, 0.01
    try:
        opened(database)
    finally:
        log.BUSY_SECS = patience


def test_exchange_time_stands_still_while_it_is_down_unless_it_is_wall_time(tmp_path: Path) -> None:
    """Accelerated time waits for the exchange; a clock that keeps pace with the wall goes on."""
    for name, speed, aligned, expected in (("fast", 60.0, False, 600), ("wall", 1.0, True, 3_610)):
        clock = FakeClock(datetime(2026, 11, 1, tzinfo=UTC))
        start = clock.utc_now() if aligned else START

        def begin(
            database: Path = tmp_path / name, clock: FakeClock = clock, **more: object
        ) -> EmbeddedExchange:
            return EmbeddedExchange(load_bundle(), clock=clock, start=START, database=database, **more)

        exchange = begin(speed=speed, aligned=aligned)
        clock.advance(10.0)
        exchange.tick()
        exchange.close()
        clock.advance(3_600.0)
        again = begin(speed=speed, aligned=aligned)
        assert again.now() - start == timedelta(seconds=expected)
        again.close()


def test_aligned_questions_move_by_whole_days() -> None:
    """Begun now, all questions keep their distances and their hours."""
    clock = FakeClock(START + timedelta(days=300, hours=5))
    question = load_bundle()[0]
    with closing(EmbeddedExchange(load_bundle(), clock=clock, start=START, aligned=True)) as exchange:
        moved = exchange.catalogue.find(question.ticker)
        assert exchange.now() == clock.utc_now()
    assert moved == replace(
        question,
        listed_at=question.listed_at + timedelta(days=300),
        close_time=question.close_time + timedelta(days=300),
        resolves_at=question.resolves_at + timedelta(days=300),
    )


def test_the_crowd_keeps_the_book_around_the_price_path(opened: Opener) -> None:
    """Hours later the middle of a watched book is where the path has gone, within the spread."""
    exchange, clock = opened(":memory:", rules=Rules(near=0))
    tickers = _balanced(exchange)[:6]
    exchange.watch(tickers)
    prints = 0
    for _ in range(40):
        clock.advance(3_600.0 / SPEED)
        exchange.tick()
    for ticker in tickers:
        question = exchange.catalogue.find(ticker)
        assert question is not None
        yes, no = exchange.depth(ticker)
        quotes = exchange.crowd.quotes(question, exchange.now_us())
        if quotes.two_sided and yes and no:
            middle = (yes[-1][0] + PAYOUT - no[-1][0]) // 2
            assert abs(middle - quotes.mid) <= 3 * CENT
        prints += exchange.engine.state.markets[ticker].volume > 0
    assert prints == len(tickers)
    assert broken(exchange.engine) == []


def test_the_informed_take_the_side_that_is_cheap(opened: Opener) -> None:
    """Over many quotes the informed buy where the quotes are below what is known, and sell above."""
    exchange, _clock = opened(":memory:")
    path, right = PricePath(exchange.seed), []
    for hours in range(200):
        question = load_bundle()[hours % 50]
        at_us = exchange.now_us() + hours * 3_600_000_000
        buys = exchange.crowd._direction(question, 255, at_us)
        if buys is not None:
            off = path.mispricing(question, START + timedelta(hours=hours))
            right.append(buys is (off < 0))
    assert len(right) > 100
    assert all(right)
    assert exchange.crowd._direction(load_bundle()[0], 0, exchange.now_us()) is load_bundle()[0].outcome


def _balanced(exchange: EmbeddedExchange) -> list[str]:
    found = []
    for place in range(len(exchange.catalogue)):
        ticker = exchange.catalogue.question(place).ticker
        yes, no = exchange.depth(ticker)
        if yes and no and 20 * CENT < yes[-1][0] < 70 * CENT:
            found.append(ticker)
    return found


def test_only_watched_markets_and_those_with_orders_are_simulated_in_depth(opened: Opener) -> None:
    """A market comes to life when somebody looks or rests an order, and sleeps again after both are gone."""
    exchange, clock = opened(":memory:", rules=Rules(near=0))
    looked_at, traded, other = _balanced(exchange)[:3]
    exchange.watch([looked_at])
    order = exchange.execute(Place(exchange.member.number, traded, True, CENT, CONTRACT)).order
    for _ in range(3):
        clock.advance(1.0)
        exchange.tick()
    assert exchange.crowd.quoted() == {looked_at, traded}
    assert other not in exchange.engine.state.markets
    exchange.unwatch([looked_at])
    exchange.execute(Cancel(exchange.member.number, order.number))
    exchange.watch([other])
    exchange.tick()
    assert exchange.crowd.quoted() == {other}


def test_a_tick_does_a_bounded_amount_of_work(opened: Opener) -> None:
    """However many markets are watched, the crowd acts in so many at a time, and in all of them by turns."""
    exchange, clock = opened(":memory:", rules=Rules(near=0))
    tickers = _active(exchange)[:100]
    assert len(tickers) > module.TICK_MARKETS_MAX
    exchange.watch(tickers)
    acted = set()
    for _ in range(3):
        clock.advance(0.25)
        exchange.tick()
        ticks = exchange.engine.state.ticks
        now = {ticker for ticker in tickers if exchange.engine.state.markets[ticker].acted == ticks}
        assert len(now) == module.TICK_MARKETS_MAX
        acted |= now
    assert acted == set(tickers)
    with pytest.raises(OrderRejected, match="market_not_found"):
        exchange.watch(["NO-SUCH"])


def _active(exchange: EmbeddedExchange) -> list[str]:
    tickers = [exchange.catalogue.question(place).ticker for place in range(len(exchange.catalogue))]
    return [ticker for ticker in tickers if exchange.stage(ticker) is Stage.ACTIVE]


def test_watching_and_time_are_told_to_listeners(opened: Opener) -> None:
    """Who listens hears prints of live markets and the life of all, each step once."""
    exchange, clock = opened(":memory:")
    heard: list[Event] = []
    exchange.listen(heard.extend)
    for _ in range(50):
        clock.advance(86_400.0 / SPEED)
        exchange.tick()
    assert any(isinstance(event, Print) for event in heard)
    steps = [(event.ticker, event.what) for event in heard if isinstance(event, MarketChanged)]
    settled = [ticker for ticker, what in steps if what == "settled"]
    assert len(settled) == len(set(settled)) > 5
    assert len(steps) == len(set(steps))


def test_a_resting_order_fills_when_the_price_comes_to_it(opened: Opener) -> None:
    """Left alone, an order just below the market is filled by the crowd sooner or later, at its own price."""
    exchange, clock = opened(":memory:", rules=Rules(near=0))
    orders = []
    for number, ticker in enumerate(_balanced(exchange)[:12]):
        yes, _ = exchange.depth(ticker)
        price = yes[-1][0] - 2 * CENT
        place = Place(exchange.member.number, ticker, True, price, CONTRACT, client_order_id=f"r-{number}")
        orders.append(exchange.execute(place).order)
    for _ in range(60):
        clock.advance(3_600.0 * 4 / SPEED)
        exchange.tick()
    filled = [order for order in orders if order.status is Status.EXECUTED]
    assert len(filled) >= 3
    for fill in exchange.engine.state.fills:
        assert not fill.taker
        assert fill.price == exchange.engine.state.orders[fill.order].price


def test_a_demo_key_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    """The first start makes a key file that nobody else can read; later starts find it."""
    first = demo_key(tmp_path / "data")
    assert stat.S_IMODE(first.path.stat().st_mode) == 0o600
    body = first.path.read_bytes()
    assert b"PRIVATE KEY" in body
    assert demo_key(tmp_path / "data") == first
    assert first.path.read_bytes() == body
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigError, match="can't be made"):
        demo_key(tmp_path / "file")


def test_serve_says_where_it_listens_and_that_it_is_simulated(tmp_path: Path) -> None:
    """`jurymast exchange serve` prints addresses and the key, and goes when it is told to."""
    program = "from jurymast.faces.cli.exchange import exchange; exchange()"
    arguments = [sys.executable, "-c", program, "serve", "--port", "0", "--data-dir", str(tmp_path / "data")]
    environment = dict(os.environ, PYTHONUNBUFFERED="1")
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=environment) as child:
        assert child.stdout is not None
        said = [child.stdout.readline() for _ in range(7)]
        child.terminate()
    assert "SIMULATED" in said[0]
    assert "http://127.0.0.1:" in said[2]
    assert "/trade-api/v2" in said[2]
    assert said[3].split()[1].startswith("ws://127.0.0.1:")
    assert Path(said[6].split()[2]).exists()


def test_watching_is_forgotten_at_a_restart(opened: Opener, tmp_path: Path) -> None:
    """Nobody who watched is there any more after a restart."""
    exchange, _ = opened(tmp_path / "exchange.db")
    ticker = _active(exchange)[0]
    exchange.execute(Watch((ticker,)))
    exchange._log.close()
    again, _ = opened(tmp_path / "exchange.db")
    assert not again.engine.state.markets[ticker].watched
    again.close()
