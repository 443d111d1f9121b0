"""An attempt that the caller makes itself: given up, overtaken, cancelled and broken, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from intelligence.virtual_world import SILENCE, VirtualWorld, failing, taking, world
from jurymast.domain.provider import FailureKind, ProviderName
from jurymast.intelligence.fallback_manager import Answered, Unanswered
from jurymast.testing.loop import run_virtually

XAI, OPENAI, *_ = ProviderName


class Tasks:
    """Counts the tasks that the running loop starts."""

    def __init__(self) -> None:
        self.started = 0
        asyncio.get_running_loop().set_task_factory(self._start)

    def _start(
        self, loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], **options: Any
    ) -> asyncio.Task[Any]:
        self.started += 1
        return asyncio.Task(coro, loop=loop, **options)


def assert_nothing_left(lab: VirtualWorld) -> None:
    """No request, task, timer, held money or pending cancellation outlives a question."""
    caller = asyncio.current_task()
    assert caller is not None
    assert caller.cancelling() == 0
    assert [provider.under_way for provider in lab.providers.values()] == [0] * len(lab.providers)
    assert asyncio.all_tasks() == {caller}
    assert lab.limits_set() == 0
    assert lab.money.budget.held == 0
    assert [report.in_flight for report in lab.manager.get_system_status().routes] == [0] * len(lab.providers)


async def asked(lab: VirtualWorld, deadline_secs: float = 60.0) -> tuple[Answered[str] | Unanswered, float]:
    """The outcome of a question asked in this very task, and how long it took."""
    outcome = await lab.ask(deadline_secs)
    await asyncio.sleep(0)
    assert_nothing_left(lab)
    await asyncio.sleep(1.0)  # a cancellation left over would show here
    return outcome, lab.latencies[-1]


def test_a_question_that_is_answered_starts_no_task() -> None:
    """One attempt, or one after the other: the caller's own task does it all."""

    async def story() -> None:
        tasks = Tasks()
        lab = world({XAI: taking(1.0), OPENAI: taking(1.0)})
        outcome, secs = await asked(lab)
        assert (isinstance(outcome, Answered), secs) == (True, pytest.approx(1.0))
        lab[XAI].mood = failing(FailureKind.SERVER_ERROR)
        outcome, secs = await asked(lab)
        assert isinstance(outcome, Answered)
        assert (outcome.route.provider, secs) == (OPENAI, pytest.approx(1.0))
        assert tasks.started == 0

    run_virtually(story())


def test_a_hedge_overtakes_the_attempt_that_the_caller_makes() -> None:
    """Overdue, the first gets a rival in a task; the rival's answer takes the caller out of its own wait."""

    async def story() -> None:
        tasks = Tasks()
        lab = world({XAI: taking(SILENCE), OPENAI: taking(1.5)})
        outcome, secs = await asked(lab)
        assert isinstance(outcome, Answered)
        assert outcome.route.provider is OPENAI
        assert [attempt.outcome for attempt in outcome.attempts] == ["answered", "overdue"]
        assert secs == pytest.approx(lab[OPENAI].asked_at[0] + 1.5)
        assert tasks.started == 1

    run_virtually(story())


def test_the_callers_attempt_overtakes_its_hedge() -> None:
    """The first answers after all: the rival is cancelled, and the answer is there at that moment."""

    async def story() -> None:
        lab = world({XAI: taking(20.0), OPENAI: taking(5.0)})
        lab[OPENAI].mood = taking(SILENCE)
        outcome, secs = await asked(lab)
        assert isinstance(outcome, Answered)
        assert (outcome.route.provider, secs) == (XAI, pytest.approx(20.0))
        assert len(lab[OPENAI].asked_at) == 1

    run_virtually(story())


def test_the_deadline_ends_the_attempt_that_the_caller_makes() -> None:
    """A lone provider that never answers: at the deadline the caller has its reason, and is not cancelled."""

    async def story() -> None:
        lab = world({XAI: taking(SILENCE)})
        outcome, secs = await asked(lab, deadline_secs=3.0)
        assert isinstance(outcome, Unanswered)
        assert secs == pytest.approx(3.0)

    run_virtually(story())


@pytest.mark.parametrize("at_secs", [0.0, 1.0, 3.0, 20.0, 60.0])
def test_a_caller_that_is_cancelled_stays_cancelled(at_secs: float) -> None:
    """Cancelled before, during and at the very end of an attempt of its own, the caller knows it was."""

    async def story() -> None:
        lab = world({XAI: taking(SILENCE), OPENAI: taking(SILENCE)})
        asking = asyncio.create_task(lab.ask())
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_at(at_secs, asking.cancel)
        await asyncio.wait([asking])
        assert asking.cancelled()
        await asyncio.sleep(0)
        assert_nothing_left(lab)

    run_virtually(story())


def test_cancelled_in_the_turn_in_which_its_attempt_is_overtaken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given up by the core and cancelled from outside at once: the cancellation is not swallowed."""

    async def story() -> None:
        lab = world({XAI: taking(SILENCE), OPENAI: taking(1.5)})
        asking = asyncio.create_task(lab.ask())
        answered = lab.manager.core.answered

        def cancelled_then_answered(*words: Any, **options: Any) -> None:
            asking.cancel()
            answered(*words, **options)

        monkeypatch.setattr(lab.manager.core, "answered", cancelled_then_answered)
        await asyncio.wait([asking])
        assert asking.cancelled()
        await asyncio.sleep(0)
        assert_nothing_left(lab)

    run_virtually(story())


def test_a_time_out_of_the_callers_is_its_own() -> None:
    """asyncio.timeout around a question works as around anything else."""

    async def story() -> None:
        lab = world({XAI: taking(SILENCE), OPENAI: taking(SILENCE)})
        for patience_secs in (2.0, 25.0):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(patience_secs):
                    await lab.ask()
            await asyncio.sleep(0)
            assert_nothing_left(lab)

    run_virtually(story())


@pytest.mark.parametrize("method", ["wake", "answered"])
def test_a_defect_beside_the_callers_attempt_is_known_at_once(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What breaks in an alarm or in a rival's task ends the caller's own wait with that error."""

    async def story() -> None:
        lab = world({XAI: taking(SILENCE), OPENAI: taking(1.0)})

        def broken(*_: Any, **__: Any) -> None:
            raise LookupError(method)

        monkeypatch.setattr(lab.manager.core, method, broken)
        with pytest.raises(LookupError, match=method):
            await lab.ask()
        assert lab.now < 25.0
        await asyncio.sleep(0)
        caller = asyncio.current_task()
        assert caller is not None
        assert caller.cancelling() == 0
        assert asyncio.all_tasks() == {caller}
        assert lab[XAI].under_way == lab[OPENAI].under_way == 0

    run_virtually(story())
