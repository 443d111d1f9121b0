"""What happened, as facts. The journal holds these and nothing else; all state can be folded from them.

Every event has ``at`` (UTC). ``decision_id`` threads the rows of one decision from the question to the
fill, ``ticker`` those of one market. Adding an optional field is safe; any other change needs a new
schema version of the journal. Facts about the running program are in ``operation.py``, and found here too.
"""

from __future__ import annotations

from dataclasses import dataclass

from jurymast.domain.decision import Abstain, Attempt, Decision, ForecastRecord
from jurymast.domain.event import Event as Event
from jurymast.domain.money import Micros
from jurymast.domain.operation import AlertTried as AlertTried
from jurymast.domain.operation import CycleFinished as CycleFinished
from jurymast.domain.operation import DemandsChanged as DemandsChanged
from jurymast.domain.operation import FaultInjected as FaultInjected
from jurymast.domain.operation import RunStarted as RunStarted
from jurymast.domain.operation import RunStopped as RunStopped
from jurymast.domain.operation import SettingsReloaded as SettingsReloaded
from jurymast.domain.operation import WatchdogFired as WatchdogFired
from jurymast.domain.order import Fill, Order, OrderIntent, Settlement
from jurymast.domain.provider import ModelNotice, ProviderName, RankedRoute, Route
from jurymast.domain.rollout import Comparison, Phase
from jurymast.domain.status import EmergencyMode, ProviderStatus, RouteState, TradingState


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled(Event):
    """Our books were compared with the exchange's, which won. ``differences`` lists what was corrected."""

    orders: int
    positions: int
    cash: Micros
    differences: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketScreened(Event):
    """A cheap filter dropped a market before any AI money was spent. Written when the reason changes."""

    reason: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionMade(Event):
    """The AI layer gave a usable forecast."""

    decision: Decision


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionAbstained(Event):
    """The AI layer gave an explicit non-decision."""

    abstain: Abstain


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastNoted(Event):
    """A model's first forecast of a market: it is scored when the market resolves."""

    record: ForecastRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastScored(Event):
    """The market of a noted forecast has resolved. ``yes`` is None where it was void: that proves nothing."""

    record: ForecastRecord
    yes: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpinionStopped(Event):
    """A model's opinions have done harm beyond doubt: they count for nothing from here on."""

    model: str
    evidence: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondOpinionGiven(Event):
    """Another provider was asked the same before money was risked, or the same one the negated question.
    ``worth`` in micro-dollars was expected of it; ``probability_pct`` is None without an answer."""

    route: Route
    negated: bool
    probability_pct: int | None
    detail: str
    worth: Micros
    secs: float
    cost: Micros
    estimated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeDeclined(Event):
    """A forecast did not become an order: which gate said no, and the numbers it looked at."""

    gate: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderIntended(Event):
    """Durable before the order leaves: after a crash this row says what may be on the exchange."""

    intent: OrderIntent


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderChanged(Event):
    """The exchange reported an order: acknowledged, filled further, cancelled."""

    order: Order


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRefused(Event):
    """The exchange rejected an intent, or it was found never to have arrived."""

    client_order_id: str
    code: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderUnresolved(Event):
    """The outcome of a send is unknown; nothing more is sent for this market until it is known."""

    client_order_id: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderFilled(Event):
    """One execution, keyed by the exchange's fill id."""

    fill: Fill


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionSettled(Event):
    """A market resolved and paid. ``pnl`` is revenue less what the position had cost."""

    settlement: Settlement
    pnl: Micros


