"""A small exchange for tests: three markets, members with cash, commands by hand or by seeded chance."""

from __future__ import annotations

import random
from dataclasses import replace

from jurymast.domain.errors import OrderRejected
from jurymast.domain.money import CENT, CONTRACT, USD, Centi, Micros
from jurymast.exchange.embedded.accounts import Account
from jurymast.exchange.embedded.commands import (
    Amend,
    AnyCommand,
    Cancel,
    CancelAll,
    ChangeGroup,
    CreateGroup,
    Decrease,
    Deposit,
    OpenAccount,
    Pause,
    Place,
    StepMarket,
    Transfer,
)
from jurymast.exchange.embedded.engine import Engine
from jurymast.exchange.embedded.execution import Execution
from jurymast.exchange.embedded.floor import State
from jurymast.exchange.embedded.groups import Group
from jurymast.exchange.embedded.lifecycle import DECI_CENT, Listing
from jurymast.exchange.embedded.records import SECOND_US, Lifetime, SelfTrade
from jurymast.policy.fees import DIRECT_MEMBER_MAKER_FEES

HOUR_US = 3_600 * SECOND_US
NOON_US = 1_000_000 * HOUR_US
PLAIN = Listing(
    "PLAIN", "EV-PLAIN", "SER", NOON_US - HOUR_US, NOON_US + 9 * HOUR_US, NOON_US + 2 * HOUR_US, True
)
FINE = replace(PLAIN, ticker="FINE", event_ticker="EV-FINE", ticks=DECI_CENT, outcome=False)
MAKER = replace(PLAIN, ticker="MAKER", event_ticker="EV-MAKER", fees=DIRECT_MEMBER_MAKER_FEES, shard=1)
LISTINGS = {listing.ticker: listing for listing in (PLAIN, FINE, MAKER)}


