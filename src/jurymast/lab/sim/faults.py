"""What can happen to one request: the palette of harms, and incidents that deal them out.

A harm is a kind of failure with the moment at which it shows. The core sees failures only through the
same words a real provider's adapter uses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from jurymast.domain.provider import Failure, FailureKind, ProviderName
from jurymast.policy.failures import BILLING


class Onset(Enum):
    """When a harm shows."""

    AT_ONCE = auto()
    """The reply is an error."""
    NO_CONNECTION = auto()
    """Packets vanish: the limit for connecting ends it."""
    SILENCE = auto()
    """The request is read and never answered."""
    STALL = auto()
    """The answer begins and does not go on."""
    MIDWAY = auto()
    """The stream ends before the answer does."""
    AT_END = auto()
    """The answer is complete and worthless."""


@dataclass(frozen=True, slots=True)
class Harm:
    """One thing that happens to a request. A probe's few tokens are spared by a ``deep`` one."""

    onset: Onset
    failure: Failure
    deep: bool = False


def _harm(onset: Onset, kind: FailureKind, *, deep: bool = False, wait_secs: float | None = None) -> Harm:
    failure = Failure(kind, f"SIMULATED {kind}", BILLING[kind], retry_after_secs=wait_secs)
    return Harm(onset, failure, deep)


HARMS: Final[Mapping[str, Harm]] = {
    "500": _harm(Onset.AT_ONCE, FailureKind.SERVER_ERROR),
    "503": _harm(Onset.AT_ONCE, FailureKind.OVERLOADED),
    "529": _harm(Onset.AT_ONCE, FailureKind.OVERLOADED),
    "html": _harm(Onset.AT_ONCE, FailureKind.EDGE_ERROR),
    "refuse": _harm(Onset.AT_ONCE, FailureKind.CONNECT),
    "no_route": _harm(Onset.NO_CONNECTION, FailureKind.CONNECT),
    "reset": _harm(Onset.AT_ONCE, FailureKind.RESET),
    "hang": _harm(Onset.SILENCE, FailureKind.FIRST_TOKEN_TIMEOUT),
    "stall": _harm(Onset.STALL, FailureKind.STALLED),
    "cut": _harm(Onset.MIDWAY, FailureKind.CUT, deep=True),
    "429": _harm(Onset.AT_ONCE, FailureKind.RATE_LIMITED),
    "429_2s": _harm(Onset.AT_ONCE, FailureKind.RATE_LIMITED, wait_secs=2.0),
    "429_120s": _harm(Onset.AT_ONCE, FailureKind.RATE_LIMITED, wait_secs=120.0),
    "429_1h": _harm(Onset.AT_ONCE, FailureKind.RATE_LIMITED, wait_secs=3_600.0),
    "quota": _harm(Onset.AT_ONCE, FailureKind.QUOTA),
    "auth": _harm(Onset.AT_ONCE, FailureKind.AUTH),
    "gone": _harm(Onset.AT_ONCE, FailureKind.MODEL_GONE),
    "400": _harm(Onset.AT_ONCE, FailureKind.BAD_REQUEST),
    "malformed": _harm(Onset.AT_END, FailureKind.MALFORMED),
    "empty": _harm(Onset.AT_END, FailureKind.EMPTY),
    "invalid": _harm(Onset.AT_END, FailureKind.INVALID_ANSWER, deep=True),
    "truncated": _harm(Onset.AT_END, FailureKind.TRUNCATED, deep=True),
    "refusal": _harm(Onset.AT_END, FailureKind.CONTENT_FILTER, deep=True),
}
"""By the name a scenario uses. A limit with a date or garbage reaches the core as seconds or none."""

FAST: Final = ("500", "503", "529", "html", "refuse", "reset")
HANGING: Final = ("hang", "no_route", "stall")


@dataclass(frozen=True, slots=True)
class Incident:
    """Something is wrong from ``start`` to ``end``, in seconds of world time.

    ``hits`` lists providers with the model, or None for all of theirs. Each request is struck with
    probability ``rate`` by one of ``harms``, each as likely as the others. All are slowed by ``slow``.
    ``latent``: the operator must mend the account; the provider itself is well.
    """

    start: float
    end: float
    hits: tuple[tuple[ProviderName, str | None], ...]
    rate: float
    harms: tuple[str, ...] = ()
    slow: float = 1.0

    def __post_init__(self) -> None:
        if not self.start < self.end:
            raise ValueError("an incident ends after it starts")
        if not 0.0 <= self.rate <= 1.0 or self.slow < 1.0:
            raise ValueError("a rate is a share of requests, and trouble makes nothing faster")
        if self.rate and not self.harms:
            raise ValueError("an incident that strikes needs harms")
        if unknown := set(self.harms) - set(HARMS):
            raise ValueError(f"unknown harm {min(unknown)!r}; known are {', '.join(HARMS)}")


@dataclass(frozen=True, slots=True)
class Schedule:
    """All that goes wrong in ``secs`` of world time, which starts on a Monday at 00:00 UTC."""

    secs: float
    incidents: tuple[Incident, ...]
