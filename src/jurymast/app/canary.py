"""Puts the canary's questions to each model that may open risk, now and then, and tells what came of it.

The questions are the bundled, resolved ones with the lowest hash of their ticker: chosen by nothing that has
to do with price, outcome or model, asked as of the day after they were listed, without a price like any
other. One at a time and only while the day's money is no concern: what is due may wait.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from datetime import timedelta
from functools import lru_cache
from typing import Final

from jurymast.app.wiring import Bot
from jurymast.domain.decision import Forecast
from jurymast.domain.errors import ProviderError
from jurymast.domain.events import CanaryFinished
from jurymast.domain.market import Book, MarketSnapshot, MarketStatus
from jurymast.domain.money import Micros
from jurymast.domain.provider import AIRequest, ProviderName, Route, Tier
from jurymast.exchange.questions import Question, as_market, background_of, load_bundle
from jurymast.intelligence.prompts import forecast_request
from jurymast.intelligence.provider_manager import BudgetSpentError
from jurymast.journal.queries import JournalReader
from jurymast.policy import canary as rules
from jurymast.policy.canary import NEW, QUESTIONS, Answers, Canary
from jurymast.policy.parsing import parse_forecast

LOOK_SECS: Final = 60.0
AGAIN_SECS: Final = 3_600.0
"""After a run that came to nothing."""
FAILURES_MAX: Final = 5
"""Answers that fail before a run is given up: the route has other troubles."""


class CanaryKeeper:
    """Remembers every model's base, from the journal on."""

    def __init__(self, bot: Bot) -> None:
        self._bot = bot
        self._settings = bot.config.models.canary
        self._models: dict[tuple[ProviderName, str], Canary] = {}
        self._served: dict[Route, str] = {}
        self._again_at: dict[Route, float] = {}
        with JournalReader(bot.config.journal_path) as journal:
            for recorded in journal.scan([CanaryFinished]):
                if isinstance(event := recorded.event, CanaryFinished):
                    self._fold(event)

    async def run(self) -> None:
        """Ask whoever is due, again and again. Ends at once when canaries are off."""
        while self._settings.every_secs:
            await self.look()
            await self._bot.clock.sleep(LOOK_SECS)

    async def look(self) -> None:
        """Put the questions to every model that is due and well."""
        now = self._bot.clock.monotonic()
        for record in list(self._bot.fallback.core.health.records.values()):
            route = record.route
            waits = now < self._again_at.get(route, now)
            if record.spec.tier is Tier.SMALL or not record.health.usable or waits:
                continue
            if rules.due(self._of(route), self._bot.clock.utc_now(), self._settings):
                await self._ask(route)

    def _of(self, route: Route) -> Canary:
        return self._models.get((route.provider, self._served.get(route, route.model)), NEW)

    async def _ask(self, route: Route) -> None:
        """One run: all questions, or as many as were answered before it was given up."""
        manager, answers = self._bot.fallback.providers, list[int | None]()
        cost: Micros = 0
        served, why = Counter[str](), ""
        timeout_secs = self._bot.fallback.settings.work.attempt_secs_max
        for request, source_ids in canary_requests():
            if not manager.at_ease(request, route):
                why = "the day's money is needed elsewhere"
                break
            try:
                response = await manager.make_request(request, route, timeout_secs=timeout_secs)
            except BudgetSpentError as spent:
                why = str(spent)
                break
            except ProviderError as error:
                cost += error.cost
                answers.append(None)
                if answers.count(None) > FAILURES_MAX:
                    why = str(error)
                    break
                continue
            cost += response.cost
            served[response.served_model] += 1
            said = parse_forecast(response.content, source_ids)
            answers.append(said.probability_pct if isinstance(said, Forecast) else None)
        if not why and answers.count(None) > FAILURES_MAX:
            why = f"{answers.count(None)} of {len(answers)} questions brought no forecast"
        if len(served) > 1:
            why = f"several models answered: {', '.join(served)}"
        self._tell(route, next(iter(served), route.model), tuple(answers), cost, why)

    def _tell(self, route: Route, served: str, answers: Answers, cost: Micros, why: str) -> None:
        """Judge a run, journal it, and let size follow."""
        canary = self._models.get((route.provider, served), NEW)
        verdict = rules.Verdict(None) if why else rules.judge(canary, answers, self._settings)
        event = CanaryFinished(
            at=self._bot.clock.utc_now(),
            route=route,
            served=served,
            answers=() if why else answers,
            shift=verdict.shift,
            changed=verdict.changed,
            cost=cost,
            detail=why,
        )
        if why:
            self._again_at[route] = self._bot.clock.monotonic() + AGAIN_SECS
        self._bot.recorder.emit(event)
        self._bot.client.weighing.records.apply(event)
        self._fold(event)

    def _fold(self, event: CanaryFinished) -> None:
        key = (event.route.provider, event.served)
        verdict = rules.Verdict(event.shift, event.changed)
        self._models[key] = rules.folded(self._models.get(key, NEW), event.answers, verdict, event.at)
        self._served[event.route] = event.served
        self._bot.fallback.doubt(event.served, self._models[key].doubted)


def canary_questions() -> tuple[Question, ...]:
    """The bundled questions with the lowest hash of their ticker."""

    def place(question: Question) -> str:
        return hashlib.sha256(question.ticker.encode()).hexdigest()

    return tuple(sorted(load_bundle(), key=place)[:QUESTIONS])


@lru_cache(maxsize=1)
def canary_requests() -> tuple[tuple[AIRequest, frozenset[str]], ...]:
    """Each question as it is put to a model, with the source ids it may cite."""
    requests = []
    for question in canary_questions():
        at = question.listed_at + timedelta(days=1)
        snapshot = MarketSnapshot(as_market(question), MarketStatus.ACTIVE, Book((), ()), 0, at)
        evidence = background_of(question)
        requests.append(
            (forecast_request(snapshot, evidence), frozenset(item.source_id for item in evidence))
        )
    return tuple(requests)
