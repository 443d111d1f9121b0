"""How orders are taken, matched, changed and cancelled: price first, then time, on the YES price.

Every order passes the same gates in the same order: is trading allowed, is the market open, are the
parameters sound, is the id new, what would it meet, is the cash there. Only then anything changes, so a
refused order leaves no trace; but a killed fill-or-kill order uses its id up, as on Kalshi.

Refusals are OrderRejected with Kalshi's codes: ``exchange_is_paused``, ``trading_is_paused``,
``market_not_found``, ``market_inactive``, ``market_closed``, ``invalid_parameters``,
``order_already_exists``, ``order_group_triggered``, ``insufficient_balance``, ``post_only_cross``,
``fill_or_kill_insufficient_resting_volume``, ``not_found``.
"""

from __future__ import annotations

import re
from copy import copy
from typing import Final

from msgspec import structs

from jurymast.domain.errors import OrderRejected
from jurymast.domain.money import CONTRACT, Centi
from jurymast.exchange.embedded.accounts import UNIT, Account, closes, collateral, rest
from jurymast.exchange.embedded.commands import Amend, Cancel, Decrease, Place
from jurymast.exchange.embedded.execution import Execution, Plan, execute, plan
from jurymast.exchange.embedded.floor import Floor, Market
from jurymast.exchange.embedded.groups import Group
from jurymast.exchange.embedded.lifecycle import Stage, over
from jurymast.exchange.embedded.records import SECOND_US, GroupChanged, Lifetime, Order, Reason, Status

COUNT_MAX: Final[Centi] = 1_000_000 * CONTRACT
"""Largest order; Kalshi's own bound is not documented."""
OPEN_ORDERS_MAX: Final = 200_000
"""Of one account."""
CLIENT_IDS_KEPT: Final = 1_000_000
"""Of one member; the oldest are forgotten first."""
SWEEP_US: Final = 60 * SECOND_US
"""How long after a cancel-all new orders may be swept away as well."""
_CLIENT_ORDER_ID: Final = re.compile(r"[A-Za-z0-9_\-:+=/]{1,64}")


