"""Reads of a member's own things: orders, fills, positions, settlements, balance, groups, limits.

All of them show the portfolio of :class:`PortfolioView`, which may lag. An omitted ``subaccount`` means all
of them for orders, fills and settlements, but the primary one for balance and positions.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web

from jurymast.domain.errors import OrderRejected
from jurymast.domain.money import PAYOUT, Micros
from jurymast.exchange.embedded.accounts import Account, value
from jurymast.exchange.embedded.records import Order, Status
from jurymast.exchange.embedded.server.limits import (
    API,
    BALANCE,
    DEFAULT_COST,
    LIGHT,
    LIGHT_COST,
    TIERS,
)
from jurymast.exchange.embedded.server.replies import Query, newest, reply
from jurymast.exchange.embedded.server.shapes import (
    Json,
    fill_shape,
    order_shape,
    position_shape,
    settlement_shape,
)
from jurymast.exchange.embedded.server.site import Site
from jurymast.exchange.embedded.server.view import Frame
from jurymast.exchange.embedded.server.wire import cents, dollars, fp, order_id, order_number, seconds

_ORDER_STATUSES: Final = tuple(status.value for status in Status)


class Portfolio:
    """Handlers of reads."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def list_orders(self, request: web.Request) -> web.Response:
        site, query = self._site, Query(request)
        frame = site.view.frame()
        accounts = _accounts(frame, query)
        start, limit = query.page()
        status, ticker = query.choice("status", _ORDER_STATUSES), query.text("ticker")
        events, shard = query.words("event_ticker", 100), query.optional("exchange_index")
        after, before = query.time_us("min_ts"), query.time_us("max_ts")
        rows = [
            order
            for order in frame.orders
            if order.owner in accounts
            and (not status or order.status == status)
            and (not ticker or order.ticker == ticker)
            and (not events or _event_of(site, order.ticker) in events)
            and (shard is None or _shard_of(site, order.ticker) == shard)
            and (after is None or order.created_us >= after)
            and (before is None or order.created_us <= before)
        ]
        page, then = newest(rows, start, limit, lambda order: order.number)
        return reply(
            {"orders": [_order(site, order, accounts[order.owner]) for order in page], "cursor": then}
        )

    async def get_order(self, request: web.Request) -> web.Response:
        site, frame = self._site, self._site.view.frame()
        order, account = _find(frame, request.match_info["order_id"])
        return reply({"order": _order(site, order, account)})

    async def queue_position(self, request: web.Request) -> web.Response:
        site = self._site
        order, _ = _find(site.view.frame(), request.match_info["order_id"])
        if order.status is not Status.RESTING:
            raise OrderRejected("not_found", "the order does not rest")
        return reply({"queue_position_fp": fp(_ahead(site, order))})

    async def queue_positions(self, request: web.Request) -> web.Response:
        site, query = self._site, Query(request)
        tickers, event = query.words("market_tickers", 1_000), query.text("event_ticker")
        accounts = _accounts(site.view.frame(), query, primary=True)
        rows = [
            {
                "order_id": order_id(order.number),
                "market_ticker": order.ticker,
                "queue_position_fp": fp(_ahead(site, order)),
            }
            for number in accounts
            for order in site.exchange.engine.floor.open[number].values()
            if (not tickers or order.ticker in tickers)
            and (not event or _event_of(site, order.ticker) == event)
        ]
        return reply({"queue_positions": rows})

    async def list_fills(self, request: web.Request) -> web.Response:
        site, query = self._site, Query(request)
        frame = site.view.frame()
        accounts = _accounts(frame, query)
        start, limit = query.page()
        tickers, shard = query.words("ticker", 100), query.optional("exchange_index")
        of_order = order_number(query.text("order_id")) if query.text("order_id") else None
        after, before = query.time_us("min_ts"), query.time_us("max_ts")
        rows = [
            fill
            for fill in frame.fills
            if fill.owner in accounts
            and (not tickers or fill.ticker in tickers)
            and (of_order is None or fill.order == of_order)
            and (shard is None or _shard_of(site, fill.ticker) == shard)
            and (after is None or fill.at_us >= after)
            and (before is None or fill.at_us <= before)
        ]
        page, then = newest(rows, start, limit, lambda fill: fill.number)
        legacy = site.settings.legacy_fields
        fills = [
            fill_shape(fill, accounts[fill.owner], _shard_of(site, fill.ticker), legacy=legacy)
            for fill in page
        ]
        return reply({"fills": fills, "cursor": then})

    async def list_positions(self, request: web.Request) -> web.Response:
        """Positions by market and by event; unsettled ones unless asked otherwise."""
        site, query = self._site, Query(request)
        accounts = _accounts(site.view.frame(), query, primary=True)
        ticker, event = query.text("ticker"), query.text("event_ticker")
        query.page()
        settled = query.choice("settlement_status", ("unsettled", "settled", "all")) or "unsettled"
        held_only = "position" in query.words("count_filter", 3)
        markets: list[Json] = []
        events: dict[str, list[int]] = {}
        for account in accounts.values():
            for name, stake in sorted(account.stakes.items()):
                of_event = _event_of(site, name)
                if (
                    (ticker and name != ticker)
                    or (event and of_event != event)
                    or (settled == "unsettled" and stake.paid)
                    or (settled == "settled" and not stake.paid)
                    or not (stake.count or (stake.traded and not held_only))
                ):
                    continue
                markets.append(position_shape(name, stake, _shard_of(site, name)))
                sums = events.setdefault(of_event, [0, 0, 0, 0, 0])
                facts = (stake.traded, stake.volume, stake.cost, stake.realized, stake.fees)
                events[of_event] = [total + fact for total, fact in zip(sums, facts, strict=True)]
        totals = [
            {
                "event_ticker": name,
                "total_cost_dollars": dollars(traded),
                "total_cost_shares_fp": fp(volume),
                "event_exposure_dollars": dollars(cost),
                "realized_pnl_dollars": dollars(realized),
                "fees_paid_dollars": dollars(fees),
            }
            for name, (traded, volume, cost, realized, fees) in events.items()
        ]
        return reply({"market_positions": markets, "event_positions": totals, "cursor": ""})

    async def list_settlements(self, request: web.Request) -> web.Response:
        site, query = self._site, Query(request)
        frame = site.view.frame()
        accounts = _accounts(frame, query)
        start, limit = query.page()
        ticker, event = query.text("ticker"), query.text("event_ticker")
        after, before = query.time_us("min_ts"), query.time_us("max_ts")
        rows = [
            payout
            for payout in frame.payouts
            if payout.owner in accounts
            and (not ticker or payout.ticker == ticker)
            and (not event or _event_of(site, payout.ticker) == event)
            and (after is None or payout.at_us >= after)
            and (before is None or payout.at_us <= before)
        ]
        page, then = newest(rows, start, limit, lambda payout: payout.number)
        shapes = [
            settlement_shape(payout, _event_of(site, payout.ticker), _shard_of(site, payout.ticker))
            for payout in page
        ]
        return reply({"settlements": shapes, "cursor": then})

    async def get_balance(self, request: web.Request) -> web.Response:
        site, query = self._site, Query(request)
        frame = site.view.frame()
        accounts = list(_accounts(frame, query, primary=True).values())
        if not accounts:
            raise OrderRejected("not_found", "there is no such subaccount")
        account, shard = accounts[0], query.optional("exchange_index")
        shards = range(len(account.cash)) if shard is None else [shard]
        if not all(0 <= each < len(account.cash) for each in shards):
            raise OrderRejected("bad_request", f"there is no exchange_index {shard}")
        whole = site.settings.balance_excludes_resting
        by_shard = {each: account.available(each) if whole else account.cash[each] for each in shards}
        balance = sum(by_shard.values())
        worth = sum(
            _worth(site, ticker, stake.count)
            for ticker, stake in account.stakes.items()
            if stake.count and _shard_of(site, ticker) in by_shard
        )
        return reply(
            {
                "balance": cents(balance),
                "balance_dollars": dollars(balance),
                "portfolio_value": cents(worth),
                "updated_ts": seconds(account.updated_us),
                "balance_breakdown": [
                    {"exchange_index": each, "balance": dollars(amount)} for each, amount in by_shard.items()
                ],
            }
        )

    async def resting_value(self, _: web.Request) -> web.Response:
        site = self._site
        held = [0] * site.exchange.engine.state.shards
        for account in site.view.frame().accounts:
            for stake_ticker, stake in account.stakes.items():
                held[_shard_of(site, stake_ticker)] += stake.bid_value + stake.ask_value
        rows = [{"exchange_index": shard, "balance": dollars(amount)} for shard, amount in enumerate(held)]
        return reply({"total_resting_order_value": cents(sum(held)), "resting_order_value_breakdown": rows})

    async def list_groups(self, request: web.Request) -> web.Response:
        site = self._site
        accounts = _accounts(site.view.frame(), Query(request))
        rows = [
            {
                "id": group.name,
                "contracts_limit_fp": fp(group.limit),
                "is_auto_cancel_enabled": True,
                "exchange_index": 0,
            }
            for group in site.exchange.engine.state.groups.values()
            if group.owner in accounts
        ]
        return reply({"order_groups": rows})

    async def get_group(self, request: web.Request) -> web.Response:
        site, name = self._site, request.match_info["order_group_id"]
        group = site.exchange.engine.state.groups.get(name)
        accounts = {account.number for account in site.view.frame().accounts}
        if group is None or group.owner not in accounts:
            raise OrderRejected("not_found", f"there is no order group {name[:64]}")
        resting = site.exchange.engine.floor.open[group.owner].values()
        return reply(
            {
                "is_auto_cancel_enabled": True,
                "contracts_limit_fp": fp(group.limit),
                "orders": [order_id(order.number) for order in resting if order.group == name],
                "exchange_index": 0,
            }
        )

    async def subaccount_balances(self, _: web.Request) -> web.Response:
        rows = [
            {
                "subaccount_number": account.subaccount,
                "exchange_index": shard,
                "balance": dollars(account.available(shard)),
                "updated_ts": seconds(account.updated_us),
            }
            for account in self._site.view.frame().accounts
            for shard in range(len(account.cash))
        ]
        return reply({"subaccount_balances": rows})

    async def account_limits(self, _: web.Request) -> web.Response:
        tier = TIERS[self._site.settings.tier]
        return reply(
            {
                "usage_tier": tier.name,
                "read": {"refill_rate": tier.read, "bucket_capacity": tier.read * tier.read_secs},
                "write": {"refill_rate": tier.write, "bucket_capacity": tier.write * tier.write_secs},
                "grants": [],
            }
        )

    async def endpoint_costs(self, _: web.Request) -> web.Response:
        costs = [{"method": method, "path": API + path, "cost": LIGHT_COST} for method, path in LIGHT]
        costs.append({"method": "GET", "path": API + BALANCE, "cost": 1})
        return reply({"default_cost": DEFAULT_COST, "endpoint_costs": costs})


