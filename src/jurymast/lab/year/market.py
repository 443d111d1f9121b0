"""The markets of a year and what models say of them: real crowd price and outcome, SIMULATED between."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from jurymast.domain.decision import Decision, Forecast, Rung
from jurymast.domain.market import Market, MarketSnapshot, MarketStatus
from jurymast.domain.status import EmergencyMode
from jurymast.exchange.books import BookMaker, step_at
from jurymast.exchange.paths import PricePath
from jurymast.exchange.questions import Question, as_market
from jurymast.intelligence.emergency import decision_id
from jurymast.lab.emulators.chance import uniform
from jurymast.lab.emulators.forecaster import Forecaster
from jurymast.lab.emulators.prompt import Prompt
from jurymast.lab.sim.places import Place
from jurymast.lab.world import QuestionOracle
from jurymast.policy.cached import rules_hash
from jurymast.policy.emergency import TABLE
from jurymast.policy.screening import screen
from jurymast.trading.settings import CycleSettings

ASKED_SECS: Final = CycleSettings().ask_again_secs
"""A market that is worth a question is asked about so often."""
HORIZON_SECS: Final = CycleSettings().secs_to_close_max
NORMAL: Final = TABLE[EmergencyMode.NORMAL]


class Markets:
    """Pure functions of the seed: any market at any time, and any model's opinion of it."""

    def __init__(self, questions: Sequence[Question], seed: int) -> None:
        self._seed = seed
        self._books = BookMaker(seed)
        oracle = QuestionOracle(questions, PricePath(seed))
        self._forecaster = Forecaster(oracle, seed)
        self._markets: dict[str, Market] = {each.ticker: as_market(each) for each in questions}
        self._hashes = {ticker: rules_hash(market) for ticker, market in self._markets.items()}

    def at(self, question: Question, now: datetime) -> MarketSnapshot:
        return MarketSnapshot(
            market=self._markets[question.ticker],
            status=MarketStatus.ACTIVE if now < question.resolves_at else MarketStatus.FINALIZED,
            book=self._books.book(question, step_at(now)),
            volume_24h=self._books.volume_24h(question, now),
            as_of=now,
        )

    def opinion(self, snapshot: MarketSnapshot, place: Place) -> Decision:
        """What ``place`` says of a market now, asked blind to its price."""
        belief = self._forecaster.believe(
            place.route.model, Prompt("", snapshot.ticker, snapshot.as_of)
        )  # fmt: skip
        return Decision(
            decision_id=decision_id(snapshot),
            ticker=snapshot.ticker,
            forecast=Forecast(
                belief.probability_pct, belief.low_pct, belief.high_pct, belief.base_rate_pct,
                belief.evidence_quality, belief.resolution_risk, (), "",
            ),
            rung=Rung.PRIMARY if place.spec.priority == 1 else Rung.FAILOVER,
            route=place.route,
            tier=place.spec.tier,
            served_model=place.route.model,
            mode=EmergencyMode.NORMAL,
            cost=0,
            secs=0.0,
            market_price=snapshot.book.mid,
            as_of=snapshot.as_of,
            decided_at=snapshot.as_of,
            reason="SIMULATED",
            simulated=True,
            rules_hash=self._hashes[snapshot.ticker],
            spread=snapshot.book.spread,
            volume_24h=snapshot.volume_24h,
        )  # fmt: skip

    def last_opinion(self, question: Question, answered_at: datetime, place: Place) -> Decision | None:
        """The last opinion before nobody answered any more; None when the market was not worth a question.

        Markets are asked about in turn, so it is up to ``ASKED_SECS`` older than the last answer to anything.
        """
        ago = ASKED_SECS * uniform(self._seed, "asked", question.ticker, answered_at)
        asked_at = answered_at - timedelta(seconds=ago)
        if not question.listed_at <= asked_at < question.resolves_at:
            return None
        snapshot = self.at(question, asked_at)
        return None if screen(snapshot, NORMAL, HORIZON_SECS) else self.opinion(snapshot, place)
