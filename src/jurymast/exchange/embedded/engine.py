"""The exchange without its wire: commands in, changes and events out. SIMULATED trading, real matching.

:meth:`Engine.apply` brings everything up to ``now_us``, then carries the command out. It reads no clock,
rolls no dice and does no I/O, so that the same commands at the same times make the same state, to the
last order number. What is to be told to members and onlookers stands in :attr:`Engine.events` until taken.
"""

from __future__ import annotations

from typing import Final

from jurymast.domain.errors import OrderRejected
from jurymast.domain.money import CONTRACT, PAYOUT
from jurymast.exchange.embedded.accounts import Account, pay_out
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
    Watch,
)
from jurymast.exchange.embedded.execution import Execution
from jurymast.exchange.embedded.floor import Catalogue, Floor, Market, State
from jurymast.exchange.embedded.groups import GROUPS_MAX, LIMIT_MAX, Group
from jurymast.exchange.embedded.lifecycle import Stage, Step, after
from jurymast.exchange.embedded.matching import SWEEP_US, Matching
from jurymast.exchange.embedded.records import (
    Event,
    GroupChanged,
    MarketChanged,
    Order,
    Payout,
    PositionChanged,
    Reason,
    Status,
)

SUBACCOUNTS_MAX: Final = 64
_TOLD: Final = {
    Step.OPEN: "activated",
    Step.HALT: "deactivated",
    Step.RESUME: "activated",
    Step.CLOSE: "close_date_updated",
    Step.DETERMINE: "determined",
    Step.SETTLE: "settled",
}


