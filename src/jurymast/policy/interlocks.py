"""What must be true before real money is traded: several gates, each by itself, none able to open another.

  gate          opened by                                             looked at
  CONFIG        live = true in the settings                           before anything is sent
  ENVIRONMENT   JURYMAST_LIVE with its word, in the environment       before anything is sent
  ACCOUNT       the account's name, typed as it stands in settings    before anything is sent
  JUDGES        providers that are real                               before anything is sent
  DOCTOR        every check of the doctor passed                      after reads, before the first order
  BOOKS         a reconciliation without a difference                 after reads, before the first order
  FUNDED        no more in the account than was set as what may be lost   after reads, before the first order

And how large an order may be grows only with a record: so many settled forecasts on real money, better than
the market's own price by more than chance. A size is never raised by a setting alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from jurymast.domain.money import USD, Micros, format_usd
from jurymast.domain.probability import brier


class Gate(StrEnum):
    """The gates before real money. Closed list."""

    CONFIG = "config"
    ENVIRONMENT = "environment"
    ACCOUNT = "account"
    JUDGES = "judges"
    DOCTOR = "doctor"
    BOOKS = "books"
    FUNDED = "funded"


@dataclass(frozen=True, slots=True)
class Refused:
    """A gate that is shut, and what opens it."""

    gate: Gate
    why: str
    cure: str

    def __str__(self) -> str:
        return f"{self.gate}: {self.why}; {self.cure}"


@dataclass(frozen=True, slots=True)
class Words:
    """What people have said, in three places. ``words`` are those that the environment may hold."""

    live: bool
    word: str
    words: frozenset[str]
    account: str
    typed_account: str
    emulated: bool


@dataclass(frozen=True, slots=True)
class Findings:
    """What looking has shown. ``ailments`` are failed checks, ``worth`` is everything in the account."""

    ailments: tuple[str, ...]
    differences: tuple[str, ...]
    worth: Micros
    funded_max: Micros


def unsaid(said: Words) -> tuple[Refused, ...]:
    """The gates that words have not opened."""
    shut = []
    if not said.live:
        shut.append(Refused(Gate.CONFIG, "live is not set", "set live = true under [exchange]"))
    if said.word not in said.words:
        shut.append(
            Refused(
                Gate.ENVIRONMENT,
                "JURYMAST_LIVE does not say so",
                "set JURYMAST_LIVE=yes (or the key's id) in the environment",
            )
        )
    if not said.account:
        cure = "set account under [exchange] and type it: run --account NAME"
        shut.append(Refused(Gate.ACCOUNT, "the account has no name", cure))
    elif said.typed_account != said.account:
        typed = f"{said.typed_account!r} was typed" if said.typed_account else "its name was not typed"
        cure = f"type the name that stands in the settings: run --account {said.account}"
        shut.append(Refused(Gate.ACCOUNT, typed, cure))
    if said.emulated:
        shut.append(
            Refused(
                Gate.JUDGES, "SIMULATED answers don't trade real money", "set emulate = false under [lab]"
            )
        )
    return tuple(shut)


def unfit(found: Findings) -> tuple[Refused, ...]:
    """The gates that looking has not opened."""
    shut = []
    if found.ailments:
        told = "; ".join(found.ailments)
        shut.append(Refused(Gate.DOCTOR, told, "mend it: jurymast doctor says how"))
    if found.differences:
        told = "; ".join(found.differences)
        shut.append(
            Refused(
                Gate.BOOKS, f"corrected just now: {told}", "know why, then start again on the right books"
            )
        )
    if found.worth > found.funded_max:
        why = f"the account holds {format_usd(found.worth)}, more than {format_usd(found.funded_max)}"
        cure = "take the rest out, or raise funded_usd_max under [exchange] to what may be lost"
        shut.append(Refused(Gate.FUNDED, why, cure))
    return tuple(shut)


STEPS: Final[tuple[tuple[int, Micros], ...]] = (
    (0, 5 * USD),
    (50, 20 * USD),
    (200, 100 * USD),
    (500, 500 * USD),
    (1_500, 2_000 * USD),
)
"""Settled forecasts on real money, and the largest order from there on."""
SURE: Final = 1.645
"""Standard errors between the mean advantage and none: one-sided 95 %."""


@dataclass(frozen=True, slots=True)
class SettledForecast:
    """Our probability, the market's price then, and what came."""

    ours: float
    market: float
    outcome: bool


def advantage(record: Sequence[SettledForecast]) -> tuple[float, float]:
    """Mean advantage over the market in Brier score, and its standard error; none for fewer than two."""
    if len(record) < 2:
        return 0.0, math.inf
    gains = [brier(each.market, each.outcome) - brier(each.ours, each.outcome) for each in record]
    mean = sum(gains) / len(gains)
    variance = sum((gain - mean) ** 2 for gain in gains) / (len(gains) - 1)
    return mean, math.sqrt(variance / len(gains))


def order_cap(record: Sequence[SettledForecast]) -> Micros:
    """The largest order that the record allows: the first step, and more only for proven advantage."""
    mean, error = advantage(record)
    if mean <= SURE * error:
        return STEPS[0][1]
    return max(cap for count, cap in STEPS if len(record) >= count)
