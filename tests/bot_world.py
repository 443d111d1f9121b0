"""A bot as others see it from its files: a journal that is being written, and what it says of itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from history_world import cycle, decided, provider_is, started
from jurymast.app import live
from jurymast.app.live import Live
from jurymast.domain.events import (
    CycleFinished,
    Event,
    FailedOver,
    ModeChanged,
    OrderIntended,
    OrderUnresolved,
)
from jurymast.domain.provider import ProviderName, Route
from jurymast.domain.status import (
    EmergencyMode,
    ProviderStatus,
    RouteReport,
    RouteState,
    SystemStatus,
    TradingState,
)
from jurymast.journal.sqlite import SqliteJournal
from jurymast.testing.clock import FakeClock

XAI, OPENAI = Route(ProviderName.XAI, "grok-4.3"), Route(ProviderName.OPENAI, "gpt-6.1-terra")


def events(reason: str = "503") -> list[Event]:
    now = datetime.now(UTC)
    return [
        started(now - timedelta(minutes=30)),
        decided(now - timedelta(minutes=29), ticker="FB-1"),
        cycle(now - timedelta(minutes=28)),
        provider_is(now - timedelta(minutes=20), ProviderName.XAI, ProviderStatus.UNHEALTHY, reason),
        FailedOver(at=now - timedelta(minutes=20), from_route=XAI, to_route=OPENAI, reason=reason),
        cycle(now - timedelta(minutes=19)),
    ]


def present(mode: EmergencyMode = EmergencyMode.NORMAL, state: TradingState = TradingState.ACTIVE) -> Live:
    """xAI is out, OpenAI answers."""
    routes = (
        RouteReport(XAI, RouteState.OPEN, 9, 4, 100, 0.5, "503", retry_in_secs=12.0),
        RouteReport(OPENAI, RouteState.HEALTHY, 3, 0, 200, 0.4, in_flight=1),
    )
    statuses = {ProviderName.XAI: ProviderStatus.UNHEALTHY, ProviderName.OPENAI: ProviderStatus.HEALTHY}
    status = SystemStatus(mode, "one provider is left", statuses, routes, OPENAI, 300)
    return Live(live.VERSION, 1, datetime.now(UTC), "test", ("exchange",), status, state, 0.25, (), ())


def says(directory: Path, now: Live) -> None:
    (directory / live.NAME).write_bytes(msgspec.json.encode(now))


@asynccontextmanager
async def bot(directory: Path, reason: str = "503") -> AsyncIterator[SqliteJournal]:
    """A journal that somebody is writing, as of a bot that runs, and what it says of itself."""
    journal = SqliteJournal.open(directory / "journal.db", clock=FakeClock())
    await journal.append(*events(reason))
    says(directory, present())
    try:
        yield journal
    finally:
        await journal.close()


def trade_of(seen: list[Event]) -> list[str]:
    """What trading did, without what differs from run to run anyway."""
    told = []
    for event in seen:
        match event:
            case OrderIntended(intent=i):
                told.append(f"{i.ticker} {i.action} {i.side} {i.count} {i.limit_price}")
            case ModeChanged() | FailedOver():
                told.append(f"{event.at} {event.reason}")
            case CycleFinished():
                told.append(f"{event.cycle} {event.decided} {event.abstained} {event.orders} {event.equity}")
            case OrderUnresolved():
                told.append("unresolved")
            case _:
                pass
    return told
