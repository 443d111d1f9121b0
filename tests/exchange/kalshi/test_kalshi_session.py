"""Books are exact or stale, nothing missed goes unnoticed, and frames that come twice change nothing."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import kalshi_server as sent
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jurymast.domain.errors import SchemaDrift
from jurymast.domain.market import Level
from jurymast.domain.money import CENT, PAYOUT, usd
from jurymast.exchange.kalshi.frames import price_of, read_frame, size_of
from jurymast.exchange.kalshi.inbox import Inbox, InboxFull
from jurymast.exchange.kalshi.live_books import LiveBooks
from jurymast.exchange.kalshi.session import (
    BOOKS,
    COMMAND_GAP_SECS,
    COMMANDS_KEPT,
    FILLS,
    ORDERS,
    RESUBSCRIBES_MAX,
    SNAPSHOT_SECS,
    BookChanged,
    Filled,
    Missed,
    OrderUpdated,
    Refused,
    Session,
    SessionBroken,
    Told,
)
from jurymast.exchange.kalshi.units import centi, micros

A, B = "KXRAIN-26NOV-T1", "KXRAIN-26NOV-T2"
SID = 7


def frame(kind: str, seq: int | None = None, *, sid: int | None = SID, **msg: Any) -> str:
    told = {"type": kind, "sid": sid, "seq": seq, "msg": msg}
    return json.dumps({name: value for name, value in told.items() if value is not None})


def subscribed(channel: str = BOOKS, sid: int = SID) -> str:
    return json.dumps({"type": "subscribed", "id": 1, "msg": {"channel": channel, "sid": sid}})


def snapshot(seq: int, ticker: str = A, *, sid: int = SID, **sides: list[list[str]]) -> str:
    return frame("orderbook_snapshot", seq, sid=sid, market_ticker=ticker, market_id="m", clock=1, **sides)


def delta(
    seq: int, size: str, price: str = "0.4200", side: str = "yes", *, ticker: str = A, sid: int = SID
) -> str:
    return frame(
        "orderbook_delta",
        seq,
        sid=sid,
        market_ticker=ticker,
        market_id="m",
        clock=seq,
        price_dollars=price,
        delta_fp=size,
        side=side,
        ts_ms=1_793_631_600_000,
    )


def error(code: int, **changes: Any) -> str:
    return json.dumps({"type": "error", "sid": SID, "msg": {"code": code, "msg": "said the test"}, **changes})


def started(*tickers: str, channels: tuple[str, ...] = (BOOKS,)) -> Session:
    """A session with its subscription acknowledged and snapshots on their way."""
    session = Session(LiveBooks(), channels, set(tickers or (A,)))
    session.start()
    session.commands()
    session.receive(subscribed())
    return session


def running() -> Session:
    """A session with one book of one bid: 10 contracts at 42 cents."""
    session = started()
    session.receive(snapshot(1, yes_dollars_fp=[["0.4200", "10.00"]]))
    return session


def test_everything_is_subscribed_at_the_start() -> None:
    """Each channel gets a subscription of its own; books name their markets and ask for prices of YES."""
    session = Session(LiveBooks(), (BOOKS, FILLS, ORDERS), {A, B})
    session.start()
    commands = session.commands()
    assert [each["cmd"] for each in commands] == ["subscribe"] * 3
    assert commands[0]["params"] == {
        "channels": ["orderbook_delta"],
        "market_tickers": [A, B],
        "use_yes_price": True,
    }
    assert commands[1]["params"] == {"channels": ["fill"]}
    assert len({each["id"] for each in commands}) == 3
    assert session.commands() == []


def test_a_book_is_its_snapshot_and_every_change() -> None:
    """Levels appear, grow, shrink and vanish; both ladders are those of YES, best first."""
    session = started()
    assert session.books.book(A) is None
    events = session.receive(
        snapshot(
            1, yes_dollars_fp=[["0.4000", "1.00"], ["0.4200", "10.00"]], no_dollars_fp=[["0.4500", "3.00"]]
        )
    )
    assert events == (BookChanged(A),)
    session.receive(delta(2, "-10.00"))
    session.receive(delta(3, "0.25", "0.4400", "no"))
    session.receive(delta(4, "-0.50", "0.4500", "no"))
    book = session.books.book(A)
    assert book is not None
    assert book.bids == (Level(40 * CENT, 100),)
    assert book.asks == (Level(44 * CENT, 25), Level(45 * CENT, 250))
    assert session.books.best(A) == (40 * CENT, 44 * CENT)


def test_prices_of_no_in_its_own_terms_are_understood_too() -> None:
    """Until Kalshi has moved over, NO levels can still be read at the price of NO."""
    session = Session(LiveBooks(yes_priced=False), (BOOKS,), {A})
    session.start()
    session.receive(subscribed())
    session.receive(snapshot(1, no_dollars_fp=[["0.5500", "3.00"]]))
    assert session.books.best(A) == (None, 45 * CENT)
    assert session.commands()[0]["params"]["use_yes_price"] is False


def test_ok_frames_are_counted() -> None:
    """An ``ok`` takes a number of the same sequence: it is no gap, and leaving it out is one."""
    session = running()
    session.receive(frame("ok", 2, market_tickers=[A]))
    assert session.receive(delta(3, "1.00")) == (BookChanged(A),)
    assert session.gaps == 0
    session.receive(delta(5, "1.00"))
    assert session.gaps == 1


def test_a_gap_makes_books_stale_until_a_snapshot() -> None:
    """After a number left out no book of the subscription is told until its own snapshot has come."""
    session = started(A, B)
    session.receive(snapshot(1, A))
    session.receive(snapshot(2, B))
    session.heal(0.0)
    assert session.commands() == []
    (missed,) = session.receive(delta(4, "1.00"))
    assert missed == Missed(BOOKS, "frames 3 to 3 did not come")
    assert session.books.book(A) is session.books.book(B) is None
    session.heal(1.0)
    (command,) = session.commands()
    assert command["cmd"] == "update_subscription"
    assert command["params"] == {"sids": [SID], "market_tickers": [A, B], "action": "get_snapshot"}
    assert session.receive(delta(5, "1.00")) == ()
    session.receive(snapshot(6, A, yes_dollars_fp=[["0.4200", "2.00"]]))
    assert session.books.best(A) == (42 * CENT, None)
    assert session.books.book(B) is None
    session.receive(snapshot(7, B))
    assert session.books.stale == frozenset()
    session.heal(2.0)
    assert session.commands() == []


def test_a_repetition_changes_nothing() -> None:
    """A frame that comes twice is applied once."""
    session = running()
    session.receive(delta(2, "1.00"))
    assert session.receive(delta(2, "1.00")) == ()
    assert session.receive(snapshot(1)) == ()
    assert session.books.best(A) == (42 * CENT, None)
    book = session.books.book(A)
    assert book is not None
    assert book.bids[0].count == 1_100
    assert (session.repeated, session.gaps) == (2, 0)


@pytest.mark.parametrize(
    "impossible",
    [
        delta(2, "-10.01"),
        delta(2, "-1.00", "0.4100"),
        delta(2, "0.00", "0.4100"),
        delta(2, "1.00", side="maybe"),
        delta(2, "1.005"),
        delta(2, "1.00", "1.0000"),
        delta(2, "1.00", "0.42x"),
    ],
)
def test_what_can_not_be_true_was_preceded_by_something_missed(impossible: str) -> None:
    """A change that takes away what is not there, or can't be read, makes its book stale."""
    session = running()
    (event,) = session.receive(impossible)
    assert isinstance(event, Missed)
    assert session.books.book(A) is None
    session.heal(1.0)
    session.heal(1.0 + SNAPSHOT_SECS)
    assert session.commands()[-1]["params"]["action"] == "get_snapshot"


