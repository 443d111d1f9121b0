"""Who decides a market, in which order, and what is said of it.

  1. ours          whoever of the providers answers, within its share of the time
  2. the old one   the caller's old client, when it has one and ours has had no answer
  3. emergency     an opinion of before as far as it still counts
  4. SKIP          with every reason

While a move is under way the phase says who is asked first (see jurymast.policy.rollout), and the other is
asked beside it, off the decision path. What a person demands (halt, pause, a mode, an emergency) and a spent
budget end the flow at once: no old client is a way around them. The whole flow keeps one deadline, and
nothing is raised.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from src.intelligence.fallback_manager import NO_ANSWER
from src.jurymast_adapter import markets
from src.jurymast_adapter.decisions import converted, skip
from src.jurymast_adapter.layer import Layer
from src.jurymast_adapter.legacy import Heard, ask_old, kept
from src.jurymast_adapter.types import TradingDecision

from jurymast.domain.errors import JurymastError
from jurymast.domain.market import Side
from jurymast.domain.money import USD
from jurymast.domain.rollout import Comparison, Decider, Phase, Rollout, Verdict
from jurymast.policy.rollout import Scope, compares, decider

DECISION_SECS: Final = 60.0
OURS_SHARE: Final = 0.6
"""Of the time, where an old client may have to answer after us."""
BESIDE_MAX: Final = 4
"""Comparisons under way at once; more are left out."""
FULL: Final = Rollout(reason="no old client: nothing to move from")
OURS, THEIRS, NOBODY = "enhanced", "legacy", "emergency"

Manager = Callable[..., Awaitable[dict[str, Any] | None]]
_log = logging.getLogger("jurymast.adapter")


@dataclass(frozen=True, slots=True)
class Question:
    """What the host asks."""

    market: Mapping[str, Any]
    portfolio: Any
    news: str
    prediction: Any


@dataclass(slots=True)
class Deciding:
    """Who decided last, and why it was not ours. For the status."""

    by: str = OURS
    why: str = "no decision was asked for yet"


class Flow:
    """The flow of one client. ``ask_ours`` is its manager's ``get_fallback_decision``, looked up at each
    question."""

    def __init__(self, layer: Layer, ask_ours: Manager) -> None:
        self._layer = layer
        self._ask_ours = ask_ours
        self._kept: Any = None
        self._looked = False
        self._beside: set[asyncio.Task[Any]] = set()
        self.handed: Any = None
        """An old client that the caller has handed over."""
        self.deciding = Deciding()

    async def decide(
        self, question: Question, *, enhanced: bool, hosts: Callable[[], Any]
    ) -> TradingDecision:
        """A decision, within the deadline. ``hosts`` makes what the kept old client is made of."""
        ends = time.monotonic() + self.secs
        old = self._old(hosts)
        if not enhanced:
            return await self._theirs_alone(question, old, ends, "the multi-provider layer is off")
        rollout = FULL if old is None else self._layer.rollout()
        if self._decider(rollout, question) is Decider.THEIRS and not self._layer.barred():
            return await self._theirs_first(question, old, rollout, ends)
        return await self._ours_first(question, old, rollout, ends)

    @property
    def secs(self) -> float:
        """For one decision, all told."""
        try:
            return self._layer.setup.config.trading.decision_deadline_secs
        except JurymastError:
            return DECISION_SECS

    async def close(self) -> None:
        """Give up what runs beside."""
        left = [task for task in self._beside if not task.done()]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    # Ours

    async def _ours_first(
        self, question: Question, old: Any, rollout: Rollout, ends: float
    ) -> TradingDecision:
        answer, secs = await self._ours(question, ends, share=1.0 if old is None else OURS_SHARE)
        beside = old is not None and compares(rollout, self._scope, markets.ticker_of(question.market))
        if not _unanswered(answer):
            self._say(*_source(answer))
            if beside:
                verdict = _verdict(answer, secs)
                self._run_beside(self._compare_theirs(question, old, rollout, verdict))
            return converted(answer)
        why = str(answer.get("reasoning", ""))
        if old is None:
            self._say(NOBODY, why)
            return converted(answer)
        heard = await self._theirs(question, old, ends)
        if beside:  # as often as when somebody answers, or failures would count for more than they are
            self._note(question, rollout, Decider.OURS, _verdict(answer, secs), heard.verdict)
        if heard.decision is None:
            self._say(NOBODY, f"{why}; {heard.why}")
            return converted({**answer, "reasoning": f"{why}; {heard.why}"})
        self._say(THEIRS, why)
        return _told(heard.decision, f"[LEGACY] after {why}: {heard.decision.reasoning}")

    async def _ours(self, question: Question, ends: float, *, share: float) -> tuple[dict[str, Any], float]:
        started = time.monotonic()
        data = dict(question.market)
        if question.news:
            data["news_summary"] = question.news
        secs = max(ends - started, 0.0) * share
        try:
            async with asyncio.timeout(
                secs + 1.0
            ):  # its own bound comes first; this is for one that has none
                answer = await self._ask_ours(
                    market_data=data, portfolio_data=question.portfolio, timeout=secs
                )
        except Exception as error:  # the flow goes on, whatever broke in here
            answer = skip(
                f"{type(error).__name__}: {error}", provider="emergency", abstained="internal_error"
            )
        if not isinstance(answer, dict):
            answer = skip("no decision was given", provider="emergency", abstained="internal_error")
        return answer, time.monotonic() - started

    # Theirs

    async def _theirs_first(
        self, question: Question, old: Any, rollout: Rollout, ends: float
    ) -> TradingDecision:
        ours = asyncio.ensure_future(self._ours(question, ends, share=1.0))
        heard = await self._theirs(question, old, ends)
        if heard.decision is None:
            answer, secs = await ours
            self._note(question, rollout, Decider.THEIRS, _verdict(answer, secs), heard.verdict)
            if rollout.phase is Phase.SHADOW or _unanswered(answer):
                self._say(NOBODY, heard.why)
                return converted(skip(f"{rollout.phase}: {heard.why}", provider="legacy"))
            self._say(OURS, heard.why)
            return converted(answer)
        self._run_beside(self._compare_ours(question, ours, rollout, heard.verdict))
        self._say(THEIRS, f"phase {rollout.phase}: {rollout.reason}")
        return _told(heard.decision, f"[LEGACY] {heard.decision.reasoning}")

    async def _theirs_alone(self, question: Question, old: Any, ends: float, why: str) -> TradingDecision:
        if old is None:
            self._say(NOBODY, f"{why}, and no old client was handed over")
            return converted(skip(f"no trade: {self.deciding.why}"))
        if barred := self._layer.barred():
            self._say(NOBODY, barred)
            return converted(skip(f"no trade: {barred}", provider="operator"))
        heard = await self._theirs(question, old, ends)
        self._say(THEIRS if heard.decision else NOBODY, heard.why or why)
        if heard.decision is None:
            return converted(skip(f"no trade: {heard.why}", provider="legacy"))
        return _told(heard.decision, f"[LEGACY] {heard.decision.reasoning}")

    async def _theirs(self, question: Question, old: Any, ends: float) -> Heard:
        left = ends - time.monotonic()
        return await ask_old(
            old, question.market, question.portfolio, question.news, question.prediction, left
        )

    def _old(self, hosts: Callable[[], Any]) -> Any:
        """The handed over client, or the kept one while a move is under way."""
        if self.handed is not None:
            return self.handed
        if self._layer.rollout().phase is Phase.FULL:
            return None
        if not self._looked:
            self._looked = True
            self._kept = kept(*hosts())
        return self._kept

    # The comparison

    @property
    def _scope(self) -> Scope:
        try:
            return self._layer.setup.config.rollout.scope
        except JurymastError:
            return Scope()

    def _decider(self, rollout: Rollout, question: Question) -> Decider:
        data = question.market
        value = data.get("trade_value")
        at_risk = (
            round(value * USD) if isinstance(value, int | float) else markets.balance(question.portfolio)
        )
        category = str(data.get("category") or "")
        return decider(rollout, self._scope, ticker=markets.ticker_of(data), category=category, value=at_risk)

    async def _compare_theirs(self, question: Question, old: Any, rollout: Rollout, ours: Verdict) -> None:
        heard = await self._theirs(question, old, time.monotonic() + self.secs)
        self._note(question, rollout, Decider.OURS, ours, heard.verdict)

    async def _compare_ours(
        self,
        question: Question,
        ours: asyncio.Future[tuple[dict[str, Any], float]],
        rollout: Rollout,
        theirs: Verdict,
    ) -> None:
        answer, secs = await ours
        self._note(question, rollout, Decider.THEIRS, _verdict(answer, secs), theirs)

    def _note(
        self, question: Question, rollout: Rollout, by: Decider, ours: Verdict, theirs: Verdict
    ) -> None:
        try:
            bid, ask = markets.prices(question.market)
        except markets.Unusable:
            return
        ticker = markets.ticker_of(question.market)
        self._layer.compare(Comparison(ticker, (bid + ask) // 2, rollout.phase, by, ours, theirs))

    def _run_beside(self, work: Any) -> None:
        if len(self._beside) >= BESIDE_MAX:
            work.close()
            return
        task = asyncio.ensure_future(work)
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)

    def _say(self, by: str, why: str) -> None:
        if by != self.deciding.by:
            _log.warning("decisions come from %s now: %s", by, why)
        self.deciding = Deciding(by, why)


def _unanswered(answer: Mapping[str, Any]) -> bool:
    """Whether no provider has answered and nobody has forbidden to ask elsewhere."""
    if answer.get("demanded"):
        return False
    return answer.get("abstained") in NO_ANSWER or bool(answer.get("cached"))


def _source(answer: Mapping[str, Any]) -> tuple[str, str]:
    """Who decided and why, for the status."""
    if answer.get("fallback_level") == "provider":
        return OURS, f"{answer.get('provider')} answered"
    return NOBODY, str(answer.get("reasoning", ""))


def _verdict(answer: Mapping[str, Any], secs: float) -> Verdict:
    """What ours said, for the comparison."""
    cost = answer.get("cost_usd")
    micros = round(cost * USD) if isinstance(cost, int | float) else None
    reason = str(answer.get("abstained") or "")
    if reason in NO_ANSWER:
        return Verdict(None, secs, micros, str(answer.get("reasoning", reason))[:500])
    side = Side(str(answer["side"]).lower()) if answer.get("action") == "BUY" else None
    return Verdict(side, secs, micros, provider=str(answer.get("provider", "")))


def _told(decision: TradingDecision, reasoning: str) -> TradingDecision:
    decision.reasoning = reasoning
    return decision
