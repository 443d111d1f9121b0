"""What is known about a route, for people."""

from __future__ import annotations

from jurymast.domain.status import RouteReport, RouteState
from jurymast.intelligence.provider_manager import RouteStats
from jurymast.policy.latency import Z50
from jurymast.policy.record import Record


def report_of(record: Record, stats: RouteStats, now: float) -> RouteReport:
    """One route at monotonic time ``now``."""
    health = record.health
    waiting = health.state in {RouteState.OPEN, RouteState.LATCHED}
    return RouteReport(
        route=record.route,
        state=health.state,
        requests=stats.requests,
        failures=stats.failures,
        cost=stats.cost,
        mean_secs=stats.mean_secs,
        reason=health.reason,
        retry_in_secs=max(0.0, health.next_probe_at - now) if waiting else None,
        in_flight=len(record.in_flight),
        held_secs=max(0.0, health.held_until - now),
        median_secs=record.latency(0).quantile(Z50),
        overdue_secs=record.latency(0).q99_secs,
        edge_suspect=record.edge.suspect,
    )
