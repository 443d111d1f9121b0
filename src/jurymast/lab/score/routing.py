"""Whom to ask first: priority, value and the learned router on the same questions. Models SIMULATED.

A world has a chain in the operator's order, what its models really are, and outages. Questions come one by
one, each router asks the first of its order that is not out, and what was said is scored when ``LAG`` more
have come, as if markets took so long to resolve. One question in ``SHADOW_EVERY`` is put to one more route in
shadow: to the one unheard for longest, by the learned router to the one that might be best. Everything but
the order is the same for all: records, weights, size, prices, luck.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Final

from jurymast.domain.decision import ForecastRecord, Weight
from jurymast.domain.events import ForecastNoted, ForecastScored
from jurymast.domain.money import USD, Micros
from jurymast.domain.provider import ProviderName, Route, Tier
from jurymast.exchange.questions import Question
from jurymast.lab.emulators.chance import uniform
from jurymast.lab.score.models import Asked, Said, ask
from jurymast.lab.score.policies import nobody, record_of, weighed
from jurymast.lab.score.report import Resampled, Tally, ranged
from jurymast.policy.learned import LearnedWeights, curiosity
from jurymast.policy.records import ForecastRecords
from jurymast.policy.routing import RouteSpec
from jurymast.policy.value import RankBy, Standing, by_priority, placed

LAG: Final = 60
SHADOW_EVERY: Final = 20
"""A shadow question in so many: a twentieth, within the 2 to 5 % that are recommended."""
LOOK_EVERY: Final = 50
"""Questions between two looks at outcomes and the order."""
ROUNDS: Final = 2
"""Times the questions are gone through, each with other luck and as other events."""
BANKROLL: Final[Micros] = 2_000 * USD
OUT: Final = 0.15

_GROK = Route(ProviderName.XAI, "grok-4.7")
_TERRA = Route(ProviderName.OPENAI, "gpt-6.1-terra")
_SOL = Route(ProviderName.OPENAI, "gpt-6.1-sol")
_SONNET = Route(ProviderName.ANTHROPIC, "claude-sonnet-5-5")
_HAIKU = Route(ProviderName.ANTHROPIC, "claude-haiku-5-5")
_LOCAL = Route(ProviderName.LOCAL, "llama3.1:8b")


@dataclass(frozen=True, slots=True)
class World:
    """A chain in order of priority. From ``falls_at`` on, a share of the way, the first of it answers as
    ``as_``."""

    name: str
    chain: tuple[Route, ...]
    falls_at: float = 1.0
    as_: Route = _HAIKU


WORLDS: Final = (
    World("strong, mid, small, as operators list them", (_GROK, _TERRA, _HAIKU, _LOCAL)),
    World("mid before strong: listed the wrong way", (_TERRA, _GROK, _HAIKU, _LOCAL)),
    World("three strong ones, the dear one first", (_SONNET, _SOL, _GROK, _LOCAL)),
    World("the first becomes a small one halfway", (_GROK, _SOL, _TERRA, _LOCAL), 0.5),
)


@dataclass(slots=True)
class Outcome:
    """What a router came to in one world. ``firsts`` counts who stood first when a question came."""

    tally: Tally
    firsts: dict[Route, int]


class Router:
    """One way of ordering, with the records that it has made."""

    def __init__(
        self,
        by: RankBy,
        world: World,
        costs: dict[Route, Micros],
        tiers: dict[Route, Tier],
        seed: int,
    ) -> None:
        self.by = by
        self.records = ForecastRecords()
        self._learned = LearnedWeights(self.records)
        self._specs = [
            RouteSpec(route, priority=place + 1, tier=tiers[route]) for place, route in enumerate(world.chain)
        ]
        self._costs = costs
        self._chance = Random(f"curiosity {seed}")
        self._heard = dict.fromkeys(world.chain, -1)
        self._pending: deque[tuple[ForecastRecord, bool]] = deque()
        self._orders: dict[str, tuple[Route, ...]] = {}

    def order(self, number: int, category: str) -> tuple[Route, ...]:
        """Who is asked, in order, all being well."""
        if number % LOOK_EVERY == 0:
            self._settle()
            self._orders.clear()
        category = category if self.by is RankBy.LEARNED else ""
        if category not in self._orders:
            self._orders[category] = tuple(each.route for each in self._ranked(category))
        return self._orders[category]

    def shadow(self, number: int, answered: Route | None) -> Route | None:
        """Who is asked in shadow beside this question, if anyone is due."""
        if number % SHADOW_EVERY:
            return None
        others = [spec for spec in self._specs if spec.route != answered and spec.tier is not Tier.SMALL]
        ahead: dict[Route, float] = {}
        if self.by is RankBy.LEARNED:
            scores = {spec.route: self._chance.gauss(0.0, 1.0) for spec in others}
            ahead = curiosity({spec.route: self.weight(spec, "") for spec in others}, scores)
        routes = [spec.route for spec in others]
        return min(routes, key=lambda r: (-ahead.get(r, 0.0), self._heard[r]), default=None)

    def weight(self, spec: RouteSpec, category: str) -> Weight:
        source = self._learned if self.by is RankBy.LEARNED else self.records
        return source.weight(spec.route.model, spec.tier, category)

    def hear(self, number: int, asked: Asked, said: Said, weight: Weight, event: str) -> None:
        """Note a forecast."""
        self._heard[said.route] = number
        found = record_of(asked, said)
        record = replace(found, ticker=f"{event}/{found.ticker}", event_ticker=event, weight=weight.used)
        self.records.apply(ForecastNoted(at=record.as_of, record=record))
        self._pending.append((record, asked.yes))

    def _settle(self) -> None:
        """Tell what became of forecasts that are more than ``LAG`` old."""
        while len(self._pending) > LAG:
            told, yes = self._pending.popleft()
            self.records.apply(ForecastScored(at=told.as_of, record=told, yes=yes))

    def _ranked(self, category: str) -> Iterable[Any]:
        if self.by is RankBy.PRIORITY:
            return by_priority(self._specs)
        standings = [
            Standing(spec, self.weight(spec, category), self._costs[spec.route]) for spec in self._specs
        ]
        return placed(standings, BANKROLL, 0.0)


def play(world: World, questions: Sequence[Question], seed: int) -> dict[RankBy, tuple[Outcome, Router]]:
    """Every router through one world, with the same questions, luck and outages."""
    stream = _stream(world, questions, seed)
    first = stream[0][1]
    costs = {said.route: said.cost for said in first.said}
    tiers = {said.route: said.tier for said in first.said}
    return {by: _through(Router(by, world, costs, tiers, seed), stream, seed) for by in RankBy}


def _stream(world: World, questions: Sequence[Question], seed: int) -> list[tuple[str, Asked]]:
    """Questions in the order in which they come, with the event that each is of."""
    stream: list[tuple[str, Asked]] = []
    for turn in range(ROUNDS):
        chain = tuple(dict.fromkeys((*world.chain, world.as_)))
        asked = ask(questions, seed * ROUNDS + turn, chain)
        asked.sort(key=lambda each: uniform(seed, "order", turn, each.question.ticker))
        stream += [(f"{turn}/{each.question.event_ticker}", each) for each in asked]
    falls = int(len(stream) * world.falls_at)
    return [
        (event, _fallen(each, world) if number >= falls else each)
        for number, (event, each) in enumerate(stream)
    ]


def _fallen(asked: Asked, world: World) -> Asked:
    """The same question where the first of the chain answers as another, under its own name and price."""
    as_ = next(said for said in asked.said if said.route == world.as_)
    said = tuple(
        replace(each, forecast=as_.forecast) if each.route == world.chain[0] else each for each in asked.said
    )
    return replace(asked, said=said)


def _through(router: Router, stream: Sequence[tuple[str, Asked]], seed: int) -> tuple[Outcome, Router]:
    outcome = Outcome(Tally(), {})
    for number, (event, asked) in enumerate(stream):
        order = router.order(number, asked.question.category)
        outcome.firsts[order[0]] = outcome.firsts.get(order[0], 0) + 1
        by_route = {said.route: said for said in asked.said}
        answering = next((r for r in order if uniform(seed, "out", number, str(r)) >= OUT), None)
        result, shadow_cost = nobody(asked), 0
        if answering is not None:
            said, category = by_route[answering], asked.question.category
            weight = router.records.weight(said.route.model, said.tier, category)
            first = by_route[order[0]]
            instead = router.records.weight(first.route.model, first.tier, category)
            result = weighed(asked, said, weight, None if answering == order[0] else instead)
            router.hear(number, asked, said, weight, event)
        shadow = router.shadow(number, answering)
        if shadow is not None:
            said = by_route[shadow]
            weight = router.records.weight(said.route.model, said.tier)
            router.hear(number, asked, said, weight, event)
            shadow_cost = said.cost
        outcome.tally.add(
            asked.question.event_ticker, asked.yes, replace(result, cost=result.cost + shadow_cost)
        )
    return outcome, router


def figures(questions: Sequence[Question], *, seed: int, seeds: int) -> dict[str, Any]:
    """Every world: each router, and how far value and learned are ahead of priority, with 95 % intervals."""
    resampled = Resampled(sorted({question.event_ticker for question in questions}))
    found: dict[str, Any] = {}
    for world in WORLDS:
        tallies = {by: Outcome(Tally(), {}) for by in RankBy}
        for each in range(seed, seed + seeds):
            for by, (outcome, _) in play(world, questions, each).items():
                _merge(tallies[by], outcome)
        found[world.name] = {
            by.value: {
                "log_loss": resampled.interval(tallies[by].tally.by_event, 1),
                "profit_usd": resampled.interval(tallies[by].tally.by_event, 2, total=seeds),
                "cost_usd": tallies[by].tally.cost / USD / seeds,
                "first": {
                    str(route): count / tallies[by].tally.count for route, count in tallies[by].firsts.items()
                },
                "ahead": _ahead(tallies[by].tally, tallies[RankBy.PRIORITY].tally, resampled, seeds),
            }
            for by in RankBy
        }
    return {"simulated": True, "seed": seed, "seeds": seeds, "rounds": ROUNDS, "worlds": found}


def _merge(into: Outcome, one: Outcome) -> None:
    for event, row in one.tally.by_event.items():
        sums = into.tally.by_event.setdefault(event, [0.0] * len(row))
        for place, value in enumerate(row):
            sums[place] += value
    into.tally.cost, into.tally.count = into.tally.cost + one.tally.cost, into.tally.count + one.tally.count
    for route, count in one.firsts.items():
        into.firsts[route] = into.firsts.get(route, 0) + count


def _ahead(ours: Tally, theirs: Tally, resampled: Resampled, seeds: int) -> dict[str, Any]:
    """Log loss saved a question, and profit gained in a run, against priority; above 0 is ahead."""
    rows = {
        event: [row[1] - ours.by_event[event][1], ours.by_event[event][2] - row[2], row[3]]
        for event, row in theirs.by_event.items()
    }
    return {
        "log_loss": resampled.interval(rows, 0),
        "profit_usd": resampled.interval(rows, 1, total=seeds),
    }


def table(facts: dict[str, Any]) -> str:
    """The same for a person."""
    lines = [
        f"SIMULATED models; real questions and outcomes; {facts['seeds']} seeds of {facts['rounds']} rounds."
    ]
    for world, routers in facts["worlds"].items():
        lines += [
            "",
            f"{world}: log loss, profit $ and AI $ of a run; ahead of priority in log loss, profit $",
        ]
        for by, its in routers.items():
            route, share = max(its["first"].items(), key=lambda item: item[1])
            ahead = ", ".join(
                [ranged(its["ahead"]["log_loss"], "+.4f"), ranged(its["ahead"]["profit_usd"], "+,.0f")]
            )
            lines.append(
                f"  {by:<9}{its['log_loss']['mean']:>7.4f}{ranged(its['profit_usd'], '+,.0f'):>26}"
                f"{its['cost_usd']:>7.2f}  {'' if by == 'priority' else ahead:<56} {route} first {share:.0%}"
            )
    return "\n".join(lines)
