"""What all handlers of one server share."""

from __future__ import annotations

from dataclasses import dataclass, field

from jurymast.exchange.embedded.exchange import EmbeddedExchange
from jurymast.exchange.embedded.server.faults import Faults
from jurymast.exchange.embedded.server.keys import KeyRing
from jurymast.exchange.embedded.server.limits import TIERS, Buckets
from jurymast.exchange.embedded.server.view import PortfolioView
from jurymast.ports import Clock


@dataclass(frozen=True, slots=True)
class WireSettings:
    """What is not documented well enough to be hard-wired, or is a matter of the set-up.

    ``balance_excludes_resting``: whether ``balance`` has the collateral of resting orders taken off.
    ``legacy_fields``: whether fields the specification dropped are still sent.
    ``markets_per_subscription``: beyond it a subscription is refused with error 26.
    """

    tier: str = "basic"
    window_secs: float = 30.0
    ping_secs: float = 10.0
    hold_secs: float = 60.0
    balance_excludes_resting: bool = True
    legacy_fields: bool = True
    markets_per_subscription: int = 1_000

    def __post_init__(self) -> None:
        if self.tier not in TIERS:
            raise ValueError(f"tier {self.tier!r} is none of {', '.join(TIERS)}")


@dataclass(slots=True)
class Site:
    """The exchange with everything around it."""

    exchange: EmbeddedExchange
    clock: Clock
    view: PortfolioView
    faults: Faults
    keys: KeyRing
    settings: WireSettings
    callers: dict[str, Buckets] = field(default_factory=dict)

    def buckets(self, caller: str) -> Buckets:
        """The buckets of a key, or of everybody who does not sign."""
        if caller not in self.callers:
            self.callers[caller] = Buckets(TIERS[self.settings.tier], self.clock.monotonic())
        return self.callers[caller]
