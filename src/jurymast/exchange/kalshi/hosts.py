"""Where Kalshi is, as data, and which key belongs where.

A key made for one environment is refused for another before anything is sent: an order meant for play
money must not find the real book, and a real key has no business at a test server.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

from jurymast.domain.errors import ConfigError
from jurymast.exchange.kalshi.signing import Signer

REST_PREFIX: Final = "/trade-api/v2"
STREAM_PATH: Final = "/trade-api/ws/v2"
CHECKED_ON: Final = date(2026, 10, 26)
"""Date of the specification (3.34.0) that hosts, paths and fields were read from."""
_LOOPBACK: Final = "127.0.0.1"


class Environment(StrEnum):
    """Three worlds with keys and money of their own. Only PRODUCTION holds real money."""

    PRODUCTION = "production"
    DEMO = "demo"
    EMBEDDED = "embedded"


@dataclass(frozen=True, slots=True)
class Host:
    """One place that speaks Kalshi's protocol. URLs are origins, without path."""

    environment: Environment
    rest_origin: str
    stream_origin: str
    checked_on: date = CHECKED_ON

    def __post_init__(self) -> None:
        if self.environment is Environment.EMBEDDED:
            return
        if not self.rest_origin.startswith("https://") or not self.stream_origin.startswith("wss://"):
            raise ConfigError(f"{self.environment} is spoken to over TLS only, not at {self.rest_origin}")


PRODUCTION: Final = Host(
    Environment.PRODUCTION, "https://external-api.kalshi.com", "wss://external-api-ws.kalshi.com"
)
DEMO: Final = Host(
    Environment.DEMO, "https://external-api.demo.kalshi.co", "wss://external-api-ws.demo.kalshi.co"
)


def embedded(port: int) -> Host:
    """The embedded exchange, SIMULATED, on this machine."""
    return Host(Environment.EMBEDDED, f"http://{_LOOPBACK}:{port}", f"ws://{_LOOPBACK}:{port}")


def embedded_at(url: str) -> Host:
    """An embedded exchange that runs already. Raises ConfigError for what is not on this machine: play
    orders can't reach a real exchange."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = None
    if parts.scheme != "http" or parts.hostname not in {_LOOPBACK, "localhost"} or port is None:
        raise ConfigError(
            f"{url} is no embedded exchange: those are at http://{_LOOPBACK}:PORT only. Nothing was started; "
            "start one with `jurymast exchange serve` and name the address that it prints."
        )
    return embedded(port)


@dataclass(frozen=True, slots=True)
class Credentials:
    """A key and the environment it was made for."""

    environment: Environment
    signer: Signer

    def check(self, host: Host) -> None:
        """Raises ConfigError when the key was made for another environment than ``host``."""
        if self.environment is not host.environment:
            raise ConfigError(
                f"this key was made for Kalshi's {self.environment} environment and is not sent to "
                f"{host.environment}; nothing was sent. Configure a key of {host.environment}."
            )
