"""Settings of what opinions are worth and when others are bought."""

from __future__ import annotations

from dataclasses import dataclass

from jurymast.app.settings import bounded, documented
from jurymast.domain.money import USD
from jurymast.policy.second import SecondSettings

DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class QualitySection:
    """What opinions are worth. See docs/policies/quality.md."""

    look_secs: float = bounded(
        60.0, low=0.1, high=DAY, unit="s", doc="between two looks at what became of forecasts"
    )
    trusted: tuple[str, ...] = documented((), doc="models that are not stopped, whatever harm they did")
    second_opinions: bool = documented(
        False, doc="ask the model that counts most too, where that is worth more than it costs"
    )
    negated_questions: bool = documented(False, doc="before larger trades, ask the model the negation too")
    bankroll_usd: int = bounded(
        2_000, low=1, high=10_000_000, unit="USD", doc="that what an opinion is worth is reckoned on"
    )
    negate_from_usd: int = bounded(
        20, low=0, high=1_000_000, unit="USD", doc="stake, on that bankroll, from which the negation is asked"
    )

    @property
    def second(self) -> SecondSettings:
        return SecondSettings(
            second=self.second_opinions,
            negate=self.negated_questions,
            bankroll=self.bankroll_usd * USD,
            negate_from=self.negate_from_usd * USD,
        )
