"""Ways of taking an outage. They share the seed, the prices, the outages and the forecasts.

| policy | while nobody answers | judged by |
|---|---|---|
| jurymast | the last opinion as an edge that fades, void once the market has moved; holds | the mode's row |
| always SKIP | nothing at all: no entry, no exit | the row of NORMAL |
| ignore the outage | the last forecast as if it were new, at full size, however old | the row of NORMAL |
| sell everything | as jurymast; sells all it holds when MINIMAL begins and while it lasts | the mode's row |
| never an outage | there is none: the ceiling | the row of NORMAL |

The day's loss calls for safer modes under every policy: it has nothing to do with outages. Everything else is
the bot's: screening, size, exits, limits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Final

from jurymast.domain.decision import Decision
from jurymast.domain.market import MarketSnapshot
from jurymast.domain.money import CONTRACT, PAYOUT, Micros
from jurymast.domain.order import OrderIntent
from jurymast.domain.portfolio import Exposure
from jurymast.domain.status import EmergencyMode, TradingState
from jurymast.intelligence.emergency import emergency_answer
from jurymast.lab.year.account import Account
from jurymast.lab.year.market import HORIZON_SECS
from jurymast.lab.year.outages import Status
from jurymast.policy import liquidation, risk
from jurymast.policy.cached import Opinions
from jurymast.policy.emergency import BASIS, TABLE, ModeRules, row_for
from jurymast.policy.exits import ExitPlan, ExitSettings, exit_for
from jurymast.policy.judges import NOTHING_SPENT, JudgeSettings, Trading, judged
from jurymast.policy.liquidation import LiquidationSettings
from jurymast.policy.quality import Belief
from jurymast.policy.screening import screen
from jurymast.policy.sizing import Declined, belief_of, size
from jurymast.trading.exits import exit_intent
from jurymast.trading.intents import entry_intent

CASH: Final[Micros] = 10_000 * PAYOUT
EXITS: Final = ExitSettings()
RISK: Final = risk.RiskSettings()
JUDGES: Final = JudgeSettings()
ALL_OF_IT: Final = LiquidationSettings(slice_max=10**9 * CONTRACT, slack=PAYOUT)
"""Whatever the book takes, at any price: what a panic does."""


class Old(Enum):
    """What becomes of the last opinion while nobody answers."""

    FADES = auto()
    COUNTS_AS_NEW = auto()
    NOTHING = auto()


@dataclass(frozen=True, slots=True)
class Policy:
    """A way of taking an outage; see the table above."""

    name: str
    ladder: bool = True
    old: Old = Old.FADES
    sells: bool = False
    outages: bool = True


JURYMAST: Final = Policy("jurymast")
POLICIES: Final = (
    JURYMAST,
    Policy("always SKIP", ladder=False, old=Old.NOTHING),
    Policy("ignore the outage", ladder=False, old=Old.COUNTS_AS_NEW),
    Policy("sell everything", sells=True),
    Policy("never an outage", ladder=False, old=Old.NOTHING, outages=False),
)


@dataclass(frozen=True, slots=True)
class Look:
    """One market at one time, as every policy sees it.

    ``fresh`` is what whoever answers says now, ``ceiling`` what the first choice would say, ``kept`` what was
    said last. ``worth``: whether ``fresh`` or ``ceiling`` could be worth an entry to anybody.
    """

    snapshot: MarketSnapshot
    event: str
    status: Status
    fresh: Decision | None = None
    ceiling: Decision | None = None
    kept: Decision | None = None
    fresh_worth: bool = False
    ceiling_worth: bool = False


class Trader:
    """One policy with money."""

    def __init__(self, policy: Policy, cash: Micros = CASH) -> None:
        self.policy = policy
        self.account = Account(cash)
        self._day_equity = cash
        self._recalled: dict[str, str] = {}

    def midnight(self) -> None:
        """A day begins: its loss is counted from here."""
        self._day_equity = self.account.equity

    def look(self, look: Look) -> None:
        """Leave, then enter, as the bot's cycle does."""
        held = self.account.position(look.snapshot.ticker) is not None
        if held:
            self.account.mark(look.snapshot)
        blind = self.policy.outages and look.status.blind
        if blind and self.policy.old is Old.NOTHING:
            return
        if not (held or blind or (look.fresh_worth if self.policy.outages else look.ceiling_worth)):
            return
        rules = TABLE[self._mode(look)]
        decision, worth = self._decision(look, rules, blind=blind)
        if self._leave(look, rules, decision):
            return
        if rules.entries and worth and decision is not None:
            self._enter(look, rules, decision)

    def _mode(self, look: Look) -> EmergencyMode:
        """The ladder's, for a policy that has one, or a safer one that the day's loss calls for."""
        equity = self.account.equity
        loss_bp = (self._day_equity - equity) * BASIS // self._day_equity if self._day_equity > 0 else 0
        floor = judged(NOTHING_SPENT, Trading(loss_bp=loss_bp), JUDGES).mode
        return floor.safest(look.status.mode) if self.policy.ladder else floor

    def _decision(self, look: Look, rules: ModeRules, *, blind: bool) -> tuple[Decision | None, bool]:
        """What we go by, and whether it may be worth an entry."""
        if not self.policy.outages:
            return (look.ceiling, look.ceiling_worth) if rules.ask_ai else (None, False)
        if not blind:
            return (look.fresh, look.fresh_worth) if rules.ask_ai else (None, False)
        if look.kept is None:
            return None, False
        if self.policy.old is Old.COUNTS_AS_NEW:
            return look.kept, True
        answer = emergency_answer(
            look.snapshot, Opinions((look.kept,)), rules, mode=rules.mode, why="SIMULATED",
            now=look.snapshot.as_of,
        )  # fmt: skip
        if not isinstance(answer, Decision):
            return None, False
        again = self._recalled.get(look.snapshot.ticker) == look.kept.decision_id
        return answer, not again

    def _leave(self, look: Look, rules: ModeRules, decision: Decision | None) -> bool:
        """Sell what a rule says to sell; whether one did."""
        snapshot = look.snapshot
        position = self.account.position(snapshot.ticker)
        if position is None:
            return False
        plan: ExitPlan | None = None
        if self.policy.sells and look.status.mode.severity >= EmergencyMode.MINIMAL.severity:
            sales, _ = liquidation.flatten([position], {snapshot.ticker: snapshot}, ALL_OF_IT)
            plan = sales[0].plan if sales else None
        else:
            belief: Belief | None = None
            live = decision is not None and (decision.cached is None or not rules.ask_ai)
            if live and decision is not None and snapshot.book.two_sided:
                belief = belief_of(decision, snapshot, rules)
            plan = exit_for(position, snapshot, self.account.equity, EXITS, belief, allowed=rules.exits)
        if plan is None:
            return False
        intent = exit_intent(position, snapshot, plan)
        exposure = self.account.exposure(snapshot.as_of)
        if self._allowed(intent, snapshot, exposure, rules):
            self.account.execute(intent, snapshot, look.status.mode, look.event)
        return True

    def _enter(self, look: Look, rules: ModeRules, decision: Decision) -> None:
        snapshot = look.snapshot
        cached = decision.cached is not None
        row = row_for(TABLE, rules.mode, cached=cached)
        if self.policy.ladder and look.status.share != 1.0:
            row = replace(row, size_multiple=row.size_multiple * look.status.share)
        if cached and look.kept is not None:
            self._recalled[snapshot.ticker] = look.kept.decision_id
        if screen(snapshot, row, HORIZON_SECS) is not None:
            return
        exposure = self.account.exposure(snapshot.as_of)
        sized = size(decision, snapshot, exposure, row)
        if isinstance(sized, Declined):
            return
        intent = entry_intent(decision, snapshot, sized, None)
        if self._allowed(intent, snapshot, exposure, row):
            self.account.execute(intent, snapshot, look.status.mode, look.event)

    @staticmethod
    def _allowed(intent: OrderIntent, snapshot: MarketSnapshot, exposure: Exposure, row: ModeRules) -> bool:
        state = TradingState.ACTIVE
        return risk.check(intent, snapshot, exposure, row, state, RISK, orders_last_minute=0).allowed
