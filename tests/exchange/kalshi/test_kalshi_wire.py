"""What Kalshi sends is read strictly where money depends on it, and tolerantly where it doesn't."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import kalshi_server as sent
import pytest

from jurymast.domain.errors import SchemaDrift
from jurymast.domain.market import Level, MarketStatus, Side
from jurymast.domain.money import CENT, CONTRACT, usd
from jurymast.domain.order import Action, OrderStatus
from jurymast.exchange.kalshi import account, markets
from jurymast.exchange.kalshi.account import BookSide, MarketResult, UpdateReason
from jurymast.exchange.kalshi.reading import (
    DRIFT_KEYS_MAX,
    Drift,
    Record,
    Strange,
    decoded,
    each_readable,
    loads,
)

AT = datetime(2026, 11, 2, 15, 0, tzinfo=UTC)
READERS: list[tuple[Callable[[Record, Drift], Any], dict[str, Any], str]] = [
    (
        markets.read_market,
        sent.market(),
        """
        ticker event_ticker status open_time close_time price_ranges rules_primary yes_bid_dollars
        yes_bid_size_fp yes_ask_dollars yes_ask_size_fp volume_24h_fp
        """,
    ),
    (
        account.read_order,
        sent.order(),
        """
        order_id ticker book_side status yes_price_dollars fill_count_fp remaining_count_fp initial_count_fp
        """,
    ),
    (
        account.read_fill,
        sent.fill(),
        "order_id book_side count_fp yes_price_dollars fee_cost is_taker created_time",
    ),
    (
        account.read_position,
        sent.position(),
        "ticker position_fp market_exposure_dollars fees_paid_dollars",
    ),
    (
        account.read_settlement,
        sent.settlement(),
        "ticker event_ticker market_result yes_count_fp no_count_fp revenue settled_time",
    ),
    (lambda record, _: account.read_balance(record), sent.balance(), "balance portfolio_value"),
]
TAKE_ANY_TEXT = {"ticker", "event_ticker", "order_id", "rules_primary", "status"}
"""The status of an order is told as unknown instead; that of a market is tested by itself."""
DAMAGE = [
    (read, value, name, broken)
    for read, value, names in READERS
    for name in names.split()
    for broken in (None, [], {}, "", "a lot", 0.5)
    if not (broken == "a lot" and name in TAKE_ANY_TEXT)
]


@pytest.mark.parametrize(("read", "value", "name", "broken"), DAMAGE)
def test_a_field_that_money_depends_on_is_never_assumed(
    read: Callable[[Record, Drift], Any], value: dict[str, Any], name: str, broken: object
) -> None:
    """A missing or unreadable field is named together with the operation; nothing takes its place."""
    damaged = {**value, name: broken}
    with pytest.raises(SchemaDrift, match=f"GetThings: .*{name}"):
        read(Record("GetThings", damaged), Drift())
    del damaged[name]
    with pytest.raises(SchemaDrift, match=f"GetThings: .*{name}"):
        read(Record("GetThings", damaged), Drift())


@pytest.mark.parametrize(("read", "value", "_"), READERS)
def test_what_is_known_raises_no_alarm(
    read: Callable[[Record, Drift], Any], value: dict[str, Any], _: str
) -> None:
    """An answer as of the specification, legacy fields included, counts no drift."""
    drift = Drift()
    read(Record("GetThings", value), drift)
    assert not drift.counts


def test_new_fields_are_tolerated_and_counted() -> None:
    """A field that nobody here knows changes nothing and is counted by operation and name."""
    drift = Drift()
    order = account.read_order(Record("GetOrders", sent.order(quantum_state="both")), drift)
    assert order == account.read_order(Record("GetOrders", sent.order()), Drift())
    assert drift.counts == {"GetOrders.quantum_state": 1}


def test_each_kind_of_drift_is_told_once() -> None:
    """A new field is harmless, a market that can't be read is not: its field is named. Both are told once."""
    told: list[Strange] = []
    drift = Drift(told.append)
    values = [sent.market(quantum="both"), sent.market(status="entangled"), sent.market(status="entangled")]
    assert len(list(each_readable("GetMarkets", values, markets.read_market, drift))) == 1
    assert len(list(each_readable("GetMarkets", values, markets.read_market, drift))) == 1
    assert [(each.name, each.harmless) for each in told] == [
        ("GetMarkets.quantum", True),
        ("GetMarkets.unreadable", False),
    ]
    assert "the field status holds 'entangled'" in told[1].detail


