"""What the rooms ask of each other. Siblings meet only here.

Times are UTC-aware datetimes, durations seconds, money micro-dollars, quantities centi-contracts.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from jurymast.domain.decision import Abstain, Decision
from jurymast.domain.events import Event
from jurymast.domain.market import Book, EvidenceItem, Market, MarketSnapshot
from jurymast.domain.money import Micros
from jurymast.domain.order import Balance, Fill, Order, OrderIntent, Position, Settlement
from jurymast.domain.provider import (
    AIRequest,
    AIResponse,
    Format,
    ModelInfo,
    ProviderConfig,
    ProviderName,
    Usage,
)
from jurymast.domain.status import HealthCheckResult
from jurymast.domain.value import value
from jurymast.policy.demands import Demands
from jurymast.policy.ledger import Account, Cap, Hold, Outcome, Payer, Refused


class Clock(Protocol):
    """Time as the bot knows it. Wall time is for records, monotonic time for durations."""

    def utc_now(self) -> datetime: ...

    def monotonic(self) -> float: ...

    async def sleep(self, secs: float) -> None: ...


@value
class TimeLimits:
    """Limits of one HTTP exchange, in seconds. ``total`` bounds everything, a slow drip included."""

    total: float
    connect: float = 5.0
    first_byte: float | None = None
    idle: float | None = None


class HttpReply(Protocol):
    """A reply whose head has arrived. Header names are lower case."""

    status: int
    headers: Mapping[str, str]

    async def read(self) -> bytes:
        """The whole body. Raises BodyTooLarge past the transport's bound."""
        ...

    def lines(self) -> AsyncIterator[bytes]:
        """The body line by line as it arrives, without line ends."""
        ...


class Transport(Protocol):
    """The seam to the network: one method. Raises TransportError and nothing else."""

    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, limits: TimeLimits
    ) -> AbstractAsyncContextManager[HttpReply]: ...


class Tap(Protocol):
    """Hears a stream line by line as it arrives, with the pieces of text in all lines so far.

    ``started`` from the first token on, visible or not, or from an end that is an answer without any. It may
    not wait and may not raise.
    """

    def __call__(self, line: bytes, texts: Sequence[str], *, started: bool) -> None: ...


class Provider(Protocol):
    """One vendor. Every method is bounded by its time-out and raises ProviderError only."""

    config: ProviderConfig

    @property
    def format(self) -> Format:
        """How it is asked, and how it answers a verbatim question."""
        ...

    @property
    def name(self) -> ProviderName: ...

    async def make_request(
        self,
        request: AIRequest,
        *,
        model: str,
        timeout_secs: float,
        first_token_secs: float | None = None,
        tap: Tap | None = None,
    ) -> AIResponse:
        """Ask once, within ``timeout_secs``. A stream is given up when its first token has not come after
        ``first_token_secs``; without one the provider's own share of the time-out counts. ``tap`` hears it
        meanwhile."""
        ...

    async def health_check(self, model: str, timeout_secs: float) -> HealthCheckResult: ...

    async def list_models(self, timeout_secs: float) -> tuple[ModelInfo, ...]: ...

    def calculate_cost(self, usage: Usage, model: str) -> Micros: ...


class Books(Protocol):
    """Where the accounts of AI money stand: in memory, or in a file that several bots share.

    The first cap is the whole budget of a day. Nothing here raises: what can't be accounted for is refused.
    """

    caps: tuple[Cap, ...]

    @property
    def unusable(self) -> str:
        """Why nothing has been accounted for lately, for longer than a hiccup; empty when all is well."""
        ...

    async def reserve(self, payer: Payer, worst: Micros | None) -> Outcome:
        """Hold the worst case of a request (None when unknown) before it is sent, or say why not. In a file
        the hold is durable when this returns."""
        ...

    def settle(self, hold: Hold, cost: Micros, uncertain: Micros = 0) -> None:
        """Give a hold back and book its bill. Does not wait for a disk: until it is done the hold counts."""
        ...

    def judged(self, payer: Payer, worst: Micros | None) -> Refused | None:
        """Why ``worst`` would not be held, as far as is known without asking; None when it would."""
        ...

    def accounts(self) -> list[Account]:
        """How the accounts stand, as last known; the first is that of the first cap."""
        ...

    async def close(self) -> None: ...