def test_sides_that_would_have_traded_are_no_book() -> None:
    """A snapshot with a bid above an offer shows that prices were confused; the market has no book then."""
    session = started(A, B)
    crossed = {"yes_dollars_fp": [["0.5600", "1.00"]], "no_dollars_fp": [["0.5500", "1.00"]]}
    (event,) = session.receive(snapshot(1, A, **crossed))
    assert isinstance(event, Missed)
    session.receive(snapshot(2, B))
    session.heal(10.0)
    session.heal(20.0)
    assert session.books.book(A) is None
    assert session.books.book(B) is not None
    assert session.commands() == []


def test_a_frame_nobody_can_read_may_have_been_about_any_book() -> None:
    """Rubbish on the line makes the books stale and is told."""
    session = running()
    (event,) = session.receive('{"type":"orderbook_delta","sid":7}')
    assert isinstance(event, Missed)
    assert session.books.book(A) is None
    assert session.drift.counts["stream.unreadable"] == 1


@pytest.mark.parametrize("code", [7, 10, 25])
def test_a_subscription_that_ended_is_made_anew(code: int) -> None:
    """After a terminal error the channel is subscribed again, and frames of the old one count no more."""
    session = running()
    (event,) = session.receive(error(code))
    assert isinstance(event, Missed)
    assert session.books.book(A) is None
    (command,) = session.commands()
    assert command["params"]["channels"] == [BOOKS]
    assert session.receive(snapshot(2)) == ()
    session.receive(subscribed(sid=8))
    session.receive(snapshot(1, sid=8))
    assert session.books.book(A) is not None
    assert session.gaps == 0


