"""The simulated world as an oracle: what the embedded exchange's markets are worth and become."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from jurymast.domain.probability import logit
from jurymast.exchange.paths import PricePath
from jurymast.exchange.questions import Question


class QuestionOracle:
    """``lab.oracle.Oracle`` over the questions of the embedded exchange and its price paths."""

    def __init__(self, questions: Sequence[Question], path: PricePath) -> None:
        self._questions = {question.ticker: question for question in questions}
        self._path = path

    def log_odds(self, ticker: str, as_of: datetime) -> float | None:
        """The fundamental: a model that reads the news sees no mispricing of the book."""
        question = self._questions.get(ticker)
        return None if question is None else self._path.fundamental(question, as_of)

    def outcome(self, ticker: str) -> bool | None:
        question = self._questions.get(ticker)
        return None if question is None else question.outcome

    def calibration_sample(self) -> Sequence[tuple[float, bool]]:
        return [(logit(q.crowd_probability), q.outcome) for q in self._questions.values()]