def test_drift_counts_are_bounded() -> None:
    """However many new names arrive, only so many are kept apart."""
    drift = Drift()
    for number in range(DRIFT_KEYS_MAX + 50):
        drift.saw("GetThings", str(number), "")
    assert len(drift.counts) == DRIFT_KEYS_MAX + 1
    assert drift.counts["other.other"] == 50


def test_one_strange_market_does_not_fail_a_page() -> None:
    """A market with a status nobody knows is left out and counted; the others are there."""
    values = [sent.market("A-1"), sent.market("A-2", status="entangled"), sent.market("A-3"), "rubbish"]
    drift = Drift()
    read = each_readable("GetMarkets", values, markets.read_market, drift)
    assert [each.ticker for each in read] == ["A-1", "A-3"]
    assert drift.counts == {"GetMarkets.unreadable": 2}


def test_a_market_in_our_words() -> None:
    """A market tells its prices in micro-dollars, its sizes in centi-contracts, its grid and its shard."""
    market = markets.read_market(Record("GetMarket", sent.market()), Drift())
    snapshot = market.snapshot(market.top, AT, "Climate")
    assert market.shard == 2
    assert market.grid.accepts(42 * CENT)
    assert snapshot.status is MarketStatus.ACTIVE
    assert snapshot.book.bids == (Level(42 * CENT, 1_050),)
    assert snapshot.book.asks == (Level(45 * CENT, 300),)
    assert snapshot.volume_24h == 1_234
    assert snapshot.market.title == "Will it rain? (One inch)"
    assert snapshot.market.close_time == datetime(2026, 11, 30, 23, 0, 0, 500_000, tzinfo=UTC)


def test_an_empty_side_has_no_price() -> None:
    """$0 bid and $1 asked stand for nobody; they do not become prices."""
    for size in ("0.00", "5.00"):
        empty = sent.market(
            yes_bid_dollars="0.0000", yes_bid_size_fp=size, yes_ask_dollars="1.0000", yes_ask_size_fp=size
        )
        top = markets.read_market(Record("GetMarket", empty), Drift()).top
        assert top.bids == top.asks == ()


@pytest.mark.parametrize(
    ("word", "status", "told"),
    [
        ("initialized", MarketStatus.INITIALIZED, None),
        ("inactive", MarketStatus.INACTIVE, None),
        ("determined", MarketStatus.CLOSED, None),
        ("disputed", MarketStatus.CLOSED, None),
        ("amended", MarketStatus.CLOSED, None),
        ("finalized", MarketStatus.FINALIZED, Side.NO),
    ],
)
def test_the_life_of_a_market(word: str, status: MarketStatus, told: Side | None) -> None:
    """Every word of the life cycle has its place; a result counts once it is final."""
    market = markets.read_market(Record("GetMarket", sent.market(status=word, result="no")), Drift())
    snapshot = market.snapshot(market.top, AT)
    assert (snapshot.status, snapshot.result) == (status, told)


def test_words_of_filter_and_field_are_two_vocabularies() -> None:
    """No word of the list filter but "closed" is a word of the field."""
    assert {*markets.MarketFilter} & {*markets.Lifecycle} == {"closed"}


def test_a_book_of_bids_becomes_two_ladders() -> None:
    """Bids on both sides, best last on the wire, become bids and offers of YES, best first."""
    book = markets.read_book(
        Record(
            "GetMarketOrderbook",
            {
                "orderbook_fp": {
                    "yes_dollars": [["0.4000", "1.00"], ["0.4200", "10.50"]],
                    "no_dollars": [["0.5000", "2.00"], ["0.5550", "0.01"]],
                }
            },
        )
    )
    assert book.bids == (Level(42 * CENT, 1_050), Level(40 * CENT, 100))
    assert book.asks == (Level(usd("0.445"), 1), Level(50 * CENT, 200))