def test_a_channel_that_keeps_ending_ends_the_connection() -> None:
    """Subscribing anew is bounded; then a new connection has to be made."""
    session = running()
    for turn in range(RESUBSCRIBES_MAX):
        session.receive(error(25))
        session.receive(subscribed(sid=SID))
        assert len(session.commands()) == 1, turn
    with pytest.raises(SessionBroken, match="ended 5 times"):
        session.receive(error(25))


def test_a_refusal_for_good_is_told_and_not_repeated() -> None:
    """A channel that Kalshi refuses is named with the reason; nothing is sent again."""
    session = started()
    events = session.receive(error(26))
    assert events == (Refused(BOOKS, 26, "said the test"),)
    assert session.commands() == []


def test_an_error_is_traced_to_its_command() -> None:
    """An error without subscription names the command by its number; one about nothing ends the session."""
    session = Session(LiveBooks(), (BOOKS, FILLS), {A})
    session.start()
    ids = [command["id"] for command in session.commands()]
    assert session.receive(error(9, sid=None, id=ids[1])) == (Refused(FILLS, 9, "said the test"),)
    with pytest.raises(SessionBroken, match="nothing we know"):
        session.receive(error(1, sid=None))


def test_too_many_commands_are_asked_again_later() -> None:
    """Error 27 is no end: the snapshot is asked for again after a while."""
    session = running()
    session.receive(delta(3, "1.00"))
    session.heal(1.0)
    assert len(session.commands()) == 1
    assert session.receive(error(27)) == ()
    session.heal(1.0 + COMMAND_GAP_SECS)
    assert session.commands() == []
    session.heal(1.0 + SNAPSHOT_SECS)
    assert len(session.commands()) == 1


def test_commands_keep_their_distance() -> None:
    """However many gaps come at once, snapshots are asked for with a pause in between."""
    session = running()
    for turn in range(5):
        session.receive(delta(3 + 2 * turn, "1.00"))
        session.heal(1.0)
    assert len(session.commands()) == 1
    session.heal(1.0 + COMMAND_GAP_SECS)
    assert len(session.commands()) == 1


def test_answers_are_traced_to_the_latest_commands_only() -> None:
    """A connection that lives for weeks remembers a bounded number of its commands."""
    session = running()
    for turn in range(COMMANDS_KEPT):
        session.follow({A, B} if turn % 2 == 0 else {A})
    with pytest.raises(SessionBroken, match="nothing we know"):
        session.receive(error(1, sid=None, id=1))


def test_a_snapshot_that_never_comes_ends_the_connection() -> None:
    """A missing snapshot is asked for a few times, at a distance, and then the connection is given up."""
    session = running()
    session.receive(delta(3, "1.00"))
    for turn in range(3):
        session.heal(SNAPSHOT_SECS * turn)
        session.heal(SNAPSHOT_SECS * turn + 1)
        assert len(session.commands()) == 1
    with pytest.raises(SessionBroken, match="no snapshot"):
        session.heal(SNAPSHOT_SECS * 3)


def test_snapshots_that_come_unasked_are_waited_for() -> None:
    """After subscribing nothing more is asked for until the snapshots have had their time."""
    session = started()
    session.heal(0.0)
    session.heal(SNAPSHOT_SECS - 0.1)
    assert session.commands() == []
    session.heal(SNAPSHOT_SECS)
    assert session.commands()[0]["params"]["action"] == "get_snapshot"


def test_markets_come_and_go() -> None:
    """Following other markets adds and removes them; a removed one has no book and changes nothing."""
    session = running()
    session.follow({B})
    added, removed = session.commands()
    assert (added["params"]["action"], added["params"]["market_tickers"]) == ("add_markets", [B])
    assert (removed["params"]["action"], removed["params"]["market_tickers"]) == ("delete_markets", [A])
    assert session.receive(delta(2, "1.00")) == ()
    assert session.receive(snapshot(3, A)) == ()
    assert session.receive(snapshot(4, B)) == (BookChanged(B),)
    assert session.books.book(A) is None
    assert session.gaps == 0


def test_no_markets_no_book_channel() -> None:
    """Without markets the book channel waits; it is subscribed with the first of them."""
    session = Session(LiveBooks(), (BOOKS,), set())
    session.start()
    assert session.commands() == []
    session.follow({A})
    assert session.commands()[0]["params"]["market_tickers"] == [A]


