"""A tape as a market: its book is followed, our orders meet it, and never better than they would have."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tape_world import START_US, Playing, Script, T

from jurymast.domain.errors import ConfigError, OrderRejected
from jurymast.exchange.embedded.commands import StepMarket
from jurymast.exchange.embedded.invariants import broken
from jurymast.exchange.tapes.reel import load_tape

END = 100.0

Player = Callable[..., Playing]


def script() -> Script:
    """40 bid for 100, 45 asked for 50 (55 bid for NO)."""
    return Script().book(0.0, [(39, 200), (40, 100)], [(55, 50), (54, 70)])


@pytest.fixture
def played(tmp_path: Path) -> Iterator[Player]:
    """Plays a script for a quarter of a second; its file is let go of when the test ends."""
    with ExitStack() as files:

        def playing(told: Script | Path, database: Path | str = ":memory:") -> Playing:
            if isinstance(told, Script):
                told.change(END, "yes", 1, 1)
                told = told.written(tmp_path / "t.tape")
            started = Playing(told, database)
            files.callback(started.exchange._log.close)
            started.until(0.25)
            return started

        yield playing


def test_the_book_follows_the_tape(played: Player) -> None:
    """Every change shows, at its time and not before, and the books balance all the while."""
    told = script().change(1.0, "yes", 41, 10).change(2.0, "yes", 40, -100).change(3.0, "no", 55, 5)
    playing = played(told)
    assert playing.book() == ({39: 200, 40: 100}, {55: 50, 54: 70})
    playing.until(0.75)
    assert 41 not in playing.book()[0]
    playing.until(1.5)
    assert playing.book()[0] == {39: 200, 40: 100, 41: 10}
    playing.until(3.0)
    assert playing.book() == ({39: 200, 41: 10}, {55: 55, 54: 70})
    assert broken(playing.exchange.engine) == []


def test_an_order_waits_behind_those_who_were_there(played: Player) -> None:
    """Executions use the queue up from the front: ours fills when those before it have."""
    told = script().change(2.0, "yes", 40, 30).trade(3.0, 40, 60, "no").change(3.0, "yes", 40, -60)
    told.trade(4.0, 40, 45, "no").change(4.0, "yes", 40, -45)
    playing = played(told)
    mine = playing.order(True, 40, 10).order
    playing.until(3.5)
    assert (mine.filled, playing.book()[0][40]) == (0, 70 + 10)
    playing.until(4.5)
    assert mine.filled == 500
    assert playing.position() == 5
    assert broken(playing.exchange.engine) == []


def test_who_leaves_was_behind_us(played: Player) -> None:
    """A level that shrinks fills nobody, and does not bring us forward while anybody was behind."""
    told = script().change(2.0, "yes", 40, 30).change(3.0, "yes", 40, -30).change(4.0, "yes", 40, -60)
    told.trade(5.0, 40, 39, "no").trade(6.0, 40, 2, "no")
    playing = played(told)
    mine = playing.order(True, 40, 10).order
    playing.until(3.5)
    assert playing.exchange.engine.floor.markets[T].book.ahead_of(mine) == 10_000
    playing.until(4.5)
    assert playing.exchange.engine.floor.markets[T].book.ahead_of(mine) == 4_000
    playing.until(5.5)
    assert mine.filled == 0
    playing.until(6.5)
    assert mine.filled == 100


def test_an_order_on_the_tape_that_comes_to_our_price_fills_us(played: Player) -> None:
    """Who offers at or through our price meets us, for what is offered, and the rest of it stays on offer."""
    told = script().change(2.0, "no", 58, 4).change(3.0, "no", 59, 10)
    playing = played(told)
    mine = playing.order(True, 42, 6).order
    playing.until(2.5)
    assert (mine.filled, mine.remaining) == (400, 200)
    playing.until(3.5)
    assert (mine.filled, playing.book()[1][59]) == (600, 8)
    playing.until(8.0)
    assert playing.book()[1][59] == 8


def test_what_we_took_is_not_on_offer_again(played: Player) -> None:
    """The tape goes on showing what we took; only what came since, or after the price was empty, is there."""
    told = script().change(5.0, "no", 55, 20).change(6.0, "no", 55, -70).change(7.0, "no", 55, 50)
    told.change(8.0, "no", 55, -30).change(9.0, "no", 55, 35)
    playing = played(told)
    assert playing.order(True, 45, 50, at_once=True).filled == 5_000
    playing.until(3.0)
    assert 55 not in playing.book()[1]
    assert playing.order(True, 45, 50, at_once=True).filled == 0
    playing.until(5.5)
    assert playing.book()[1][55] == 20
    playing.until(7.5)
    assert playing.book()[1][55] == 50
    assert playing.order(True, 45, 50, at_once=True).filled == 5_000
    playing.until(8.5)  # twenty are left on the tape, all of them ours
    assert 55 not in playing.book()[1]
    playing.until(9.5)
    assert playing.book()[1][55] == 35


def test_a_halted_market_takes_up_the_tape_again(played: Player) -> None:
    """While a market is halted its tape goes on; the first book after it is the tape's, at once."""
    told = script().change(2.0, "no", 55, -50).change(2.0, "no", 54, -70).change(2.0, "no", 48, 9)
    told.change(2.1, "yes", 50, 3)
    playing = played(told)
    playing.exchange.execute(StepMarket(T, "halt"))
    playing.until(3.0)
    playing.exchange.execute(StepMarket(T, "resume"))
    playing.until(3.25)
    assert playing.book() == ({39: 200, 40: 100, 50: 3}, {48: 9})
    assert broken(playing.exchange.engine) == []