@pytest.mark.parametrize(
    "body",
    [
        {"orderbook": {"yes_dollars": [], "no_dollars": []}},
        {"orderbook_fp": {"yes_dollars": []}},
        {"orderbook_fp": {"yes_dollars": [["0.4"]], "no_dollars": []}},
        {"orderbook_fp": {"yes_dollars": [["0.4", "0.00"]], "no_dollars": []}},
        {"orderbook_fp": {"yes_dollars": [["0.4", "-1.00"]], "no_dollars": []}},
        {"orderbook_fp": {"yes_dollars": [["1.0", "1.00"]], "no_dollars": []}},
        {"orderbook_fp": {"yes_dollars": [["0.4", "1.00"], ["0.40", "2.00"]], "no_dollars": []}},
        {"orderbook_fp": {"yes_dollars": [[0.4, "1.00"]], "no_dollars": []}},
        {"orderbook_fp": {"yes_dollars": [None], "no_dollars": []}},
    ],
)
def test_a_book_that_is_not_as_known_is_no_empty_book(body: dict[str, Any]) -> None:
    """Another envelope, a missing side or an impossible level raises instead of looking like no liquidity."""
    with pytest.raises(SchemaDrift, match="GetMarketOrderbook"):
        markets.read_book(Record("GetMarketOrderbook", body))


def test_direction_comes_from_the_book_side() -> None:
    """The legacy side and action, which say the opposite for sells, are never looked at."""
    order = account.read_order(Record("GetOrders", sent.order()), Drift()).order
    assert (order.side, order.action, order.limit_price) == (Side.YES, Action.BUY, 42 * CENT)
    ask = sent.order(book_side="ask", outcome_side="no")
    order = account.read_order(Record("GetOrders", ask), Drift()).order
    assert (order.side, order.action, order.limit_price) == (Side.NO, Action.BUY, 58 * CENT)
    fill = account.read_fill(Record("GetFills", sent.fill(book_side="ask", outcome_side="no")), Drift())
    assert (fill.fill().side, fill.fill().price) == (Side.NO, 58 * CENT)


@pytest.mark.parametrize("changes", [{"outcome_side": "no"}, {"no_price_dollars": "0.4200"}])
def test_contradictions_are_not_resolved_by_guessing(changes: dict[str, Any]) -> None:
    """Two fields that say the same thing must agree."""
    with pytest.raises(SchemaDrift, match=r"together|contradict"):
        account.read_order(Record("GetOrders", sent.order(**changes)), Drift())
    with pytest.raises(SchemaDrift, match=r"together|contradict"):
        account.read_fill(Record("GetFills", sent.fill(**changes)), Drift())


def test_selling_yes_is_buying_no_in_other_words() -> None:
    """An order can be told in the terms of its intent, and only in terms that mean the same."""
    ask = account.read_order(
        Record("GetOrders", sent.order(book_side="ask", outcome_side="no")), Drift()
    ).order
    sale = account.expressed(ask, Side.YES, Action.SELL)
    assert (sale.side, sale.action, sale.limit_price) == (Side.YES, Action.SELL, 42 * CENT)
    assert account.expressed(ask, Side.NO, Action.BUY) == ask
    with pytest.raises(SchemaDrift, match="opposite"):
        account.expressed(ask, Side.YES, Action.BUY)
    assert account.book_side(Side.YES, Action.SELL) is BookSide.ASK
    assert account.book_side(Side.NO, Action.SELL) is BookSide.BID


def test_a_decreased_order_counts_what_can_still_fill() -> None:
    """After a decrease the count is what has filled plus what rests, not what was sent at first."""
    value = sent.order(fill_count_fp="2.00", remaining_count_fp="3.00", initial_count_fp="10.00")
    order = account.read_order(Record("GetOrders", value), Drift()).order
    assert (order.count, order.filled, order.remaining) == (500, 200, 300)


def test_an_order_with_an_unknown_status_is_no_ended_order() -> None:
    """A new status word is counted, and the order refuses to be told as open or ended."""
    drift = Drift()
    order = account.read_order(Record("GetOrders", sent.order(status="hibernating")), drift)
    assert order.status is None
    assert drift.counts == {"GetOrders.status": 1}
    with pytest.raises(SchemaDrift, match="may be open"):
        _ = order.order