class Matching:
    """The matching engine of every market on one floor. ``post_only_rejects`` False cancels instead."""

    def __init__(self, floor: Floor, *, post_only_rejects: bool = True) -> None:
        self._floor = floor
        self._post_only_rejects = post_only_rejects

    def place(self, new: Place, now_us: int) -> Execution:
        """Match an order at once and rest what may rest."""
        floor = self._floor
        self.check_trading()
        market = self._trading_market(new.ticker)
        account = floor.account(new.owner)
        if not account.house:
            self._check(new, market, account, now_us)
        order = Order(
            number=floor.state.next_order,
            owner=new.owner,
            ticker=new.ticker,
            bid=new.bid,
            price=new.price,
            initial=new.count,
            lifetime=new.lifetime,
            created_us=now_us,
            updated_us=now_us,
            client_order_id=new.client_order_id,
            group=new.group,
            expires_us=new.expires_us,
            self_trade=new.self_trade,
            pause_cancel=new.pause_cancel,
            post_only=new.post_only,
            remaining=new.count,
        )
        if new.reduce_only:
            order.remaining = min(new.count, closes(account.stake(new.ticker), new.bid))
        if new.post_only and market.book.crosses(new.bid, new.price):
            return self._post_only_crossed(order, account)
        found = plan(floor, market, order, account)
        if new.lifetime is Lifetime.FILL_OR_KILL and found.filled < new.count:
            self._accept(order, account)
            order.remaining = 0
            floor.end(order, Status.CANCELED, Reason.CANCELED)
            raise OrderRejected(
                "fill_or_kill_insufficient_resting_volume",
                f"{new.ticker} offers {found.filled} of {new.count} centi-contracts within the limit",
            )
        self._check_cash(market, order, account, found)
        self._accept(order, account)
        return self._carry_out(market, order, account, found, capped=order.remaining < new.count)

    def amend(self, change: Amend, now_us: int) -> Execution:
        """Change price, total count or expiry. A smaller count or another expiry keeps the queue place."""
        self.check_trading()
        order = self.resting(change.owner, change.order)
        market = self._trading_market(order.ticker)
        account = self._floor.account(order.owner)
        remaining = change.count - order.filled
        _check_amend(change, order, market, now_us, remaining)
        if change.client_order_id not in {"", order.client_order_id}:
            self._check_id(account, change.client_order_id)
        if change.price == order.price and remaining <= order.remaining:
            if remaining < order.remaining:
                self._floor.shrink(order, market, order.remaining - remaining)
            order.initial = change.count
            self._rename(order, account, change)
            self._set_expiry(order, change.expires_us)
            self._floor.changed(order, Reason.AMEND)
            return Execution(order)
        if order.post_only and market.book.crosses(order.bid, change.price):
            raise OrderRejected("post_only_cross", "the amended order would take; it stands as it was")
        return self._replace(market, order, account, change, remaining)

    def decrease(self, change: Decrease) -> Execution:
        """Lower what remains, in place; at zero the order is cancelled."""
        self.check_trading()
        order = self.resting(change.owner, change.order)
        by = order.remaining - change.to if change.by is None and change.to is not None else change.by
        if by is None or by <= 0 or (change.by is not None and change.to is not None):
            raise OrderRejected("invalid_parameters", "reduce_by or reduce_to must lower what remains")
        if by >= order.remaining:
            return Execution(order, removed=self._floor.take_off(order, Reason.DECREASE))
        self._floor.shrink(order, self._floor.markets[order.ticker], by)
        order.initial -= by
        self._floor.changed(order, Reason.DECREASE)
        return Execution(order, removed=by)

    def cancel(self, command: Cancel) -> Execution:
        """Take an order off the book; allowed while trading is paused, not while the exchange is."""
        self.check_exchange()
        order = self.resting(command.owner, command.order)
        return Execution(order, removed=self._floor.take_off(order, Reason.CANCELED))

    def resting(self, owner: int, number: int) -> Order:
        """Raises OrderRejected with code ``not_found`` when it is not, or not this member's."""
        order = self._floor.open[owner].get(number)
        if order is None:
            raise OrderRejected("not_found", f"order {number} does not rest")
        return order

    def check_exchange(self) -> None:
        if self._floor.state.exchange_paused:
            raise OrderRejected("exchange_is_paused", "the exchange takes no changes now")

    def check_trading(self) -> None:
        self.check_exchange()
        if self._floor.state.trading_paused:
            raise OrderRejected("trading_is_paused", "trading is paused; cancelling is possible")

    def _trading_market(self, ticker: str) -> Market:
        market = self._floor.market(ticker)
        stage = market.state.stage
        if stage is not Stage.ACTIVE:
            code = "market_closed" if over(stage) else "market_inactive"
            raise OrderRejected(code, f"{ticker} is {stage}")
        return market

    def _check(self, new: Place, market: Market, account: Account, now_us: int) -> None:
        """What a member's order must keep to; the crowd's keep to it by construction."""
        wrong = _wrong(new, market, now_us)
        if wrong is not None:
            raise OrderRejected("invalid_parameters", wrong)
        self._check_id(account, new.client_order_id)
        if len(self._floor.open[account.number]) >= OPEN_ORDERS_MAX:
            raise OrderRejected("invalid_parameters", f"more than {OPEN_ORDERS_MAX} open orders")
        if new.group:
            group = self._floor.state.groups.get(new.group)
            if group is None or group.owner != account.number:
                raise OrderRejected("not_found", f"there is no order group {new.group}")
            if group.triggered:
                raise OrderRejected("order_group_triggered", f"group {new.group} waits for its reset")

    def _post_only_crossed(self, order: Order, account: Account) -> Execution:
        if self._post_only_rejects:
            raise OrderRejected("post_only_cross", "the order would take, and may only make")
        self._accept(order, account)
        order.remaining = 0
        self._floor.end(order, Status.CANCELED, Reason.POST_ONLY_CROSS)
        return Execution(order)

    def _accept(self, order: Order, account: Account) -> None:
        """The order exists from here on."""
        state = self._floor.state
        state.next_order += 1
        state.orders[order.number] = order
        if not account.house and order.client_order_id:
            self._claim(account, order.client_order_id, order.number)

    def _check_id(self, account: Account, client_order_id: str) -> None:
        if client_order_id in self._floor.state.client_ids.get(account.user, ()):
            raise OrderRejected("order_already_exists", f"{client_order_id} was used before")

    def _claim(self, account: Account, client_order_id: str, number: int) -> None:
        ids = self._floor.state.client_ids.setdefault(account.user, {})
        ids[client_order_id] = number
        if len(ids) > CLIENT_IDS_KEPT:
            del ids[next(iter(ids))]

    def _check_cash(
        self, market: Market, order: Order, account: Account, found: Plan, gone: Order | None = None
    ) -> None:
        """All that the order may cost must be there in the end, collateral of the rest included.

        ``gone`` is the resting order that it takes the place of.
        """
        shard, stake = market.listing.shard, account.stake(order.ticker)
        left = 0 if found.blocked else order.remaining - found.filled
        rests = left if order.lifetime is Lifetime.GOOD_TILL_CANCELED else 0
        closing = min(closes(stake, order.bid), found.filled)
        then = copy(stake)
        then.count += found.filled if order.bid else -found.filled
        then.slack += self._floor.slack_of(order, market, rests)
        rest(then, bid=order.bid, price=order.price, count=rests)
        if gone is not None:
            then.slack -= self._floor.slack_of(gone, market, gone.remaining)
            rest(then, bid=gone.bid, price=gone.price, count=-gone.remaining)
        cash = account.cash[shard] - found.cost - found.fees + UNIT * closing
        missing = account.held[shard] - stake.held + collateral(then) - cash
        if missing > 0:
            raise OrderRejected(
                "insufficient_balance",
                f"{account.available(shard)} micro-dollars are available on shard {shard}, {missing} lack",
            )

    def _carry_out(
        self, market: Market, order: Order, account: Account, found: Plan, *, capped: bool = False
    ) -> Execution:
        """Do what was planned, then end the order or let it rest.

        Groups are triggered last: the plan counts on every order that it met.
        """
        floor = self._floor
        floor.state.clock += 1
        for own in found.own:
            floor.take_off(own, Reason.SELF_TRADE)
        done = Execution(order)
        for maker, count in found.takes:
            execute(floor, market, maker, order, count, done)
        left, order.remaining = order.remaining, 0
        if not left:
            status = Status.CANCELED if capped else Status.EXECUTED
            floor.end(order, status, Reason.REDUCE_ONLY if capped else Reason.TRADE)
        elif found.blocked or order.lifetime is not Lifetime.GOOD_TILL_CANCELED:
            done.removed = left
            blocked = Reason.REDUCE_ONLY if capped else Reason.CANCELED
            floor.end(order, Status.CANCELED, Reason.SELF_TRADE if found.blocked else blocked)
        else:
            order.remaining = left
            floor.put_on(order, market)
            floor.changed(order, Reason.TRADE if found.takes else order.reason)
            if account.swept_until_us >= floor.state.now_us:
                floor.state.swept.append(order.number)
        for maker, count in found.takes:
            self._after_group(maker, count)
        self._after_group(order, done.filled)
        return done

    def _after_group(self, order: Order, count: Centi) -> None:
        """Count a match for the order's group, and trigger the group when that was too much."""
        group = self._floor.state.groups.get(order.group) if order.group and count else None
        if group is not None and not group.triggered and group.match(count, self._floor.state.now_us):
            self.trigger(group.name)

    def trigger(self, name: str) -> None:
        """Cancel every order of a group and refuse new ones until it is reset."""
        group = self._floor.state.groups[name]
        group.triggered = True
        self._floor.events.append(GroupChanged(group.owner, name, "triggered"))
        self.clear_group(group)

    def clear_group(self, group: Group) -> None:
        """Cancel every order of a group."""
        mine = self._floor.open[group.owner].values()
        for order in [each for each in mine if each.group == group.name]:
            self._floor.take_off(order, Reason.CANCELED)

    def _replace(
        self, market: Market, order: Order, account: Account, change: Amend, remaining: Centi
    ) -> Execution:
        """Take the order off and match it anew at the back of the queue, or leave it as it was."""
        floor = self._floor
        trial = structs.replace(order, price=change.price, remaining=remaining)
        found = plan(floor, market, trial, account)
        self._check_cash(market, trial, account, found, gone=order)
        self._rename(order, account, change)
        floor.state.clock += 1
        floor.shrink(order, market, order.remaining)
        floor.open[order.owner].pop(order.number)
        order.price, order.remaining, order.initial = change.price, remaining, change.count
        order.reason = Reason.AMEND
        self._set_expiry(order, change.expires_us)
        return self._carry_out(market, order, account, found)

    def _rename(self, order: Order, account: Account, change: Amend) -> None:
        if change.client_order_id and change.client_order_id != order.client_order_id:
            order.client_order_id = change.client_order_id
            self._claim(account, change.client_order_id, order.number)

    def _set_expiry(self, order: Order, expires_us: int | None) -> None:
        if expires_us is not None:
            order.expires_us = expires_us or None
            self._floor.watch_expiry(order)


