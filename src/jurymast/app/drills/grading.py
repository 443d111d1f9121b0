"""What a game day came to: pure arithmetic over what was seen, against stated limits.

A look is taken every few virtual seconds. Times are seconds of the bot's clock; risk is in basis points of
the equity that the trouble began with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from jurymast.domain.events import Event
from jurymast.domain.money import Micros
from jurymast.domain.provider import ProviderName
from jurymast.domain.status import EmergencyMode, TradingState

BASIS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Look:
    """The bot and its exchange at one moment. ``answering`` is who answered the last question."""

    at: float
    mode: EmergencyMode
    state: TradingState
    resting: int
    first: ProviderName | None
    answering: ProviderName | None
    risk_taken: Micros
    """Most that entries sent so far could lose."""


Condition = Callable[[Look], bool]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a day must keep to. ``back_secs`` counts from the end of the trouble; seconds."""

    detect_secs: float
    safe_secs: float
    back_secs: float
    risk_bp_max: int | None = 0
    """Of new risk once it is safe, for as long as the trouble lasts. None where trading may go on."""
    resting_max: int | None = 0
    """Entries on the book then."""


@dataclass(slots=True)
class Seen:
    """Everything noted of one day."""

    looks: list[Look]
    events: list[tuple[float, Event]]
    trouble_at: float
    over_at: float
    equity: Micros
    """When the trouble began."""
    books: tuple[str, ...]
    """Where our books and the exchange's differ at the end."""
    doubled: int
    """Orders at the exchange without exactly one intent of ours."""


class Check(NamedTuple):
    """One grade: what was measured, what it may be at most, in words."""

    what: str
    measured: str
    limit: str
    passed: bool


def grade(
    seen: Seen, limits: Limits, *, signs: tuple[type[Event], ...], safe: Condition, back: Condition
) -> list[Check]:
    """Every check of a day. ``signs`` are the events that count as having noticed, ``safe`` must hold from
    some moment to the end of the trouble, ``back`` at some moment after it."""
    noticed = next(
        (at for at, event in seen.events if at >= seen.trouble_at and isinstance(event, signs)), None
    )
    during = [look for look in seen.looks if seen.trouble_at < look.at <= seen.over_at]
    safe_at = _lasting(during, safe)
    settled = [] if safe_at is None else [look for look in during if look.at >= safe_at]
    back_at = next((look.at for look in seen.looks if look.at > seen.over_at and back(look)), None)
    risk_bp = -((settled[0].risk_taken - settled[-1].risk_taken) * BASIS // seen.equity) if settled else BASIS
    left = max((look.resting for look in settled), default=0)
    return [
        _within("noticed", noticed, seen.trouble_at, limits.detect_secs),
        _within("safe", safe_at, seen.trouble_at, limits.safe_secs),
        _at_most("new risk while it lasted, bp of equity", risk_bp, limits.risk_bp_max),
        _at_most("entries left resting", left, limits.resting_max),
        _within("back to normal", back_at, seen.over_at, limits.back_secs),
        _at_most("orders without exactly one intent", seen.doubled, 0),
        Check("differences in the books", "; ".join(seen.books) or "none", "none", not seen.books),
    ]  # fmt: skip


def _lasting(looks: Sequence[Look], safe: Condition) -> float | None:
    """From when on it was safe without a break."""
    since = None
    for look in looks:
        since = (since if since is not None else look.at) if safe(look) else None
    return since


def _at_most(what: str, measured: int, limit: int | None) -> Check:
    return Check(
        what, str(measured), "any" if limit is None else str(limit), limit is None or measured <= limit
    )


def _within(what: str, at: float | None, since: float, limit_secs: float) -> Check:
    took = None if at is None else at - since
    measured = "never" if took is None else f"{took:.0f} s"
    return Check(what, measured, f"{limit_secs:.0f} s", took is not None and took <= limit_secs)