@dataclass(frozen=True, slots=True, kw_only=True)
class EntriesWithdrawn(Event):
    """Resting orders were taken back, and the list was read empty twice. ``count`` of them were seen resting,
    ``tries`` requests took ``secs``. ``everything`` includes orders of other hands."""

    reason: str
    count: int
    tries: int
    secs: float
    everything: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WithdrawalDelayed(Event):
    """Resting orders should be gone and are not, or nobody knows; it goes on. ``left`` as last read."""

    reason: str
    left: int
    tries: int
    secs: float
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeChanged(Event):
    """Judgement got better or worse."""

    old: EmergencyMode
    new: EmergencyMode
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeShareChanged(Event):
    """Entries are made at another share of the full size: a quarter at first when judgement is back."""

    old: float
    new: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChanged(Event):
    """What orders may do has changed."""

    old: TradingState
    new: TradingState
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteChanged(Event):
    """Health of a route changed."""

    route: Route
    old: RouteState
    new: RouteState
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderChanged(Event):
    """Health of a provider, as people see it, changed."""

    provider: ProviderName
    old: ProviderStatus
    new: ProviderStatus
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeChanged(Event):
    """What several providers stand behind came under suspicion, or was cleared."""

    edge: str
    suspect: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutesRanked(Event):
    """In which order routes of equal health are asked from now on, and why; of ``category`` if not of all."""

    by: str
    order: tuple[RankedRoute, ...]
    category: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedOver(Event):
    """Another route answers first now. None at the ends of a total outage."""

    from_route: Route | None
    to_route: Route | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSent(Event):
    """A synthetic request asked a sick route whether it is well again."""

    route: Route
    healthy: bool
    detail: str
    cost: Micros
    estimated: bool = False
    """Whether ``cost`` is our own worst case: the vendor has not told it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowAnswered(Event):
    """A route was asked what another has just decided; its answer counts for nothing but evidence.

    ``difference_pct`` is how far its probability was from the one that counted, None without a forecast;
    ``probability_pct`` is that probability itself, ``served_model`` who gave it.
    """

    route: Route
    beside: Route
    detail: str
    difference_pct: int | None
    secs: float
    cost: Micros
    estimated: bool = False
    probability_pct: int | None = None
    served_model: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetCrossed(Event):
    """A soft cap of AI money is used up; nothing is refused for it. Written once a window and run."""

    cap: str
    limit: Micros
    spent: Micros


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelsListed(Event):
    """A provider was asked what it serves: which of the configured models are in its list, which are not.

    ``ends`` has the dates (ISO) that are known, by model. ``failure`` says why the list could not be had, and
    then the rest says nothing.
    """

    provider: ProviderName
    listed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    ends: dict[str, str] | None = None
    instance: str = ""
    failure: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelNoticed(Event):
    """Something that people should know about a configured model. Written once a run for each."""

    provider: ProviderName | None
    model: str
    notice: ModelNotice
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSwapped(Event):
    """Another model, or another version of it, answers on a route than before. Written when it changes."""

    route: Route
    before: str
    served: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryFinished(Event):
    """A model was put the questions that never change: see :mod:`jurymast.policy.canary`.

    ``answers`` are percents, None where no forecast came. ``shift`` is the mean distance from its base in
    log-odds, ``changed`` that it is beyond the limit: the record of ``served`` says nothing of it any more.
    """

    route: Route
    served: str
    answers: tuple[int | None, ...]
    shift: float | None
    changed: bool
    cost: Micros
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextCompleted(Event):
    """A question was asked that is no forecast. ``purpose`` is the caller's word for it.

    ``route`` is who answered, None when nobody did; ``asker`` is whose budget paid, this bot's if empty.
    """

    purpose: str
    route: Route | None
    detail: str
    secs: float
    attempts: tuple[Attempt, ...] = ()
    asker: str = ""

    @property
    def cost(self) -> Micros:
        """Of all attempts, as far as is known."""
        return sum(attempt.cost for attempt in self.attempts)

    @property
    def uncertain(self) -> Micros:
        """What may be billed beyond that."""
        return sum(attempt.uncertain for attempt in self.attempts)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiDrifted(Event):
    """The exchange's answers have changed: ``name`` (operation and field) is new or can't be read.

    Written once a run for each name. ``harmless`` is a new field on which nothing depends.
    """

    name: str
    detail: str
    harmless: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class EmergencyShadowed(Event):
    """What would have been decided without any provider, beside a decision of one: the last line at work.

    ``held`` when it would have been nothing. ``difference_pct`` is how far the probability of the cached
    opinion was from the one that counted, None without one.
    """

    held: bool
    detail: str
    difference_pct: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutCompared(Event):
    """Beside another decision maker: what both said of a market, and who decided it."""

    comparison: Comparison


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutChanged(Event):
    """The move from another decision maker went a phase on or back; ``by_hand`` or by the rule."""

    old: Phase
    new: Phase
    share_pct: int
    reason: str
    by_hand: bool