def test_our_own_news_is_typed() -> None:
    """Fills and orders arrive in the same nouns as over REST; other channels as plain records."""
    session = started(channels=(BOOKS, FILLS, ORDERS))
    told = {**sent.fill(), "ts_ms": 1_793_631_600_123, "post_position_fp": "2.50"}
    for name in ("fill_id", "ticker", "created_time", "no_price_dollars"):
        del told[name]
    (filled,) = session.receive(frame("fill", sid=2, **told))
    assert isinstance(filled, Filled)
    assert (filled.fill.fill_id, filled.fill.position_after) == ("t-f1", 250)
    (updated,) = session.receive(frame("user_order", sid=3, **sent.order(last_update_reason="Trade")))
    assert isinstance(updated, OrderUpdated)
    (other,) = session.receive(
        frame("market_lifecycle_v2", 1, sid=4, market_ticker=A, event_type="deactivated")
    )
    assert isinstance(other, Told)
    assert other.record.text("event_type") == "deactivated"


def test_a_fill_that_can_not_be_read_is_not_swallowed() -> None:
    """What is ours and unreadable is told as missed, so that it is asked for over REST."""
    session = started()
    (event,) = session.receive(frame("fill", sid=2, trade_id="t"))
    assert isinstance(event, Missed)
    assert event.channel == "fill"


def test_a_gap_on_another_channel_is_told() -> None:
    """Group updates are numbered as well; one that is missed is told, and the books stay."""
    session = running()
    session.receive(subscribed("order_group_updates", 9))
    session = Session(LiveBooks(), (BOOKS, "order_group_updates"), {A})
    session.start()
    session.receive(subscribed())
    session.receive(snapshot(1))
    session.receive(subscribed("order_group_updates", 9))
    missed, told = session.receive(frame("order_group_updates", 2, sid=9, event_type="triggered"))
    assert missed == Missed("order_group_updates", "frames 1 to 1 did not come")
    assert isinstance(told, Told)
    assert session.books.book(A) is not None


@pytest.mark.parametrize("control", ['{"type":"subscribed","msg":{}}', '{"type":"error","msg":7}'])
def test_control_frames_must_make_sense(control: str) -> None:
    """An acknowledgement or error we can't read leaves us not knowing where we are: start over."""
    with pytest.raises(SessionBroken):
        started().receive(control)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"type":7}', "{" * 9_000, '{"type":"orderbook_delta"}'])
def test_rubbish_is_no_frame(text: str) -> None:
    """What is no frame raises, however it is broken."""
    with pytest.raises(SchemaDrift, match="can't be read"):
        read_frame(text)


def test_a_frame_is_read_whatever_the_order_of_its_keys() -> None:
    """The short way for frames that begin with their type is only a short way."""
    message = json.loads(delta(2, "1.00"))
    turned = json.dumps({name: message[name] for name in ("msg", "seq", "sid", "type")})
    assert read_frame(turned) == read_frame(delta(2, "1.00"))


@given(st.text(alphabet="0123456789.-_ +e", max_size=9))
def test_the_short_ways_read_what_the_strict_ones_read(text: str) -> None:
    """Fast parsing of prices and sizes accepts and refuses exactly what strict parsing does."""
    for fast, strict in ((price_of, micros), (size_of, centi)):
        try:
            expected = strict(text)
        except ValueError:
            with pytest.raises(ValueError, match=r"fixed-point|decimals"):
                fast(text)
        else:
            assert fast(text) == expected


changes = st.lists(
    st.tuples(st.sampled_from(["yes", "no"]), st.integers(1, 49), st.integers(-300, 300).filter(bool)),
    max_size=60,
)


