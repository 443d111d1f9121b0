"""Game days: every one is played on the real program, and a bot that fails is told so."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from jurymast.app.drills.days import DAYS
from jurymast.app.drills.grading import Limits, Look, Seen, grade
from jurymast.app.drills.running import play
from jurymast.domain.events import DemandsChanged, Event, ModeChanged
from jurymast.domain.money import USD
from jurymast.domain.provider import ProviderName
from jurymast.domain.status import EmergencyMode, TradingState
from jurymast.trading.gateway import Gateway

NAMED = {day.name: day for day in DAYS}
AT = datetime(2026, 1, 5, tzinfo=UTC)
LIMITS = Limits(detect_secs=10, safe_secs=20, back_secs=30)


def look(at: float, mode: EmergencyMode = EmergencyMode.NORMAL, **changes: object) -> Look:
    first = ProviderName.XAI
    fields = {
        "at": at, "mode": mode, "state": TradingState.ACTIVE, "resting": 0, "first": first,
        "answering": first, "risk_taken": 0,
    }  # fmt: skip
    return Look(**(fields | changes))  # type: ignore[arg-type] # each by the name of its field


def seen(*looks: Look, noticed_at: float = 105.0, **changes: object) -> Seen:
    """A trouble from 100 to 200, noticed by a change of mode."""
    change = ModeChanged(at=AT, old=EmergencyMode.NORMAL, new=EmergencyMode.MINIMAL, reason="")
    fields = {
        "looks": list(looks), "events": [(noticed_at, change)], "trouble_at": 100.0, "over_at": 200.0,
        "equity": 1_000 * USD, "books": (), "doubled": 0,
    }  # fmt: skip
    return Seen(**(fields | changes))  # type: ignore[arg-type] # each by the name of its field


def failed(found: Seen, *, signs: tuple[type[Event], ...] = (ModeChanged,)) -> set[str]:
    checks = grade(
        found,
        LIMITS,
        signs=signs,
        safe=lambda each: each.mode is EmergencyMode.MINIMAL and not each.resting,
        back=lambda each: each.mode is EmergencyMode.NORMAL,
    )
    return {check.what for check in checks if not check.passed}


MINIMAL = EmergencyMode.MINIMAL
WELL = (look(110.0), look(120.0, MINIMAL), look(200.0, MINIMAL), look(225.0))


class TestGrading:
    def test_a_day_within_its_limits_passes(self) -> None:
        """Noticed, safe to the end of the trouble, back in time: no grade is missed."""
        assert failed(seen(*WELL)) == set()

    def test_what_comes_too_late_fails(self) -> None:
        """Each time is held against its own limit, from its own beginning."""
        assert failed(seen(*WELL, noticed_at=111.0)) == {"noticed"}
        assert failed(seen(look(121.0, MINIMAL), look(200.0, MINIMAL), look(225.0))) == {"safe"}
        assert failed(seen(*WELL[:3], look(231.0))) == {"back to normal"}

    def test_what_was_noticed_before_the_trouble_does_not_count(self) -> None:
        """Only a sign of the kind that is asked for, after the beginning, is one."""
        assert failed(seen(*WELL, noticed_at=99.0)) == {"noticed"}
        assert failed(seen(*WELL), signs=(DemandsChanged,)) == {"noticed"}

    def test_safety_that_breaks_off_is_none(self) -> None:
        """Safe means to the end of the trouble: an order that rests again starts the time anew."""
        again = look(150.0, MINIMAL, resting=1)
        assert failed(seen(look(110.0, MINIMAL), again, *WELL[2:])) == {"safe"}
        missed = failed(seen(look(110.0, MINIMAL), look(200.0), look(225.0)))
        assert missed == {"safe", "new risk while it lasted, bp of equity"}

    def test_new_risk_once_safe_fails(self) -> None:
        """A dollar in a thousand is ten basis points too many; what was risked before is no matter."""
        risky = look(150.0, MINIMAL, risk_taken=2 * USD)
        before = look(115.0, MINIMAL, risk_taken=USD)
        found = seen(before, risky, look(200.0, MINIMAL, risk_taken=2 * USD), look(225.0))
        assert failed(found) == {"new risk while it lasted, bp of equity"}
        settled = look(200.0, MINIMAL, risk_taken=USD)
        assert failed(seen(look(110.0), before, settled, look(225.0))) == set()

    def test_books_and_orders_always_count(self) -> None:
        """A difference or an order without exactly one intent fails any day."""
        assert failed(seen(*WELL, books=("cash: 1 here, 2 there",))) == {"differences in the books"}
        assert failed(seen(*WELL, doubled=1)) == {"orders without exactly one intent"}

    def test_a_bot_that_never_came_back_fails(self) -> None:
        """Never is later than any limit."""
        assert failed(seen(*WELL[:3])) == {"back to normal"}


@pytest.mark.parametrize("name", NAMED)
async def test_the_bot_passes_every_day(name: str) -> None:
    """Each game day, on the real program over real sockets, keeps to its limits."""
    outcome = await play(NAMED[name], 0)
    assert [check for check in outcome.checks if not check.passed] == []
    assert outcome.as_json()["simulated"] is True


async def test_a_day_is_the_same_for_the_same_seed() -> None:
    """One seed, one story: all that is measured comes out alike."""
    first, second = [await play(NAMED["crash-before-cancel"], 3) for _ in range(2)]
    assert first.as_json() == second.as_json()


async def test_a_bot_that_leaves_its_orders_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without cancelling, twenty entries outlive the brain that placed them, and the day says so."""

    async def asleep(*_: object, **__: object) -> bool:
        return True

    monkeypatch.setattr(Gateway, "withdraw", asleep)
    outcome = await play(NAMED["everything-down"], 0)
    missed = {check.what for check in outcome.checks if not check.passed}
    assert "safe" in missed
