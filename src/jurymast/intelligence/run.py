"""One decision on the event loop: its attempts and its alarm.

Most decisions are one attempt, and the caller waits for it: it is made in the caller's own task. What runs
beside it, a hedge or what an alarm starts, gets a task of its own. When the core gives up the attempt that
the caller makes, the caller is cancelled out of it and goes on, as with a time-out.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from jurymast.domain.errors import ProviderError
from jurymast.domain.money import Micros
from jurymast.domain.provider import AIRequest, AIResponse, Billing, Failure, FailureKind, Route
from jurymast.intelligence.alarms import Alarms
from jurymast.intelligence.provider_manager import ProviderManager
from jurymast.intelligence.purse import BudgetSpentError
from jurymast.policy.failover import Failover
from jurymast.policy.ledger import Hold, Refused, Scope
from jurymast.policy.parsing import Rejected
from jurymast.policy.walk import Cancel, Send, Walk
from jurymast.ports import Clock, Tap

OUTPUT_FACTOR = 2
"""An answer cut by its own limit is asked for again with so many times the limit."""

WAIT_SHARE = 0.5
"""Of what is left of a decision an attempt may wait for money that others hold; of its own time when only its
provider or model is short of it."""


class Relay(Protocol):
    """Who is passed an answer on to while it comes. Neither method may wait or raise.

    From ``began`` on the answer can't be anybody else's; when it breaks off, the asker gets Unanswered.
    """

    def began(self, route: Route) -> None: ...

    def line(self, line: bytes, texts: Sequence[str]) -> None:
        """A line as it came, and the pieces of text in all lines so far."""
        ...


Value = TypeVar("Value")
Validate: TypeAlias = Callable[[AIResponse], Value | Rejected]


class Run(Generic[Value]):
    """One walk on the loop, until it has ended."""

    def __init__(
        self,
        core: Failover,
        providers: ProviderManager,
        clock: Clock,
        report: Callable[[], None],
        alarms: Alarms,
        *,
        walk: Walk,
        request: AIRequest,
        validate: Validate[Value],
        market: str = "",
        strategy: str = "",
        relay: Relay | None = None,
    ) -> None:
        self.refused: Refused | None = None
        """Why the last attempt of those that got no money got none."""
        self.response: AIResponse | None = None
        self.value: Value | None = None
        self._core = core
        self._providers = providers
        self._clock = clock
        self._report = report
        self._alarms = alarms
        self._walk = walk
        self._request = request
        self._validate = validate
        self._market, self._strategy = market, strategy
        self._relay = relay
        self._loop = asyncio.get_running_loop()
        self._heard: int | None = None
        """The attempt whose answer is being passed on."""
        self._caller: asyncio.Task[Any] | None = None
        self._own: Send | None = None
        self._given_up = False
        self._tasks: dict[int, asyncio.Task[Any]] = {}
        self.until = math.inf
        self._wake_at = math.inf
        self._over = False
        self._error: Exception | None = None
        self._waiting: asyncio.Future[None] | None = None
        """The caller, while all that is under way runs beside it."""

    async def ended(self) -> None:
        """Carry the walk to its end. A caller that leaves gives it up."""
        self._caller = asyncio.current_task()
        try:
            self._go_on(here=True)
            while not self._over:
                if self._own is not None:
                    await self._attempt_here(self._own)
                else:
                    self._waiting = self._loop.create_future()
                    await self._waiting
        except BaseException:
            self._leave()
            raise
        if self._error is not None:
            self._leave()
            raise self._error

    def _leave(self) -> None:
        """Give up a walk that has not come to its end."""
        self._core.abandoned(self._walk, self._clock.monotonic())
        self._carry_out()

    def _go_on(self, *, here: bool = False) -> None:
        """Carry out what the core wants done now, tell what it found out, and end with the walk.

        ``here`` says that the caller's own task has nothing else to do.
        """
        try:
            self._carry_out(here=here)
            if self._core.facts:
                self._report()
        except Exception as error:
            self._broken(error)
        if self._walk.ended is not None:
            self._end()

    def _end(self, error: Exception | None = None) -> None:
        """Let the caller go, with the first error if there was one."""
        if not self._over:
            self._over, self._error = True, error
            if self._waiting is not None and not self._waiting.done():
                self._waiting.set_result(None)

    def _broken(self, error: Exception) -> None:
        """A defect of ours, or a journal that can't be written: the caller's to know, at once."""
        self._end(error)
        if self._own is not None:
            self._give_up(self._own.attempt)

    def _carry_out(self, *, here: bool = False) -> None:
        walk = self._walk
        for command in walk.take():
            match command:
                case Send():
                    if here and self._own is None:
                        self._own = command
                    else:
                        task = self._loop.create_task(self._attempt_apart(command))
                        self._tasks[command.attempt] = task
                case Cancel(attempt):
                    self._give_up(attempt)
        if walk.wake_at != self._wake_at:
            self._set_alarm()

    def _give_up(self, attempt: int) -> None:
        if (task := self._tasks.pop(attempt, None)) is not None:
            self._given_up = self._given_up or task is self._caller
            task.cancel()

    def _set_alarm(self) -> None:
        self._wake_at = self._walk.wake_at
        if self._wake_at == math.inf:
            self._alarms.take_back(self)
            return
        self.until = self._loop.time() + max(0.0, self._wake_at - self._clock.monotonic())
        self._alarms.set(self)

    def ring(self) -> None:
        """Time has come to what the core waits for."""
        # The loop's clock and ours may differ by a hair: what was due is due.
        now = max(self._clock.monotonic(), self._wake_at)
        self._wake_at = math.inf
        try:
            self._core.wake(self._walk, now)
        except Exception as error:
            self._broken(error)
        self._go_on()

    async def _attempt_here(self, send: Send) -> None:
        """In the caller's own task. When the core gives it up the caller stays, and goes on."""
        caller = self._caller
        if caller is None:
            raise RuntimeError("an attempt needs a task to run in")
        self._tasks[send.attempt] = caller
        cancelling = caller.cancelling()
        try:
            await self._attempt(send)
        except asyncio.CancelledError:
            if not self._given_up or caller.cancelling() > cancelling + 1:
                raise
        finally:
            self._own = None
            if self._given_up:
                self._given_up = False
                caller.uncancel()
        self._go_on(here=True)

    async def _attempt_apart(self, send: Send) -> None:
        await self._attempt(send)
        self._go_on()

    async def _attempt(self, send: Send) -> None:
        try:
            try:
                await self._ask(send)
            finally:
                self._tasks.pop(send.attempt, None)
        except Exception as error:
            self._broken(error)

    async def _hold(self, request: AIRequest, send: Send) -> Hold:
        """Money for one send: waited for when others are about to give some back, unless it is a hedge."""
        walk, providers, attempt = self._walk, self._providers, send.attempt
        if walk.in_flight[attempt].hedge:
            if not providers.at_ease(request, send.route, self._market, self._strategy):
                raise BudgetSpentError(
                    Refused("a hedge is withheld: the day's AI money is ahead of its plan")
                )
            return await providers.hold(request, send.route, market=self._market, strategy=self._strategy)
        try:
            try:
                return await providers.hold(request, send.route, market=self._market, strategy=self._strategy)
            except BudgetSpentError as spent:
                if not spent.refused.waits:
                    raise
                wait_secs = self._patience_secs(send, spent.refused)
            walk.money_awaited(attempt)
            self._look_again()
            hold = await providers.hold(
                request, send.route, market=self._market, strategy=self._strategy, wait_secs=wait_secs
            )
        except BudgetSpentError as spent:
            self.refused = spent.refused
            raise
        walk.money_came(attempt, self._clock.monotonic())
        self._look_again()
        return hold

    def _patience_secs(self, send: Send, refused: Refused) -> float:
        """How long money is waited for: less when another route may have some."""
        account = refused.account
        if account is not None and account.cap.scope in {Scope.PROVIDER, Scope.MODEL}:
            return send.timeout_secs * WAIT_SHARE
        return (self._walk.ends_at - self._clock.monotonic()) * WAIT_SHARE

    def _look_again(self) -> None:
        """The alarm may have to ring at another time."""
        self._core.wake(self._walk, self._clock.monotonic())
        self._go_on()

    def _tap(self, relay: Relay, send: Send) -> Tap:
        """Passes on what the first attempt to say something says, from its first token on."""
        before: list[bytes] = []

        def hear(line: bytes, texts: Sequence[str], *, started: bool) -> None:
            if self._walk.ended is not None or self._over:
                return
            if self._heard is None and started:
                self._heard = send.attempt
                self._core.commit(self._walk, send.attempt, self._clock.monotonic())
                relay.began(send.route)
                for earlier in before:
                    relay.line(earlier, ())
                self._go_on()
            if self._heard == send.attempt:
                relay.line(line, texts)
            elif self._heard is None:
                before.append(line)

        return hear

    async def _ask(self, send: Send) -> None:
        """Send once and report to the core what came of it."""
        request = self._request
        if send.more_output:
            request = replace(request, max_output_tokens=request.max_output_tokens * OUTPUT_FACTOR)
        walk, core, clock, attempt = self._walk, self._core, self._clock, send.attempt
        cost: Micros = 0
        failure: Failure | None
        try:
            hold = await self._hold(request, send)
            response = await self._providers.make_request(
                request,
                send.route,
                timeout_secs=min(send.timeout_secs, walk.ends_at - clock.monotonic()),
                first_token_secs=send.first_token_secs,
                hold=hold,
                tap=None if self._relay is None else self._tap(self._relay, send),
            )
            cost = response.cost
            value = self._validate(response)
            failure = (
                Failure(FailureKind.INVALID_ANSWER, value.reason, Billing.BILLED, usage=response.usage)
                if isinstance(value, Rejected)
                else None
            )
        except BudgetSpentError as spent:
            core.unaffordable(walk, attempt, clock.monotonic(), str(spent))
        except ProviderError as error:
            core.failed(walk, attempt, clock.monotonic(), error.failure, cost=error.cost)
        else:
            now = clock.monotonic()
            if failure is not None:
                self._providers.stats[send.route].failures += 1
                core.failed(walk, attempt, now, failure, cost=cost)
            else:
                self.response, self.value = response, value  # type: ignore[assignment]  # Rejected is ruled out
                first_token_secs = response.first_token_secs
                core.answered(
                    walk, attempt, now, cost=cost, first_token_secs=first_token_secs, usage=response.usage
                )
