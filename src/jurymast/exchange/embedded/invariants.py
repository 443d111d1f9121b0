"""What must hold after every command: the books of the exchange balance to the micro-dollar.

cash of all accounts + fees taken + $1 for every pair outstanding = all that was deposited
in every market the positions sum to zero, and as many pairs are outstanding as contracts are long
no account has less cash than its resting orders are held to need, and never less than none
collateral and sums over resting orders are what the orders say, and every level its orders
no book is crossed, and nothing rests in a market that does not trade
"""

from __future__ import annotations

from collections.abc import Iterator

from jurymast.exchange.embedded.accounts import UNIT, Account, Stake, collateral, rest
from jurymast.exchange.embedded.engine import Engine
from jurymast.exchange.embedded.floor import Market
from jurymast.exchange.embedded.lifecycle import Stage, over
from jurymast.exchange.embedded.records import Status


def broken(engine: Engine) -> list[str]:
    """Every rule that does not hold, as a sentence; empty when all is well."""
    return [
        *_money(engine),
        *(wrong for account in engine.state.accounts for wrong in _account(engine, account)),
        *(wrong for market in engine.floor.markets.values() for wrong in _market(engine, market)),
    ]


def _money(engine: Engine) -> Iterator[str]:
    state = engine.state
    cash = sum(sum(account.cash) for account in state.accounts)
    pots = UNIT * sum(market.pairs for market in state.markets.values())
    if cash + state.fees + pots != state.deposited:
        yield f"cash {cash} + fees {state.fees} + pots {pots} is not what was deposited, {state.deposited}"


def _account(engine: Engine, account: Account) -> Iterator[str]:
    orders = engine.floor.open[account.number].values()
    held = [0] * len(account.held)
    for ticker, stake in account.stakes.items():
        market = engine.floor.markets[ticker]
        mine = [order for order in orders if order.ticker == ticker]
        again = Stake(count=stake.count)
        for order in mine:
            rest(again, bid=order.bid, price=order.price, count=order.remaining)
            again.slack += engine.floor.slack_of(order, market, order.remaining)
        if collateral(again) != stake.held:
            yield f"account {account.number} holds {stake.held} in {ticker}, not {collateral(again)}"
        held[market.listing.shard] += stake.held
    if held != account.held:
        yield f"account {account.number} holds {account.held} in all, not {held}"
    for shard, cash in enumerate(account.cash):
        if cash < 0 or account.available(shard) < 0:
            yield f"account {account.number} has {cash} on shard {shard}, {account.held[shard]} of it held"
    if any(order.status is not Status.RESTING or order.remaining <= 0 for order in orders):
        yield f"account {account.number} has open orders that do not rest"


def _market(engine: Engine, market: Market) -> Iterator[str]:
    ticker, book, known = market.listing.ticker, market.book, market.state
    counts = [account.stakes[ticker].count for account in engine.state.accounts if ticker in account.stakes]
    if sum(counts) != 0:
        yield f"positions in {ticker} sum to {sum(counts)}"
    if sum(count for count in counts if count > 0) != known.pairs:
        yield f"{known.pairs} pairs are outstanding in {ticker}, positions say otherwise"
    if known.stage is Stage.FINALIZED and any(counts):
        yield f"{ticker} is finalized and positions are open"
    bid, ask = book.best_bid, book.best_ask
    if bid is not None and ask is not None and bid >= ask:
        yield f"the book of {ticker} is crossed: {bid} bid, {ask} asked"
    resting = list(book.orders())
    if over(known.stage) and resting:
        yield f"{ticker} is {known.stage} and orders rest"
    if {order.number for order in resting} != {
        order.number
        for orders in engine.floor.open.values()
        for order in orders.values()
        if order.ticker == ticker
    }:
        yield f"the book of {ticker} and the lists of open orders differ"
    for ladder in (book.yes, book.no):
        if ladder.prices != sorted(ladder.levels):
            yield f"the prices of {ticker} are out of order"
        for level in ladder.levels.values():
            if level.total != sum(order.remaining for order in level.orders.values()) or level.total <= 0:
                yield f"a level of {ticker} has {level.total} centi-contracts, its orders say otherwise"