def _wrong(new: Place, market: Market, now_us: int) -> str | None:
    """What is wrong with the parameters of an order, if anything."""
    if new.client_order_id and not _CLIENT_ORDER_ID.fullmatch(new.client_order_id):
        return f"client_order_id {new.client_order_id!r}: 1 to 64 of letters, digits and _-:+=/"
    if not market.listing.ticks.takes(new.price):
        return f"a price of {new.price} micro-dollars is no tick of {market.listing.ticks.name}"
    if not 0 < new.count <= COUNT_MAX:
        return f"a count of {new.count} centi-contracts is not in 1..{COUNT_MAX}"
    good_till = new.lifetime is Lifetime.GOOD_TILL_CANCELED
    if new.expires_us is not None and not good_till:
        return f"expiration_time goes with good_till_canceled, not with {new.lifetime}"
    if new.expires_us is not None and new.expires_us <= now_us:
        return "the order has expired already"
    if new.post_only and not good_till:
        return f"post_only goes with good_till_canceled, not with {new.lifetime}"
    if new.reduce_only and new.lifetime is not Lifetime.IMMEDIATE_OR_CANCEL:
        return f"reduce_only goes with immediate_or_cancel, not with {new.lifetime}"
    return None


def _check_amend(change: Amend, order: Order, market: Market, now_us: int, remaining: Centi) -> None:
    wrong = None
    if (change.ticker, change.bid) != (order.ticker, order.bid):
        wrong = "ticker and side must be those of the order"
    elif not market.listing.ticks.takes(change.price):
        wrong = f"a price of {change.price} micro-dollars is no tick of {market.listing.ticks.name}"
    elif remaining <= 0 or change.count > COUNT_MAX:
        wrong = (
            f"a total of {change.count} centi-contracts leaves nothing of {order.filled} filled, or too much"
        )
    elif change.expires_us and change.expires_us <= now_us:
        wrong = "the new expiry has passed already"
    elif change.client_order_id and not _CLIENT_ORDER_ID.fullmatch(change.client_order_id):
        wrong = f"client_order_id {change.client_order_id!r}: 1 to 64 of letters, digits and _-:+=/"
    if wrong is not None:
        raise OrderRejected("invalid_parameters", wrong)