@given(changes)
def test_a_book_is_the_sum_of_its_changes(steps: list[tuple[str, int, int]]) -> None:
    """Against a plain sum in decimals: equal after all changes, stale once it goes below nothing."""
    session = started()
    session.receive(snapshot(1))
    expected: dict[tuple[str, int], Decimal] = {}
    for seq, (side, cents, hundredths) in enumerate(steps, start=2):
        price = cents if side == "yes" else 100 - cents
        change = Decimal(hundredths) / 100
        session.receive(delta(seq, f"{change:.2f}", f"{price / 100:.4f}", side))
        total = expected.get((side, price), Decimal(0)) + change
        if total < 0:
            assert session.books.book(A) is None
            return
        expected[side, price] = total
    book = session.books.book(A)
    assert book is not None
    told = {("yes", level.price // CENT): Decimal(level.count) / 100 for level in book.bids}
    told |= {("no", level.price // CENT): Decimal(level.count) / 100 for level in book.asks}
    assert told == {place: total for place, total in expected.items() if total}


async def test_an_inbox_sheds_market_data_and_nothing_else() -> None:
    """When the reader falls behind market data goes at once; fills, orders and answers keep their order."""
    inbox = Inbox(frames_max=10)
    fills = [frame("fill", sid=2, trade_id=str(number)) for number in range(4)]
    for number in range(4):
        inbox.put(delta(number + 1, "1.00"))
        assert not inbox.put(fills[number])
    inbox.put(frame("ok", 9))
    inbox.put(snapshot(10))
    assert inbox.put(delta(11, "1.00"))
    assert inbox.shed == 5
    left = [await inbox.get(1.0) for _ in range(len(inbox))]
    assert left == [*fills, frame("ok", 9), delta(11, "1.00")]
    assert await inbox.get(0.0) is None


def test_an_inbox_of_our_own_news_has_a_bound_too() -> None:
    """Our own frames are never dropped; when nobody reads them at all the connection is given up."""
    inbox = Inbox(frames_max=4, ours_max=20)
    accepted = 0
    with pytest.raises(InboxFull):  # noqa: PT012 (which of the many is refused is the point)
        for number in range(1_000):
            inbox.put(frame("fill", sid=2, trade_id=str(number)))
            accepted += 1
    assert inbox.shed == 0
    assert 20 <= accepted == len(inbox) <= 64
    assert not inbox.drained


RECORDED = os.environ.get("JURYMAST_KALSHI_DATA", "")
recorded = pytest.mark.skipif(not RECORDED, reason="JURYMAST_KALSHI_DATA names no directory of recordings")


def recorded_tape() -> Iterator[dict[str, Any]]:
    """Fifteen minutes of one market; a number 1 begins a new subscription."""
    with gzip.open(Path(RECORDED) / "btc15m_tape.ndjson.gz", "rt") as lines:
        sid = 0
        for line in filter(str.strip, lines):
            told = json.loads(line)
            sid += told["seq"] == 1
            yield {"type": told["type"], "sid": sid, "seq": told["seq"], "msg": told["msg"]}


@recorded
def test_a_recorded_quarter_of_an_hour_is_kept_exactly() -> None:
    """Over 100,000 recorded changes: no false gap, and every book equal to a plain sum in decimals."""
    tape = list(recorded_tape())
    session = Session(LiveBooks(yes_priced=False), (BOOKS,), {each["msg"]["market_ticker"] for each in tape})
    session.start()
    plain: dict[str, dict[tuple[str, Decimal], Decimal]] = {}
    for number, told in enumerate(tape):
        if told["seq"] == 1:
            session.receive(subscribed(sid=told["sid"]))
        assert session.receive(json.dumps(told)) == (BookChanged(told["msg"]["market_ticker"]),)
        apply_plainly(plain, told)
        if number % 500 == 0 or told["type"] == "orderbook_snapshot":
            assert_equal(session, plain)
    assert_equal(session, plain)
    assert (session.gaps, session.repeated, len(tape)) == (0, 0, 101_707)


@recorded
def test_recorded_acknowledgements_are_no_gaps() -> None:
    """Twelve markets added one by one, as recorded from the wire: every book is there, nothing is missed."""
    told = json.loads((Path(RECORDED) / "ws_orderbook_stream.json").read_text())
    session = Session(LiveBooks(yes_priced=False), (BOOKS,), set(told["tickers"]))
    session.start()
    for each in told["frames"]:
        assert not any(isinstance(event, Missed) for event in session.receive(json.dumps(each["frame"])))
    assert (session.gaps, session.books.stale) == (0, frozenset())


def apply_plainly(plain: dict[str, dict[tuple[str, Decimal], Decimal]], told: dict[str, Any]) -> None:
    message = told["msg"]
    if told["type"] == "orderbook_snapshot":
        plain[message["market_ticker"]] = {
            (side, Decimal(price)): Decimal(size)
            for side in ("yes", "no")
            for price, size in message.get(f"{side}_dollars_fp", [])
        }
        return
    levels = plain[message["market_ticker"]]
    place = (message["side"], Decimal(message["price_dollars"]))
    levels[place] = levels.get(place, Decimal(0)) + Decimal(message["delta_fp"])


def assert_equal(session: Session, plain: dict[str, dict[tuple[str, Decimal], Decimal]]) -> None:
    for ticker, levels in plain.items():
        book = session.books.book(ticker)
        assert book is not None
        told = {("yes", level.price): level.count for level in book.bids}
        told |= {("no", PAYOUT - level.price): level.count for level in book.asks}
        assert told == {(side, usd(price)): int(size * 100) for (side, price), size in levels.items() if size}