class World:
    """An engine with two shards, two members and one of the crowd, at noon."""

    def __init__(self, cash: Micros = 1_000 * USD, **rules: bool) -> None:
        self.engine = Engine(LISTINGS.get, State(shards=2), **rules)
        self.now_us = NOON_US
        self.ann = self.member("ann", cash)
        self.bob = self.member("bob", cash)
        self.crowd = self.member("crowd", 1_000 * cash, house=True)
        self._ids = 0

    def member(self, user: str, cash: Micros, *, house: bool = False, subaccount: int = 0) -> Account:
        account = self.do(OpenAccount(user, subaccount, (cash, cash), house))
        assert isinstance(account, Account)
        return account

    def do(self, command: AnyCommand) -> Execution | Account | Group | None:
        return self.engine.apply(command, self.now_us)

    def later(self, secs: float) -> None:
        self.now_us += int(secs * SECOND_US)
        self.engine.advance(self.now_us)

    def buy(self, account: Account, cents: float, contracts: float, **more: object) -> Execution:
        return self._order(account, True, cents, contracts, more)

    def sell(self, account: Account, cents: float, contracts: float, **more: object) -> Execution:
        return self._order(account, False, cents, contracts, more)

    def _order(
        self, account: Account, bid: bool, cents: float, contracts: float, more: dict[str, object]
    ) -> Execution:
        self._ids += 1
        facts = {"ticker": "PLAIN", "client_order_id": f"id-{self._ids}", **more}
        place = Place(
            owner=account.number,
            bid=bid,
            price=round(cents * CENT),
            count=round(contracts * CONTRACT),
            **facts,
        )
        done = self.do(place)
        assert isinstance(done, Execution)
        return done

    def position(self, account: Account, ticker: str = "PLAIN") -> Centi:
        return account.stake(ticker).count

    def book(self, ticker: str = "PLAIN") -> tuple[list[tuple[Micros, Centi]], list[tuple[Micros, Centi]]]:
        """Levels of YES and of NO, best last, in cents and contracts."""
        book = self.engine.floor.market(ticker).book
        return tuple(
            [(price // CENT, count // CONTRACT) for price, count in ladder.depth()]
            for ladder in (book.yes, book.no)
        )


class Chance:
    """Seeded random commands, sensible and not."""

    def __init__(self, seed: int, world: World) -> None:
        self._dice = random.Random(seed)
        self._world = world
        self._ids = 0

    def command(self) -> AnyCommand:
        dice, engine = self._dice, self._world.engine
        owner = dice.choice(engine.state.accounts).number
        resting = list(engine.floor.open[owner])
        kind = dice.random()
        if kind < 0.55 or (kind < 0.85 and not resting):
            return self._place(owner)
        if kind < 0.85:
            return self._change(owner, dice.choice(resting))
        if kind < 0.90:
            return dice.choice(
                [
                    CancelAll(engine.state.accounts[owner].user),
                    Pause(trading=dice.random() < 0.2, exchange=dice.random() < 0.1),
                    Pause(trading=False, exchange=False),
                    Deposit(owner, dice.randrange(2), dice.randrange(-50, 50) * USD),
                    Transfer(owner, 0, owner, 1, dice.randrange(-5, 300) * USD),
                ]
            )
        if kind < 0.97 or not engine.state.groups:
            return CreateGroup(owner, dice.randrange(1, 60) * CONTRACT)
        group = dice.choice(list(engine.state.groups))
        what = dice.choice(["trigger", "reset", "reset", "limit", "delete"])
        return ChangeGroup(owner, group, what, dice.randrange(1, 40) * CONTRACT)

    def step(self) -> AnyCommand:
        step = self._dice.choice(["halt", "resume", "resume", "resume", "close", "settle"])
        return StepMarket(self._dice.choice(list(LISTINGS)), step, self._dice.choice([True, False, None]))

    def _ticker(self) -> str:
        return self._dice.choice(list(LISTINGS))

    def _price(self, ticker: str) -> Micros:
        if ticker == "FINE":
            return self._dice.randrange(380, 620) * CENT // 10
        return self._dice.randrange(40, 61) * CENT

    def _place(self, owner: int) -> Place:
        dice, ticker = self._dice, self._ticker()
        self._ids += dice.random() < 0.97
        lifetime = dice.choices(list(Lifetime), [6, 2, 1])[0]
        rests = lifetime is Lifetime.GOOD_TILL_CANCELED
        return Place(
            owner=owner,
            ticker=ticker,
            bid=dice.random() < 0.5,
            price=self._price(ticker),
            count=dice.choice([1, 37, 100, 250, 1_000, 20_000, 300_000]),
            lifetime=lifetime,
            client_order_id=f"c-{self._ids}",
            expires_us=self._world.now_us + 30 * SECOND_US if rests and dice.random() < 0.2 else None,
            post_only=rests and dice.random() < 0.2,
            reduce_only=lifetime is Lifetime.IMMEDIATE_OR_CANCEL and dice.random() < 0.4,
            self_trade=dice.choice(list(SelfTrade)),
            pause_cancel=dice.random() < 0.5,
            group=dice.choice(["", "", *self._world.engine.state.groups]),
        )

    def _change(self, owner: int, number: int) -> AnyCommand:
        dice, order = self._dice, self._world.engine.state.orders[number]
        count = order.filled + dice.choice([0, 1, order.remaining // 2, order.remaining, 2 * order.remaining])
        price = dice.choice([order.price, self._price(order.ticker)])
        return dice.choice(
            [
                Cancel(owner, number),
                Decrease(owner, number, by=dice.randrange(0, order.remaining + 2)),
                Decrease(owner, number, to=dice.randrange(0, order.remaining + 2)),
                Amend(owner, number, order.ticker, order.bid, price, count),
                Amend(owner, number, order.ticker, order.bid, price, count),
            ]
        )


def tried(world: World, command: AnyCommand) -> str:
    """Carry a command out; its refusal's code, or an empty text."""
    try:
        world.do(command)
    except OrderRejected as refusal:
        return refusal.code
    return ""