def test_the_stream_tells_why_an_order_ended() -> None:
    """An update names its reason; a reason nobody knows is counted and changes nothing else."""
    told = sent.order(
        status="canceled", last_update_reason="HaltCancel", created_time=None, created_ts_ms=1_790_000_000_123
    )
    order = account.read_order(Record("user_orders", told), Drift())
    assert (order.reason, order.status) == (UpdateReason.HALT_CANCEL, OrderStatus.CANCELED)
    assert order.created_at == datetime(2026, 9, 21, 14, 13, 20, 123_000, tzinfo=UTC)
    drift = Drift()
    order = account.read_order(Record("user_orders", {**told, "last_update_reason": "Whim"}), drift)
    assert order.reason is None
    assert drift.counts == {"user_orders.last_update_reason": 1}


def test_a_settlement_in_our_words() -> None:
    """Revenue is in cents on the wire, counts are netted and signed."""
    read = account.read_settlement(Record("GetSettlements", sent.settlement()), Drift())
    assert read.settlement.revenue == usd(3)
    assert read.settlement.count == -3 * CONTRACT
    assert read.settlement.result is Side.NO


def test_a_scalar_settlement_pays_what_it_pays() -> None:
    """A market that settles in between names the side that got more, and never without its value."""
    value = sent.settlement(market_result="scalar", value=30, revenue=210)
    read = account.read_settlement(Record("GetSettlements", value), Drift())
    assert read.result is MarketResult.SCALAR
    assert (read.settlement.result, read.settlement.revenue) == (Side.NO, usd("2.10"))
    untold = account.read_settlement(Record("GetSettlements", {**value, "value": None}), Drift())
    with pytest.raises(SchemaDrift, match="value"):
        _ = untold.settlement


def test_the_balance_is_told_to_the_last_digit() -> None:
    """Cents are refined by the exact dollars, and a contradiction between them is no balance."""
    assert account.read_balance(Record("GetBalance", sent.balance("100.1234"))).cash == usd("100.1234")
    cents_only = {name: value for name, value in sent.balance().items() if name != "balance_dollars"}
    assert account.read_balance(Record("GetBalance", cents_only)).cash == usd("100.12")
    with pytest.raises(SchemaDrift, match="contradict"):
        account.read_balance(Record("GetBalance", {**sent.balance(), "balance": 1}))


def test_multipliers_are_decimals() -> None:
    """The few real numbers of the API never become floats on the way."""
    record = decoded("GetSeries", b'{"series":{"fee_type":"quadratic","fee_multiplier":0.1}}').record(
        "series"
    )
    assert record.decimal("fee_multiplier") == Decimal("0.1")
    assert markets.read_series_fee(record).multiplier_millionths == 100_000


@pytest.mark.parametrize("multiplier", ["-1", "0.0000001", "1e9", '"1"', "null", "true"])
def test_an_unusable_multiplier_is_not_used(multiplier: str) -> None:
    """A fee multiplier that makes no sense raises: a fee is never guessed."""
    body = f'{{"fee_type":"quadratic","fee_multiplier":{multiplier}}}'
    with pytest.raises(SchemaDrift, match="fee_multiplier"):
        markets.read_series_fee(decoded("GetSeries", body.encode()))


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b"null", b'{"a":', b"\xff", b"[" * 5_000])
def test_what_is_no_object_is_no_answer(body: bytes) -> None:
    """A web page, a list or a cut answer raises instead of being read as an empty one."""
    with pytest.raises(SchemaDrift, match="GetThings"):
        decoded("GetThings", body)


def test_json_has_no_floats() -> None:
    """Decoding yields whole numbers, texts and decimals."""
    assert loads("x", b'{"a":1.10}') == {"a": Decimal("1.10")}


def test_the_state_of_the_exchange() -> None:
    """The exchange tells per shard whether it takes anything and whether it trades."""
    status = markets.read_status(
        Record(
            "GetExchangeStatus",
            {
                "exchange_active": True,
                "trading_active": False,
                "exchange_estimated_resume_time": "2026-11-05T10:00:00Z",
                "exchange_index_statuses": [
                    {
                        "exchange_index": 2,
                        "description": "",
                        "exchange_active": True,
                        "trading_active": False,
                        "intra_exchange_transfers_active": True,
                    }
                ],
            },
        )
    )
    assert (status.active, status.trading) == (True, False)
    assert status.resumes_at == datetime(2026, 11, 5, 10, tzinfo=UTC)
    assert [(shard.shard, shard.trading) for shard in status.shards] == [(2, False)]
