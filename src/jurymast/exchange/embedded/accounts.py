"""Cash, collateral and positions of members. Pure arithmetic on mutable records.

A position is one signed number a market (+YES, -NO): a pair of one YES and one NO is worth $1 for
certain and is redeemed at once. Every contract held is backed by cash that has left both members for the
market's pot, so over all accounts

    cash + fees taken + $1 for every pair outstanding = what was ever deposited

Collateral of resting orders is what they cost if all of one side fills, less the $1 a contract that
closing what is held brings back; both sides of a market are held in full. Filling one side only ever
lowers the cash once the closing part is done, so cash that covers the end covers the way there.
"""

from __future__ import annotations

from typing import Final

import msgspec

from jurymast.domain.money import CONTRACT, PAYOUT, Centi, Micros

UNIT: Final = PAYOUT // CONTRACT
"""Micro-dollars that one centi-contract pays."""


def value(price: Micros, count: Centi) -> Micros:
    """Price times count; exact for prices in whole hundreds of micro-dollars, as all ticks are."""
    return price * count // CONTRACT


class Stake(msgspec.Struct):
    """What one account has in one market: the position, and what its resting orders would cost.

    ``cost`` is without fees. The four sums over resting orders are in the terms of what they buy: YES for
    bids, NO for asks. ``held`` is the collateral taken for them, ``slack`` what fees may add to it.
    """

    count: Centi = 0
    cost: Micros = 0
    realized: Micros = 0
    fees: Micros = 0
    traded: Micros = 0
    volume: Centi = 0
    bid_value: Micros = 0
    bid_count: Centi = 0
    ask_value: Micros = 0
    ask_count: Centi = 0
    slack: Micros = 0
    held: Micros = 0
    updated_us: int = 0
    paid: bool = False

    @property
    def resting(self) -> bool:
        return bool(self.bid_count or self.ask_count)


class Account(msgspec.Struct):
    """One subaccount of one member, with cash on every shard. ``house`` accounts are the simulated crowd."""

    number: int
    user: str
    subaccount: int
    cash: list[Micros]
    held: list[Micros]
    house: bool = False
    swept_until_us: int = 0
    updated_us: int = 0
    stakes: dict[str, Stake] = {}

    def available(self, shard: int) -> Micros:
        """Cash less the collateral of resting orders."""
        return self.cash[shard] - self.held[shard]

    def stake(self, ticker: str) -> Stake:
        """The stake in a market; a new one is remembered."""
        stake = self.stakes.get(ticker)
        if stake is None:
            stake = self.stakes[ticker] = Stake()
        return stake


def collateral(stake: Stake) -> Micros:
    """What resting orders may still cost, given the position."""
    count = stake.count
    bids, asks = stake.bid_value, stake.ask_value
    if count < 0:
        bids -= UNIT * min(stake.bid_count, -count)
    else:
        asks -= UNIT * min(stake.ask_count, count)
    return max(bids, 0) + max(asks, 0) + stake.slack


def rest(stake: Stake, *, bid: bool, price: Micros, count: Centi) -> None:
    """Add ``count`` resting contracts at the YES price ``price``, or take them off when negative."""
    if bid:
        stake.bid_value += value(price, count)
        stake.bid_count += count
    else:
        stake.ask_value += value(PAYOUT - price, count)
        stake.ask_count += count


def hold(account: Account, shard: int, stake: Stake) -> None:
    """Bring the collateral of one market up to date."""
    now_held = collateral(stake)
    account.held[shard] += now_held - stake.held
    stake.held = now_held


def closes(stake: Stake, bid: bool) -> Centi:
    """How many contracts an order of this side can buy before it opens a position."""
    return max(-stake.count if bid else stake.count, 0)


def trade(account: Account, shard: int, stake: Stake, *, bid: bool, price: Micros, count: Centi) -> Centi:
    """Book one execution, without its fee; returns how many pairs were redeemed.

    Cost leaves in proportion to the contracts that leave, rounded down.
    """
    own = price if bid else PAYOUT - price
    closing = min(closes(stake, bid), count)
    if closing:
        cost = stake.cost * closing // abs(stake.count)
        stake.cost -= cost
        stake.realized += value(PAYOUT - own, closing) - cost
    stake.cost += value(own, count - closing)
    stake.count += count if bid else -count
    paid = value(own, count)
    stake.traded += paid
    stake.volume += count
    account.cash[shard] += UNIT * closing - paid
    return closing


def pay_out(account: Account, shard: int, stake: Stake, payout: Micros) -> Micros:
    """Settle a position at ``payout`` micro-dollars a YES contract; returns the revenue."""
    own = payout if stake.count > 0 else PAYOUT - payout
    revenue = value(own, abs(stake.count))
    account.cash[shard] += revenue
    stake.realized += revenue - stake.cost
    stake.cost = stake.count = 0
    stake.paid = True
    return revenue
