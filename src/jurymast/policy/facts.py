"""What the failover core has found out, for its shell to tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from jurymast.domain.provider import ProviderName, Route
from jurymast.domain.status import EmergencyMode, ProviderStatus, RouteState


@dataclass(frozen=True, slots=True)
class RouteMoved:
    """Health of a route changed."""

    route: Route
    old: RouteState
    new: RouteState
    reason: str


@dataclass(frozen=True, slots=True)
class ProviderMoved:
    """Health of a provider, as people see it, changed."""

    provider: ProviderName
    old: ProviderStatus
    new: ProviderStatus
    reason: str


@dataclass(frozen=True, slots=True)
class EdgeMoved:
    """An edge came under suspicion, or was cleared."""

    edge: str
    suspect: bool


@dataclass(frozen=True, slots=True)
class ModeMoved:
    """Judgement got better or worse."""

    old: EmergencyMode
    new: EmergencyMode
    reason: str


@dataclass(frozen=True, slots=True)
class ActiveMoved:
    """Another route answers first now. None at the ends of a total outage."""

    old: Route | None
    new: Route | None
    reason: str


@dataclass(frozen=True, slots=True)
class ShareMoved:
    """Entries are made at another share of the full size."""

    old: float
    new: float
    reason: str


Fact: TypeAlias = RouteMoved | ProviderMoved | EdgeMoved | ModeMoved | ShareMoved | ActiveMoved