def test_a_restart_goes_on_where_it_was(played: Player, tmp_path: Path) -> None:
    """Killed or closed: position, queue place and what was taken are as before, and the tape goes on."""
    told = script().trade(1.0, 40, 5, "no").change(1.0, "yes", 40, -5).change(1.5, "yes", 40, 5)
    told.change(5.0, "yes", 41, 10)
    first = played(told, tmp_path / "x.db")
    first.order(True, 45, 30, at_once=True)
    mine = first.order(True, 40, 10).order
    first.until(3.0)
    before, volume = first.book(), first.exchange.engine.state.markets[T].volume
    first.exchange._log.close()  # killed: nothing is written down at the end
    second = played(tmp_path / "t.tape", tmp_path / "x.db")
    assert second.book() == before == ({39: 200, 40: 110}, {55: 20, 54: 70})
    assert second.position() == 30
    second.until(6.0)
    assert second.book()[0] == {39: 200, 40: 110, 41: 10}
    resting = second.exchange.engine.state.orders[mine.number]
    assert second.exchange.engine.floor.markets[T].book.ahead_of(resting) == 9_500 + 1_000
    assert second.exchange.engine.state.markets[T].volume == volume == 3_500
    second.exchange.close()
    third = played(tmp_path / "t.tape", tmp_path / "x.db")
    third.until(8.0)
    assert third.book() == ({39: 200, 40: 110, 41: 10}, {55: 20, 54: 70})
    assert third.exchange.engine.state.markets[T].volume == volume
    third.exchange.close()


def test_another_tape_is_not_taken_for_the_same_exchange(played: Player, tmp_path: Path) -> None:
    """A database goes with the tape it was begun with."""
    played(script(), tmp_path / "x.db").exchange.close()
    other = script().written(tmp_path / "other.tape")
    with pytest.raises(ConfigError, match="begun with"):
        played(other, tmp_path / "x.db")


def test_a_gap_shows_the_old_book_until_the_next_snapshot(played: Player, tmp_path: Path) -> None:
    """What was missed on the recording is not made up: the book stands still, then it is right again."""
    told = script().change(1.0, "yes", 41, 5, skip=3).change(2.0, "yes", 41, 5)
    told.book(3.0, [(38, 7)], [(60, 9)])
    playing = played(told)
    playing.until(2.5)
    assert playing.book()[0] == {39: 200, 40: 100}
    playing.until(3.5)
    assert playing.book() == ({38: 7}, {60: 9})
    assert load_tape(tmp_path / "t.tape").missed == 1


def test_prices_of_no_may_be_told_in_yes(played: Player) -> None:
    """Both ways of pricing the NO side give the same book."""
    told = Script(yes_price=True).book(0.0, [(40, 100)], [(45, 50), (46, 70)]).change(1.0, "no", 47, 5)
    playing = played(told)
    playing.until(1.5)
    assert playing.book() == ({40: 100}, {55: 50, 54: 70, 53: 5})


def market(**more: object) -> dict[str, object]:
    return {
        "ticker": T,
        "event_ticker": "KXRAIN-26NOV",
        "exchange_index": 0,
        "status": "active",
        "title": "Rain?",
        "yes_sub_title": "Above 1.5",
        "rules_primary": "If it rains.",
        "open_time": "2026-11-01T00:00:00Z",
        "close_time": "2026-11-02T15:00:30Z",
        "price_ranges": [{"start": "0.0000", "end": "1.0000", "step": "0.0010"}],
        "yes_bid_dollars": "0.4000",
        "yes_bid_size_fp": "1.00",
        "yes_ask_dollars": "0.4500",
        "yes_ask_size_fp": "1.00",
        "volume_24h_fp": "12.00",
        "result": "",
        **more,
    }


def test_a_market_is_listed_as_it_was_recorded(played: Player, tmp_path: Path) -> None:
    """Title, rules, ticks, closing time and result are those of the recording; the end of the tape is the
    end of trading."""
    told = script().change(END, "yes", 1, 1)
    path = told.written(tmp_path / "t.tape", [market(), market(result="no", status="finalized")])
    playing = played(path)
    question = playing.exchange.catalogue.find(T)
    listing = playing.exchange.catalogue.listing(T)
    assert question is not None
    assert listing is not None
    assert (question.title, question.rules) == ("Rain? (Above 1.5)", "If it rains.")
    assert (listing.outcome, listing.ticks.takes(401_000), listing.ticks.takes(401_500)) == (
        False,
        True,
        False,
    )
    assert listing.close_us == START_US + 30_000_000
    playing.until(0.25)
    playing.order(True, 45, 10, at_once=True)
    playing.until(31.0)
    with pytest.raises(OrderRejected, match="market_closed"):
        playing.order(True, 45, 1)
    playing.until(400.0)
    (paid,) = playing.exchange.engine.state.payouts
    assert (paid.yes, paid.count, paid.revenue) == (False, 1_000, 0)
    assert broken(playing.exchange.engine) == []


def test_quotes_of_the_past_are_those_of_their_minute(played: Player) -> None:
    """Candles show what was quoted then, not what is quoted now."""
    told = script().change(70.0, "yes", 41, 10)
    playing = played(told)
    playing.until(90.0)
    question = playing.exchange.catalogue.find(T)
    assert question is not None
    quotes = playing.exchange.crowd.quotes(question, START_US + 30_000_000)
    assert (quotes.bids[0].price, quotes.asks[0].price) == (400_000, 450_000)