class Exchange(Protocol):
    """Where orders live. The bot believes it over its own books.

    ``place_order`` raises OrderRejected when nothing was placed and OrderUnknown when that can't be
    told; a known ``client_order_id`` is rejected with code ``order_already_exists``. Reads raise
    ExchangeUnavailable or SchemaDrift.
    """

    @property
    def speed(self) -> float:
        """Exchange seconds per second of ours: 1 at Kalshi, more on the embedded exchange."""
        ...

    @property
    def clock_skew_secs(self) -> float:
        """By how much our clock is off, as far as the exchange has complained; 0 when it never has."""
        ...

    async def now(self) -> datetime:
        """Exchange time, UTC."""
        ...

    async def news(self) -> None:
        """Return when something of our account may have changed since the last return. What did is to be
        read; that nothing comes proves nothing."""
        ...

    async def list_snapshots(self) -> Sequence[MarketSnapshot]:
        """Every market that is open for trading now, with at least the best level of each side."""
        ...

    async def get_snapshot(self, ticker: str) -> MarketSnapshot: ...

    async def list_books(self, tickers: Sequence[str]) -> Mapping[str, Book]:
        """Whole books by ticker, of at most 100 markets at once; one that can't be read is left out."""
        ...

    async def place_order(self, intent: OrderIntent) -> Order: ...

    async def extend_order(self, order: Order, expires_at: datetime) -> Order:
        """Let a resting order live until ``expires_at``, in its place."""
        ...

    async def cancel_order(self, order: Order) -> Order:
        """Cancel what remains. An order that is gone already is returned as it ended, without error."""
        ...

    async def pull_groups(self, orders: Sequence[Order]) -> int:
        """Cancel whatever rests in the order groups of this run and of ``orders``, and let the groups refuse
        what comes late; how many groups. Placing an order again opens its group again. No group: 0."""
        ...

    async def cancel_all(self) -> None:
        """Cancel every resting order of the account, whoever placed it. What is placed within the next
        minute of the exchange may be cancelled too."""
        ...

    async def find_order(self, client_order_id: str) -> Order | None: ...

    async def list_open_orders(self) -> Sequence[Order]: ...

    async def list_fills(self, after: str | None = None) -> Sequence[Fill]:
        """Fills in order of execution, from the one after fill id ``after``."""
        ...

    async def list_positions(self) -> Sequence[Position]:
        """Open positions, each with a count other than zero."""
        ...

    async def list_settlements(self, after: str | None = None) -> Sequence[Settlement]:
        """Payouts in order, from the one after ticker ``after``."""
        ...

    async def get_balance(self) -> Balance: ...

    async def close(self) -> None: ...


class ControlSource(Protocol):
    """What people demand, as it stands at this moment. Never raises: what can't be read is a halt."""

    def demands(self) -> Demands: ...


class EvidenceSource(Protocol):
    """News and data about a market, dated and quoted."""

    async def evidence_for(self, market: Market, as_of: datetime) -> tuple[EvidenceItem, ...]: ...


class DecisionMaker(Protocol):
    """The AI layer as the trader sees it. Never raises; answers within ``deadline_secs``."""

    async def get_trading_decision(
        self, snapshot: MarketSnapshot, evidence: tuple[EvidenceItem, ...] = (), *, deadline_secs: float
    ) -> Decision | Abstain: ...


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event with its place in the journal."""

    seq: int
    event: Event


class Journal(Protocol):
    """Append-only record. One writer, any number of readers that never block it."""

    async def append(self, *events: Event) -> None:
        """Write in this order; returns once they are durable. Raises JournalUnwritable."""
        ...

    def post(self, *events: Event) -> None:
        """Queue in order with the others; durable with the next commit. A bounded queue: raises
        JournalUnwritable when the writer has fallen behind or failed."""
        ...

    def read(
        self, kinds: Iterable[type[Event]] | None = None, *, after_seq: int = 0
    ) -> Iterator[Recorded]: ...

    async def close(self) -> None: ...
