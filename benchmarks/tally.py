"""From what a client did and what the providers saw of it to the figures of ``failover.py``.

Times are story seconds. "While broken" is from the first fault of a story to the last mend.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from measure import percentile
from scenarios import CLOUDS, MODELS, PRIMARY, SYN_DROP, Regime, Scenario

from jurymast.domain.provider import Usage
from jurymast.intelligence.providers.catalogue import Catalogue

UNSEEN = frozenset({SYN_DROP, "refuse"})
"""Faults in which requests never arrive and so can't be counted."""
Z = 1.96
Spell: TypeAlias = dict[str, Any]
Facts: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Told:
    """One story as it went: the client's answers and log, the providers' book."""

    scenario: Scenario
    regime: Regime
    start_at: float
    answers: list[dict[str, Any]]
    book: dict[str, Any]
    log: list[str]


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request as a provider saw it; ``serial`` None for a probe."""

    at: float
    provider: str
    model: str
    serial: int | None

    def is_sick(self, spells: list[Spell]) -> bool:
        """Whether it went to something that was broken."""
        return any(
            self.provider == spell["provider"]
            and spell["model"] in {None, self.model}
            and spell["start"] <= self.at < _end(spell)
            for spell in spells
        )


@dataclass(slots=True)
class Tally:
    """One scenario and client over all rounds. ``asked`` to ``failed`` count decisions while broken.

    ``sends_to_sick`` counts decisions' requests, ``probes`` the client's own probes among the rest.
    """

    asked: int = 0
    valid: int = 0
    bad: int = 0
    late: int = 0
    failed: int = 0
    asked_in_all: int = 0
    valid_in_all: int = 0
    secs: list[float] = field(default_factory=list)
    sends_to_sick: list[int] = field(default_factory=list)
    probes_to_sick: list[int] = field(default_factory=list)
    requests: int = 0
    requests_to_others: int = 0
    spend_usd: float = 0.0
    detect_secs: list[float] = field(default_factory=list)
    failback_secs: list[float] = field(default_factory=list)
    log: list[str] = field(default_factory=list)

    def add(self, told: Told) -> None:
        """Fold one story in."""
        spells, last_only = told.book["spells"], told.scenario.last_only
        broken_at, mended_at = min(s["start"] for s in spells), max(map(_end, spells))
        answers = told.answers[-1:] if last_only else told.answers
        counted = [a for a in answers if last_only or broken_at <= a["at"] < mended_at]
        for answer in counted:
            setattr(self, answer["outcome"], getattr(self, answer["outcome"]) + 1)
            in_time = answer["outcome"] == "valid"
            self.secs.append(answer["secs"] if in_time else told.regime.deadline_secs)
        self.asked += len(counted)
        self.asked_in_all += len(answers)
        self.valid_in_all += sum(answer["outcome"] == "valid" for answer in answers)
        seen = _arrivals(told)
        if not any(spell["fault"] in UNSEEN for spell in spells):
            sick = [a for a in seen if a.is_sick(spells)]
            serials = {answer["serial"] for answer in answers}
            self.sends_to_sick.append(sum(a.serial in serials for a in sick))
            self.probes_to_sick.append(sum(a.serial is None for a in sick))
            self._time(answers, seen, spells)
        self.requests += len(seen)
        self.requests_to_others += sum(arrival.provider != PRIMARY for arrival in seen)
        self.spend_usd += _spend_usd(told.book["ledger"])
        self.log += told.log

    def _time(self, answers: list[dict[str, Any]], seen: list[Arrival], spells: list[Spell]) -> None:
        """When a decision first went round what was broken, and when one first came back to the primary."""
        broken_at, mended_at = min(s["start"] for s in spells), max(map(_end, spells))
        ways: dict[int | None, list[Arrival]] = {}
        for arrival in seen:
            ways.setdefault(arrival.serial, []).append(arrival)
        in_time = sorted((a for a in answers if a["outcome"] == "valid"), key=lambda answer: answer["at"])
        went = [(answer["at"], ways[answer["serial"]]) for answer in in_time if answer["serial"] in ways]
        around = (
            at - broken_at
            for at, arrivals in went
            if broken_at <= at < mended_at and not any(arrival.is_sick(spells) for arrival in arrivals)
        )
        back = (
            at - mended_at for at, arrivals in went if at >= mended_at and arrivals[0].provider == PRIMARY
        )
        self.detect_secs += [secs for secs in (next(around, None),) if secs is not None]
        self.failback_secs += [secs for secs in (next(back, None),) if secs is not None]

    def facts(self, oracle: Tally | None) -> Facts:
        """The figures, ready for JSON. Shares are of 1, money in dollars."""
        low, high = wilson(self.valid, self.asked)
        dearer = self.spend_usd / oracle.spend_usd if oracle and oracle.spend_usd else None
        return {
            "asked": self.asked,
            "valid": self.valid,
            "bad": self.bad,
            "late": self.late,
            "failed": self.failed,
            "valid_share": self.valid / self.asked if self.asked else None,
            "valid_share_low": low,
            "valid_share_high": high,
            "asked_in_all": self.asked_in_all,
            "valid_in_all": self.valid_in_all,
            "p50_secs": percentile(self.secs, 0.5) if self.secs else None,
            "p99_secs": percentile(self.secs, 0.99) if self.secs else None,
            "sends_to_sick": self.sends_to_sick,
            "probes_to_sick": self.probes_to_sick,
            "requests": self.requests,
            "requests_to_others": self.requests_to_others,
            "spend_usd": self.spend_usd,
            "spend_of_oracle": dearer,
            "detect_secs": self.detect_secs,
            "failback_secs": self.failback_secs,
        }


def wilson(hits: int, trials: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927): honest where all or none succeeded."""
    if not trials:
        return 0.0, 1.0
    share, spread = hits / trials, Z * Z / trials
    middle = (share + spread / 2) / (1 + spread)
    half = Z * math.sqrt(share * (1 - share) / trials + spread / (4 * trials)) / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)


def _end(spell: Spell) -> float:
    return math.inf if spell["end"] is None else spell["end"]


def _arrivals(told: Told) -> list[Arrival]:
    """Who was asked what since the story began, in order of time."""
    found = (
        Arrival(at, name, model, serial)
        for name, arrivals in told.book["arrivals"].items()
        for at, model, serial in arrivals
        if at >= told.start_at
    )
    return sorted(found, key=lambda arrival: arrival.at)


def _spend_usd(ledger: dict[str, dict[str, int]]) -> float:
    """What the clouds would bill at the price of their first model; the local one is free."""
    catalogue = Catalogue()
    return sum(
        catalogue.price(MODELS[name][0]).cost(Usage(book["input_tokens"], book["output_tokens"])) / 1e6
        for name, book in ledger.items()
        if name in CLOUDS
    )
