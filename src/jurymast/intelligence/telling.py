"""Facts of the failover core as events of the journal."""

from __future__ import annotations

from datetime import datetime

from jurymast.domain.events import (
    EdgeChanged,
    Event,
    FailedOver,
    ModeChanged,
    ProviderChanged,
    RouteChanged,
    SizeShareChanged,
)
from jurymast.policy.facts import (
    ActiveMoved,
    EdgeMoved,
    Fact,
    ModeMoved,
    ProviderMoved,
    RouteMoved,
    ShareMoved,
)


def event_of(fact: Fact, at: datetime) -> Event:
    """What is journalled of a fact, at wall time ``at``."""
    match fact:
        case RouteMoved(route, old, new, reason):
            return RouteChanged(at=at, route=route, old=old, new=new, reason=reason)
        case ProviderMoved(provider, was, status, reason):
            return ProviderChanged(at=at, provider=provider, old=was, new=status, reason=reason)
        case EdgeMoved(edge, suspect):
            return EdgeChanged(at=at, edge=edge, suspect=suspect)
        case ModeMoved(before, after, reason):
            return ModeChanged(at=at, old=before, new=after, reason=reason)
        case ShareMoved(share, changed, reason):
            return SizeShareChanged(at=at, old=share, new=changed, reason=reason)
        case ActiveMoved(source, target, reason):
            return FailedOver(at=at, from_route=source, to_route=target, reason=reason)
