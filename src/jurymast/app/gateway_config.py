"""Settings of the gateway. See docs/operate/gateway.md."""

from __future__ import annotations

from dataclasses import dataclass

from jurymast.app.settings import REQUIRED, bounded, documented
from jurymast.domain.money import usd
from jurymast.domain.provider import Secret
from jurymast.policy.ledger import Cap, Scope


@dataclass(frozen=True, slots=True)
class ClientSection:
    """One program that may ask, under a name of your choice; caps and `spend` know it by that name."""

    key: Secret = documented(REQUIRED, doc='{ env = "NAME" } or { file = "PATH" }: what it shows')
    usd_per_day: float | None = bounded(
        None, low=0.0, high=100_000.0, unit="USD", doc="hard limit of its own; 0 means none"
    )

    def __post_init__(self) -> None:
        usd(str(self.usd_per_day or 0))


@dataclass(frozen=True, slots=True)
class GatewaySection:
    """The vendors' own APIs for other programs, answered by whoever is well."""

    enabled: bool = documented(False, doc="serve it beside the bot; `jurymast gateway` serves it alone")
    host: str = documented("127.0.0.1", doc="address; any but this machine's own needs clients with keys")
    port: int = bounded(8_770, low=0, high=65_535, unit="", doc="0 takes a free one")
    names: tuple[str, ...] = documented((), doc="others it is reached by, say through a proxy")
    deadline_secs: float = bounded(60.0, low=0.5, high=3_600.0, unit="s", doc="for one answer, all told")
    output_tokens: int = bounded(
        4_096, low=1, high=1_000_000, unit="tokens", doc="limit of an answer whose question states none"
    )
    clients: dict[str, ClientSection] = documented({}, doc="who may ask; none lets this machine ask freely")

    @property
    def caps(self) -> tuple[Cap, ...]:
        """Each client's own."""
        return tuple(
            Cap(usd(str(client.usd_per_day)), scope=Scope.STRATEGY, of=name)
            for name, client in self.clients.items()
            if client.usd_per_day is not None
        )