class Engine:
    """All markets, members and rules. ``catalogue`` lists a market by its ticker, or None."""

    def __init__(
        self, catalogue: Catalogue, state: State | None = None, *, post_only_rejects: bool = True
    ) -> None:
        self.state: Final = State() if state is None else state
        self.floor: Final = Floor(catalogue, self.state)
        self._matching: Final = Matching(self.floor, post_only_rejects=post_only_rejects)

    def take_events(self) -> list[Event]:
        """What happened since the last call, in order."""
        events, self.floor.events = self.floor.events, []
        return events

    def apply(self, command: AnyCommand, now_us: int) -> Execution | Account | Group | None:
        """Advance to ``now_us`` and carry the command out. Raises OrderRejected with Kalshi's code."""
        self.advance(now_us)
        match command:
            case Place():
                return self._matching.place(command, self.state.now_us)
            case Cancel():
                return self._matching.cancel(command)
            case Amend():
                return self._matching.amend(command, self.state.now_us)
            case Decrease():
                return self._matching.decrease(command)
            case CancelAll():
                self._cancel_all(command)
            case CreateGroup():
                return self._create_group(command)
            case ChangeGroup():
                return self._change_group(command)
            case OpenAccount():
                return self._open_account(command)
            case _:
                self._administer(command)
        return None

    def advance(self, now_us: int) -> None:
        """Let time pass: sweep, expire, and let markets open, close, be determined and pay."""
        state, floor = self.state, self.floor
        swept, state.swept = state.swept, []
        for number in swept:
            self._cancel_if_resting(state.orders.get(number))
        if now_us <= state.now_us:
            return
        while (market := floor.next_step(now_us)) is not None:
            due_us = floor.due(market)
            self._expire(due_us or now_us)
            state.now_us = max(state.now_us, due_us or 0)
            self.step(market, _FOLLOWING[market.state.stage])
        self._expire(now_us)
        state.now_us = now_us

    def step(self, market: Market, step: Step, *, yes: bool | None = None) -> None:
        """One step of a market's life, now. Raises ValueError when its life does not have it."""
        known, now_us = market.state, self.state.now_us
        stage = after(known.stage, step)
        told = _TOLD[step]
        if step is Step.CLOSE:
            early = now_us < market.listing.close_us
            known.end_us = now_us
            told = "close_date_updated" if early else ""
            self._clear(market, Reason.CLOSE)
        elif step is Step.HALT:
            self._clear(market, Reason.HALT)
        elif step is Step.DETERMINE:
            known.yes = market.listing.outcome if yes is None else yes
            known.determined_us = now_us
        elif step is Step.SETTLE:
            known.settled_us = now_us
            self._pay(market)
        self.floor.set_stage(market, stage)
        if told:
            self.floor.events.append(MarketChanged(market.listing.ticker, told))

    def _expire(self, until_us: int) -> None:
        while (order := self.floor.next_expired(until_us)) is not None:
            self.state.now_us = max(self.state.now_us, order.expires_us or 0)
            self.floor.take_off(order, Reason.EXPIRY)

    def _cancel_if_resting(self, order: Order | None, reason: Reason = Reason.CANCELED) -> None:
        if order is not None and order.status is Status.RESTING:
            self.floor.take_off(order, reason)

    def _clear(self, market: Market, reason: Reason) -> None:
        """Cancel what rests in a market; at a halt only what asked for it."""
        self.state.clock += 1
        for order in list(market.book.orders()):
            if reason is Reason.CLOSE or order.pause_cancel:
                self.floor.take_off(order, reason)

    def _pay(self, market: Market) -> None:
        """Pay every position out of the pot, which is empty then."""
        ticker, shard, yes = market.listing.ticker, market.listing.shard, bool(market.state.yes)
        for account in self.state.accounts:
            stake = account.stakes.get(ticker)
            if stake is None or stake.paid:
                continue
            count, cost = stake.count, stake.cost
            revenue = pay_out(account, shard, stake, PAYOUT if yes else 0)
            stake.updated_us = account.updated_us = self.state.now_us
            if count and not account.house:
                self.floor.keep_payout(
                    Payout(
                        number=self.state.next_payout,
                        owner=account.number,
                        ticker=ticker,
                        yes=yes,
                        count=count,
                        cost=cost,
                        revenue=revenue,
                        fees=stake.fees,
                        at_us=self.state.now_us,
                    )
                )
                self.state.next_payout += 1
                self.floor.events.append(PositionChanged(account.number, ticker))
        market.state.pairs = 0

    def _cancel_all(self, command: CancelAll) -> None:
        self._matching.check_exchange()
        self.state.clock += 1
        for account in self.state.accounts:
            if account.user == command.user and command.subaccount in {None, account.subaccount}:
                account.swept_until_us = self.state.now_us + SWEEP_US
                for order in list(self.floor.open[account.number].values()):
                    self.floor.take_off(order, Reason.CANCELED)

    def _open_account(self, command: OpenAccount) -> Account:
        """A new account, or the one that is there already."""
        state = self.state
        for account in state.accounts:
            if (account.user, account.subaccount) == (command.user, command.subaccount):
                return account
        if not 0 <= command.subaccount < SUBACCOUNTS_MAX:
            raise OrderRejected("invalid_parameters", f"subaccounts are 0 to {SUBACCOUNTS_MAX - 1}")
        cash = [*command.cash, *[0] * state.shards][: state.shards]
        account = Account(
            number=len(state.accounts),
            user=command.user,
            subaccount=command.subaccount,
            cash=cash,
            held=[0] * state.shards,
            house=command.house,
            updated_us=state.now_us,
        )
        state.accounts.append(account)
        state.deposited += sum(cash)
        self.floor.open[account.number] = {}
        return account

    def _create_group(self, command: CreateGroup) -> Group:
        self._matching.check_exchange()
        if not CONTRACT <= command.limit <= LIMIT_MAX:
            raise OrderRejected("invalid_parameters", "a group's limit is 1 to 1,000,000 contracts")
        state = self.state
        if sum(group.owner == command.owner for group in state.groups.values()) >= GROUPS_MAX:
            raise OrderRejected("invalid_parameters", f"more than {GROUPS_MAX} order groups")
        group = Group(f"og-{state.next_group:08d}", command.owner, command.limit)
        state.next_group += 1
        state.groups[group.name] = group
        self.floor.events.append(GroupChanged(group.owner, group.name, "created", group.limit))
        return group

    def _change_group(self, command: ChangeGroup) -> Group:
        self._matching.check_exchange()
        group = self.state.groups.get(command.group)
        if group is None or group.owner != command.owner:
            raise OrderRejected("not_found", f"there is no order group {command.group}")
        told, limit = command.what, None
        match command.what:
            case "trigger":
                self._matching.trigger(group.name)
                return group
            case "reset":
                group.reset()
            case "limit":
                if not CONTRACT <= command.limit <= LIMIT_MAX:
                    raise OrderRejected("invalid_parameters", "a group's limit is 1 to 1,000,000 contracts")
                group.limit = limit = command.limit
                told = "limit_updated"
            case "delete":
                self._matching.clear_group(group)
                del self.state.groups[group.name]
                told = "deleted"
            case _:
                raise OrderRejected("invalid_parameters", f"a group can't {command.what}")
        self.floor.events.append(GroupChanged(group.owner, group.name, told, limit))
        if told == "limit_updated" and not group.triggered and group.count(self.state.now_us) >= group.limit:
            self._matching.trigger(group.name)
        return group

    def _administer(self, command: AnyCommand) -> None:
        """What the exchange itself does, and members' money."""
        match command:
            case Pause():
                self._pause(command)
            case StepMarket():
                self._step_to(self.floor.market(command.ticker), command.step, command.yes)
            case Watch():
                for ticker in command.tickers:
                    self.floor.market(ticker).state.watched = not command.off
            case Deposit():
                account = self.floor.account(command.owner)
                if not 0 <= command.shard < self.state.shards:
                    raise OrderRejected("invalid_parameters", f"there is no shard {command.shard}")
                if account.available(command.shard) + command.amount < 0:
                    raise OrderRejected("insufficient_balance", "that much is not available")
                account.cash[command.shard] += command.amount
                self.state.deposited += command.amount
            case Transfer():
                self._transfer(command)
            case _:
                pass

    def _transfer(self, command: Transfer) -> None:
        self._matching.check_exchange()
        giver, taker = self.floor.account(command.owner), self.floor.account(command.to_owner)
        if command.amount <= 0 or giver.user != taker.user:
            raise OrderRejected("invalid_parameters", "a transfer moves a positive amount of one member")
        if giver.available(command.shard) < command.amount:
            raise OrderRejected("insufficient_balance", "that much is not available")
        giver.cash[command.shard] -= command.amount
        taker.cash[command.to_shard] += command.amount

    def _pause(self, command: Pause) -> None:
        state = self.state
        state.clock += 1
        if command.trading is not None:
            state.trading_paused = command.trading
        if command.exchange is not None:
            state.exchange_paused = command.exchange
        if command.trading or command.exchange:
            for orders in self.floor.open.values():
                for order in [each for each in orders.values() if each.pause_cancel]:
                    self.floor.take_off(order, Reason.HALT)

    def _step_to(self, market: Market, word: str, yes: bool | None) -> None:
        """Bring a market forward to a step, through those before it. Raises OrderRejected if it can't be."""
        try:
            step = Step(word)
            if step in {Step.CLOSE, Step.DETERMINE, Step.SETTLE}:
                while market.state.stage is not Stage.FINALIZED:
                    following = Step.CLOSE if step is Step.CLOSE else _FOLLOWING[market.state.stage]
                    self.step(market, following, yes=yes)
                    if following is step:
                        return
            self.step(market, step, yes=yes)
        except ValueError as error:
            raise OrderRejected("invalid_parameters", str(error)) from error


_FOLLOWING: Final = {
    Stage.INITIALIZED: Step.OPEN,
    Stage.ACTIVE: Step.CLOSE,
    Stage.INACTIVE: Step.CLOSE,
    Stage.CLOSED: Step.DETERMINE,
    Stage.DETERMINED: Step.SETTLE,
}
