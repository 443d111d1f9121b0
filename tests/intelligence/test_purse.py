"""The purse: holds when they fit, a fair line when they soon may, refusals otherwise. In virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jurymast.domain.events import BudgetCrossed
from jurymast.domain.money import Micros
from jurymast.intelligence.purse import BudgetSpentError, MemoryBooks, Purse
from jurymast.policy.ledger import Cap, Payer, Scope, Window
from jurymast.policy.pacer import Pace
from jurymast.testing.loop import LoopClock, run_virtually

XAI, GPT = Payer("xai", "grok-4.3"), Payer("openai", "gpt-6.1-terra")


def story(tell: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """A test that runs in virtual time."""

    def run() -> None:
        run_virtually(tell())

    run.__name__, run.__doc__ = tell.__name__, tell.__doc__
    return run


def purse_of(*caps: Cap, **options: Any) -> Purse:
    clock = LoopClock()
    return Purse(MemoryBooks(caps, clock), clock=clock, **options)


async def spend(
    purse: Purse, worst: Micros, secs: float, payer: Payer = XAI, wait_secs: float = 60.0
) -> bool:
    """Hold for so long, then pay a tenth. Whether there was money."""
    try:
        hold = await purse.reserve(payer, worst, wait_secs)
    except BudgetSpentError:
        return False
    await asyncio.sleep(secs)
    purse.settle(hold, worst // 10)
    return True


@story
async def test_what_would_fit_after_releases_waits_for_them() -> None:
    """Money for one worst case serves ten requests one after the other, as their real costs allow."""
    purse = purse_of(Cap(100))
    done = await asyncio.gather(*(spend(purse, 50, 1.0) for _ in range(10)))
    assert done == [True] * 10
    assert (purse.day.spent, purse.day.held) == (50, 0)


@story
async def test_who_can_not_be_served_in_time_is_refused() -> None:
    """Patience ends: nothing is held for who has left, and the line moves on."""
    purse = purse_of(Cap(100))
    slow = asyncio.create_task(spend(purse, 100, 10.0))
    await asyncio.sleep(0)
    assert not await spend(purse, 50, 1.0, wait_secs=5.0)
    assert asyncio.get_running_loop().time() == pytest.approx(5.0)
    assert await slow
    assert purse.day.held == 0


@story
async def test_what_no_release_can_help_is_refused_at_once() -> None:
    """Spent is spent: nobody waits for midnight."""
    purse = purse_of(Cap(100))
    assert await spend(purse, 100, 0.0)
    purse.settle(await purse.reserve(XAI, 90), 90)
    with pytest.raises(BudgetSpentError, match="0 of the day's 100 are left"):
        await purse.reserve(XAI, 1, 60.0)
    assert asyncio.get_running_loop().time() == 0.0
    with pytest.raises(BudgetSpentError):
        await purse_of(Cap(100)).reserve(XAI, 101, 60.0)


@story
async def test_the_line_is_served_in_order() -> None:
    """A large one at the head is not starved by small ones behind it, nor by those that come later."""
    purse, order = purse_of(Cap(100)), []

    async def ask(name: str, worst: Micros) -> None:
        hold = await purse.reserve(XAI, worst, 60.0)
        order.append(name)
        await asyncio.sleep(1.0)
        purse.settle(hold, 0)

    asking = [asyncio.create_task(ask("first", 60))]
    await asyncio.sleep(0)
    asking += [asyncio.create_task(ask("large", 100)), asyncio.create_task(ask("small", 10))]
    await asyncio.sleep(0.5)
    assert not await spend(purse, 10, 0.0, wait_secs=0.0), "who does not wait does not overtake either"
    await asyncio.gather(*asking)
    assert order == ["first", "large", "small"]


@story
async def test_a_line_for_one_provider_does_not_hold_up_another() -> None:
    """Only those who need the same account stand in the same line; free ones stand in none."""
    purse = purse_of(Cap(1_000), Cap(100, scope=Scope.PROVIDER, of="xai"))
    held = await purse.reserve(XAI, 100)
    waiting = asyncio.create_task(spend(purse, 100, 0.0))
    await asyncio.sleep(0.5)
    assert await spend(purse, 100, 0.0, GPT, wait_secs=0.0)
    assert await spend(purse, 0, 0.0, XAI, wait_secs=0.0)
    assert not waiting.done()
    purse.settle(held, 0)
    assert await waiting


@story
async def test_a_release_serves_at_once() -> None:
    """Not at the next look around: the line learns of it when it happens."""
    purse = purse_of(Cap(100))
    held = await purse.reserve(XAI, 100)
    waiting = asyncio.create_task(spend(purse, 100, 0.0))
    await asyncio.sleep(0.53)
    purse.settle(held, 0)
    assert await waiting
    assert asyncio.get_running_loop().time() == pytest.approx(0.53)


@story
async def test_a_new_window_ends_the_wait() -> None:
    """Who waits for the holds of a minute that was spent meanwhile is refused, and fits in the next."""
    purse = purse_of(Cap(10_000), Cap(100, Window.MINUTE))
    held = await purse.reserve(XAI, 100)
    waiting = asyncio.create_task(spend(purse, 50, 0.0, wait_secs=90.0))
    await asyncio.sleep(1.0)
    purse.settle(held, 100)
    assert not await waiting
    await asyncio.sleep(60.0)
    assert await spend(purse, 50, 0.0)


@story
async def test_a_caller_that_leaves_takes_nothing_along() -> None:
    """Cancelled while it waits, or in the moment in which it is served: nothing stays held."""
    for moments in range(8):
        purse = purse_of(Cap(100))
        held = await purse.reserve(XAI, 100)
        leaving = asyncio.create_task(purse.reserve(XAI, 100, 60.0))
        await asyncio.sleep(0.5)
        purse.settle(held, 0)
        for _ in range(moments):
            await asyncio.sleep(0)
        served = leaving.done()
        leaving.cancel()
        with suppress(asyncio.CancelledError):
            await leaving
        await asyncio.sleep(1.0)
        assert purse.day.held == (100 if served else 0)
        await purse.close()


@story
async def test_a_soft_cap_is_told_of_once_a_window() -> None:
    """It refuses nothing, and is not told of with every request."""
    told: list[BudgetCrossed] = []
    purse = purse_of(Cap(10_000), Cap(10, Window.HOUR, hard=False), emit=told.append)
    for _ in range(5):
        assert await spend(purse, 100, 1.0)
    assert [(event.limit, event.spent) for event in told] == [(10, 10)]
    await asyncio.sleep(3_600.0)
    for _ in range(3):
        assert await spend(purse, 100, 1.0)
    assert len(told) == 2


@story
async def test_optional_requests_are_withheld_when_others_wait_or_the_day_is_ahead() -> None:
    """Nothing optional takes the money that somebody in the line is waiting for."""
    purse = purse_of(Cap(1_000), pace=Pace())
    assert purse.at_ease(XAI, 100)
    assert purse.at_ease(XAI, 0)
    held = await purse.reserve(XAI, 900)
    assert not purse.at_ease(XAI, 100), "the plan of this hour has not brought so much"
    waiting = asyncio.create_task(spend(purse, 200, 0.0))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not purse.affords(XAI, 50)
    purse.settle(held, 0)
    assert await waiting
    assert purse.affords(XAI, 50)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 300),
    st.lists(
        st.tuples(st.integers(1, 150), st.floats(0, 5), st.floats(0, 5), st.floats(0, 8), st.floats(0, 10)),
        max_size=20,
    ),
)
def test_at_no_moment_is_more_promised_than_there_is(
    limit: Micros, asks: list[tuple[int, float, float, float, float]]
) -> None:
    """Requests that come, wait, leave and pay at any times: the cap holds, and at the end nothing is held."""

    async def tell() -> None:
        purse = purse_of(Cap(limit))

        async def one(worst: Micros, begins: float, lasts: float, patience: float, leaves: float) -> None:
            await asyncio.sleep(begins)
            with suppress(BudgetSpentError, TimeoutError):
                async with asyncio.timeout(leaves):
                    hold = await purse.reserve(XAI, worst, patience)
                    try:
                        assert purse.day.spent + purse.day.held <= limit
                        await asyncio.sleep(lasts)
                    finally:
                        purse.settle(hold, worst // 3)

        await asyncio.gather(*(one(*ask) for ask in asks))
        assert purse.day.held == 0
        assert purse.day.spent <= limit
        await purse.close()

    run_virtually(tell())
