"""Is everything fit to trade: a list of checks, each with its finding and its cure. Reads only."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from itertools import groupby
from typing import Final

from jurymast.app.alert_channels import address_of
from jurymast.app.alerts import AlertState
from jurymast.app.alerts import read as read_alerts
from jurymast.app.config import Config
from jurymast.app.control import ControlFile
from jurymast.app.exchange import open_reach
from jurymast.app.model_table import NOTHING_KNOWN, Known, ModelRow, asked, remembered, table
from jurymast.domain.errors import ExchangeError, JournalError, JurymastError
from jurymast.domain.events import RunStarted
from jurymast.domain.provider import FailureKind, ProviderName
from jurymast.domain.status import TradingState
from jurymast.exchange.kalshi.exchange import KalshiExchange
from jurymast.journal.budget_file import read_accounts
from jurymast.journal.queries import JournalReader
from jurymast.policy.retirement import stage
from jurymast.ports import Clock

ROOM_BYTES_MIN: Final = 50 * 1024 * 1024
ROOM_BYTES_GOOD: Final = 500 * 1024 * 1024
SKEW_SECS_MAX: Final = 10.0
"""Kalshi takes a signature that is so far off; more than this was seen refused."""


class Health(StrEnum):
    """What a check came to."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


_SEVERITY: Final = (Health.OK, Health.SKIP, Health.WARN, Health.FAIL)


@dataclass(frozen=True, slots=True)
class Check:
    """One row of the doctor's list."""

    name: str
    health: Health
    finding: str
    cure: str = ""


async def examine(config: Config, *, clock: Clock, exchange: KalshiExchange | None = None) -> list[Check]:
    """Every check, in order; nothing is changed. Without ``exchange`` one is opened with the bot's key."""
    rows = [
        Check("config", Health.OK, "read, every value within its bounds"),
        _disk(config),
        _journal(config),
        _budget(config, clock),
        _demands(config, clock),
        *_models(config, clock, await _known(config, clock)),
        _alerts(config),
    ]
    async with AsyncExitStack() as stack:
        if exchange is None:
            try:
                exchange = await open_reach(config, clock=clock, stack=stack, own_key=False)
            except JurymastError as error:
                return [*rows, Check("keys", Health.FAIL, str(error), "see docs/reference/settings.md")]
        if exchange is None:
            why = "the exchange lives inside the bot's process: nothing to ask while it does not run"
            return [*rows, *(Check(name, Health.SKIP, why) for name in ("keys", "clock", "schema"))]
        return [*rows, *[await check(exchange) for check in (_keys, _clock, _schema)]]


def _disk(config: Config) -> Check:
    place = config.data_dir
    while not place.exists():
        place = place.absolute().parent
    free = shutil.disk_usage(place).free
    finding = f"{free / 1024**2:,.0f} MB free at {place}"
    if free < ROOM_BYTES_MIN:
        return Check("disk", Health.FAIL, finding, "make room: without a journal there is no trading")
    if free < ROOM_BYTES_GOOD:
        return Check("disk", Health.WARN, finding, "make room soon")
    return Check("disk", Health.OK, finding)


def _journal(config: Config) -> Check:
    if not config.journal_path.exists():
        return Check("journal", Health.OK, "none yet: the first start makes it")
    try:
        with JournalReader(config.journal_path, strict=True) as journal:
            journal.last(RunStarted)
    except JournalError as error:
        return Check("journal", Health.FAIL, str(error), "restore it, or move it aside and start anew")
    return Check("journal", Health.OK, "readable by this version")


def _budget(config: Config, clock: Clock) -> Check:
    if not config.budget_path.exists():
        return Check("budget", Health.OK, "no file yet: the first start makes it")
    try:
        accounts = read_accounts(config.budget_path, clock.utc_now())
    except JournalError as error:
        cure = "move it away: the next start begins a new one with what the journal knows of today"
        return Check("budget", Health.FAIL, f"{error}; nothing paid is asked", cure)
    short = [account for account in accounts if account.left <= 0]
    if short:
        return Check("budget", Health.WARN, f"nothing is left of {short[0]}", "raise it, or wait")
    return Check("budget", Health.OK, f"{len(accounts)} accounts, something is left of each")


def _demands(config: Config, clock: Clock) -> Check:
    demands = ControlFile(config.data_dir, clock).demands()
    if demands.floor is TradingState.ACTIVE:
        return Check("demands", Health.OK, "nobody has stopped trading")
    assert demands.state is not None  # noqa: S101 (narrowing: a floor has its demand)
    cure = "jurymast resume --reason ..."
    return Check("demands", Health.WARN, f"{demands.floor}: {demands.state.reason}", cure)