def _accounts(frame: Frame, query: Query, *, primary: bool = False) -> dict[int, Account]:
    """The accounts a read is about, by number."""
    subaccount = query.optional("subaccount")
    if subaccount is None and primary:
        subaccount = 0
    return {account.number: account for account in frame.accounts if subaccount in {None, account.subaccount}}


def _shard_of(site: Site, ticker: str) -> int:
    return site.exchange.engine.floor.listing(ticker).shard


def _event_of(site: Site, ticker: str) -> str:
    return site.exchange.engine.floor.listing(ticker).event_ticker


def _find(frame: Frame, text: str) -> tuple[Order, Account]:
    number = order_number(text)
    accounts = {account.number: account for account in frame.accounts}
    for order in frame.orders:
        if order.number == number and order.owner in accounts:
            return order, accounts[order.owner]
    raise OrderRejected("not_found", f"there is no order {text}")


def _order(site: Site, order: Order, account: Account) -> Json:
    return order_shape(order, account, _shard_of(site, order.ticker), legacy=site.settings.legacy_fields)


def _ahead(site: Site, order: Order) -> int:
    return site.exchange.engine.floor.market(order.ticker).book.ahead_of(order)


def _worth(site: Site, ticker: str, count: int) -> Micros:
    """A position at the middle of the displayed book, or at the last price."""
    yes, no = site.exchange.depth(ticker)
    if yes and no:
        price = (yes[-1][0] + PAYOUT - no[-1][0]) // 2
    else:
        price = site.exchange.engine.floor.market(ticker).state.last_price
    return value(price if count > 0 else PAYOUT - price, abs(count))
