"""Settings of traces. See docs/operate/metrics.md."""

from __future__ import annotations

from dataclasses import dataclass

from jurymast.app.settings import documented
from jurymast.domain.provider import Secret


@dataclass(frozen=True, slots=True)
class TracesSection:
    """Decisions as OpenTelemetry traces, for a collector that takes OTLP over HTTP."""

    endpoint: str = documented("", doc="its address, say http://127.0.0.1:4318; empty sends none")
    token: Secret = documented(Secret(), doc="what it is shown as bearer, where it wants that")

    def __post_init__(self) -> None:
        if self.endpoint and not self.endpoint.startswith(("http://", "https://")):
            raise ValueError("traces.endpoint is no http address")
