"""Alarms and timers: many limits on one timer of the loop."""

from __future__ import annotations

import asyncio
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jurymast.intelligence.alarms import Alarms, Timer
from jurymast.testing.loop import run_virtually


def now() -> float:
    return asyncio.get_running_loop().time()


def timers_set() -> int:
    loop = asyncio.get_running_loop()
    return sum(not timer.cancelled() for timer in loop._scheduled)  # type: ignore[attr-defined] # to see leaks


async def asleep(timer: Timer, moves: list[tuple[float, float]], last_secs: float) -> tuple[float, bool]:
    """Sleep through (wait, new end) pairs and then so long: when it ended, and whether the timer ended it."""
    try:
        with timer:
            for wait_secs, until in moves:
                await asyncio.sleep(wait_secs)
                timer.move(until)
            await asyncio.sleep(last_secs)
    except TimeoutError:
        return now(), True
    return now(), False


@pytest.mark.parametrize(
    ("until", "moves", "last_secs", "ended"),
    [
        (5.0, [], 9.0, (5.0, True)),
        (5.0, [], 4.0, (4.0, False)),
        (5.0, [(4.0, 8.0), (3.0, 20.0)], 9.0, (16.0, False)),
        (5.0, [(4.0, 8.0), (3.0, 11.0)], 9.0, (11.0, True)),
        (50.0, [(1.0, 3.0)], 9.0, (3.0, True)),
        (float("inf"), [(1.0, 3.0)], 9.0, (3.0, True)),
        (5.0, [(1.0, float("inf"))], 9.0, (10.0, False)),
        (0.0, [], 9.0, (0.0, True)),
    ],
)
def test_the_last_time_said_counts(
    until: float, moves: list[tuple[float, float]], last_secs: float, ended: tuple[float, bool]
) -> None:
    """A timer ends the wait at the time it was moved to last, be that later or earlier, and not before."""

    async def story() -> None:
        alarms = Alarms()
        assert await asleep(Timer(until, alarms), moves, last_secs) == pytest.approx(ended)
        assert not len(alarms)
        alarms.close()
        assert not timers_set()

    run_virtually(story())


def test_putting_it_off_sets_no_new_timer() -> None:
    """A thousand moves to later leave one timer on the loop."""

    async def story() -> None:
        with Timer(10.0, Alarms()) as timer:
            for line in range(1_000):
                timer.move(20.0 + line)
            assert timers_set() == 1

    run_virtually(story())


def test_a_cancellation_from_outside_stays_one() -> None:
    """Who is cancelled while a timer runs is cancelled and not late, also when both come at once."""

    async def waiting() -> None:
        with Timer(5.0, Alarms()):
            await asyncio.sleep(60.0)

    async def cancelled_at(secs: float) -> bool:
        task = asyncio.create_task(waiting())
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_at(secs, task.cancel)
        await asyncio.wait([task])
        return task.cancelled()

    assert run_virtually(cancelled_at(4.0))
    assert run_virtually(cancelled_at(5.0))


def test_the_nearer_of_two_ends_its_own_block() -> None:
    """A timer within another ends its own block; the outer one goes on, and ends what follows in time."""

    inner_ended: list[tuple[float, bool]] = []

    async def nested() -> None:
        with Timer(7.0, Alarms()):
            inner_ended.append(await asleep(Timer(3.0, Alarms()), [], 60.0))
            await asyncio.sleep(60.0)

    async def story() -> float:
        with pytest.raises(TimeoutError):
            await nested()
        return now()

    assert run_virtually(story()) == pytest.approx(7.0)
    assert inner_ended == [pytest.approx((3.0, True))]


def test_an_error_of_the_block_is_not_hidden() -> None:
    """What the block raises comes out as it is, and nothing stays behind."""

    alarms = Alarms()

    async def failing() -> None:
        with Timer(5.0, alarms):
            raise LookupError

    async def story() -> None:
        with pytest.raises(LookupError):
            await failing()
        assert not len(alarms)

    run_virtually(story())


def test_it_needs_a_task() -> None:
    """Outside a task there is nothing to cancel: said at once."""

    async def story() -> None:
        found: list[BaseException] = []

        def outside() -> None:
            try:
                with Timer(1.0, Alarms()):
                    pass
            except RuntimeError as error:
                found.append(error)

        asyncio.get_running_loop().call_soon(outside)
        await asyncio.sleep(1.0)
        assert found

    run_virtually(story())


class Bell:
    """An alarm that writes down when it rang."""

    def __init__(self, until: float) -> None:
        self.until = until
        self.rang: list[float] = []

    def ring(self) -> None:
        self.rang.append(now())


STEPS = ["set", "move", "take back", "wait"]


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["set", "move", "take back", "wait"]), st.integers(0, 3), st.integers(0, 9)
        ),
        max_size=40,
    )
)
def test_each_alarm_rings_once_at_its_own_time(steps: list[tuple[str, int, int]]) -> None:
    """Whatever is set, put off, hurried and taken back: each rings when it should, as with a timer each."""

    async def story() -> None:
        alarms, loop = Alarms(), asyncio.get_running_loop()
        bells = [Bell(math.inf) for _ in range(4)]
        expected: list[list[float]] = [[] for _ in bells]
        due: dict[int, float] = {}
        for what, which, secs in steps:
            bell = bells[which]
            if what == "wait":
                until = now() + secs + 0.5  # between the whole seconds at which they ring
                for each in [each for each, at in due.items() if at <= until]:
                    expected[each].append(due.pop(each))
                await asyncio.sleep(until - now())
            elif what == "take back":
                alarms.take_back(bell)
                due.pop(which, None)
            elif what == "set" or which in due:
                bell.until = math.ceil(now()) + secs
                alarms.set(bell)
                due[which] = bell.until
            assert len(alarms) == len(due)
            assert sum(not timer.cancelled() for timer in loop._scheduled) <= 1  # type: ignore[attr-defined] # to see them
        assert [bell.rang for bell in bells] == [pytest.approx(times) for times in expected]

    run_virtually(story())


def test_one_that_fails_leaves_the_others_their_time() -> None:
    """An alarm that raises is reported by the loop; those beside and after it ring all the same."""

    async def story() -> None:
        alarms, told = Alarms(), []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))
        failing, beside, after = Bell(1.0), Bell(1.0), Bell(2.0)
        failing.ring = lambda: exec("raise LookupError")  # type: ignore[method-assign] # to fail
        for bell in (failing, beside, after):
            alarms.set(bell)
        await asyncio.sleep(3.0)
        assert [type(error) for error in told] == [LookupError]
        assert (beside.rang, after.rang) == ([1.0], [2.0])

    run_virtually(story())