def _alerts(config: Config) -> Check:
    """Whether somebody would be told. Nothing is sent: `alerts test` does that."""
    contacts, state = config.alerts.contacts, read_alerts(config.data_dir) or AlertState()
    if not config.alerts.enabled or not contacts:
        return Check("alerts", Health.WARN, "nobody is told of troubles", "add [alerts.contacts.NAME]")
    for name, contact in contacts.items():
        if wrong := address_of(contact):
            return Check("alerts", Health.FAIL, f"{name}: {wrong}", "see docs/operate/alerts.md")
    failing = {
        name: each.detail for name, each in state.deliveries.items() if name in contacts and each.detail
    }
    for name, detail in failing.items():
        return Check("alerts", Health.WARN, f"{name} was not told: {detail}", "jurymast alerts test")
    if state.faults:
        return Check("alerts", Health.WARN, f"{state.faults} faults of our own in telling", "report this")
    tried = any(each.sent for name, each in state.deliveries.items() if name in contacts)
    said = "the last deliveries arrived" if tried else "nothing was sent yet: jurymast alerts test"
    return Check("alerts", Health.OK, f"{', '.join(contacts)}; {said}")


async def _known(config: Config, clock: Clock) -> Known:
    """What is known of the models, their vendors asked where there are any."""
    try:
        known = remembered(config)
    except JournalError:  # has its own row
        known = NOTHING_KNOWN
    return known if config.lab.emulate else await asked(config, clock, known)


def _models(config: Config, clock: Clock, known: Known) -> Iterator[Check]:
    """A row for each provider with what is wrong with its models first; their lists were asked, for free."""
    today = clock.utc_now().date()
    for provider, rows in groupby(table(config, known), key=lambda row: row.provider):
        why = "emulated, there is nobody to ask" if config.lab.emulate else "not asked: no key"
        found = [_model(row, today, why) for row in rows]
        worst = max(found, key=lambda check: _SEVERITY.index(check.health))
        finding = "; ".join(check.finding for check in found)
        yield Check(provider.value, worst.health, finding, worst.cure)


def _model(row: ModelRow, today: date, unasked: str) -> Check:
    name = row.model
    if row.price is None and row.provider is not ProviderName.LOCAL:
        return Check(name, Health.FAIL, f"{name} has no price", f"add [prices.{name!r}] or use another")
    if row.listed is False:
        return Check(name, Health.WARN, f"{name} is not listed", "configure one that `jurymast models` lists")
    if row.ends_on is not None and (days := stage(row.ends_on, today)) is not None:
        health = Health.WARN if days else Health.FAIL
        return Check(name, health, f"{name} ends on {row.ends_on}", "configure its successor")
    if row.notice:
        return Check(name, Health.WARN, row.notice, f"write {name} in the configuration")
    if row.listed is None and row.failure and row.provider is not ProviderName.LOCAL:
        # No more than a warning: the others answer, and a bot must be able to start again without this one.
        refused = row.failure.startswith(FailureKind.AUTH)
        cure = "its key is refused: set another" if refused else "look at the network and the vendor's status"
        return Check(name, Health.WARN, f"{name}: {row.failure}", cure)
    if row.listed is None:
        return Check(name, Health.SKIP, f"{name}: {row.failure or unasked}")
    return Check(name, Health.OK, f"{name} is listed")


async def _keys(exchange: KalshiExchange) -> Check:
    return await _asked(
        "keys", exchange.rest.account.get_balance, "accepted", "look at the id, the file and the scopes"
    )


async def _schema(exchange: KalshiExchange) -> Check:
    async def read() -> None:
        await exchange.rest.markets.get_status()
        await exchange.rest.account.list_orders(status="resting")
        await exchange.rest.account.list_positions()

    return await _asked("schema", read, "account and status read as expected", "update this program")


async def _clock(exchange: KalshiExchange) -> Check:
    try:
        told, ours = await exchange.rest.account.get_data_time(), await exchange.now()
    except ExchangeError as error:
        return Check("clock", Health.FAIL, str(error), "see keys")
    skew = abs((ours - told).total_seconds()) / max(1.0, exchange.speed)
    finding = f"{skew:.1f} s between our clock and what the exchange tells as of"
    if skew > SKEW_SECS_MAX:
        return Check("clock", Health.FAIL, finding, "set this machine's clock: signatures will be refused")
    return Check("clock", Health.OK, finding)


async def _asked(name: str, ask: Callable[[], Awaitable[object]], finding: str, cure: str) -> Check:
    try:
        await ask()
    except ExchangeError as error:
        return Check(name, Health.FAIL, str(error), cure)
    return Check(name, Health.OK, finding)
