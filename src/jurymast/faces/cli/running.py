"""``run`` and ``demo``: start a bot and show what it does."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import click

from jurymast.app.clock import SystemClock
from jurymast.app.config import Config
from jurymast.app.demo import Demo, DemoReport, Phase
from jurymast.app.reload import SettingsFile
from jurymast.app.supervisor import Supervisor
from jurymast.app.watchdog import companion, outlives_the_bot
from jurymast.app.wiring import Bot, build
from jurymast.domain.errors import JurymastError, PortTaken
from jurymast.domain.events import (
    CycleFinished,
    Event,
    MarketScreened,
    OrderChanged,
    ProbeSent,
    RouteChanged,
    TradeDeclined,
)
from jurymast.domain.money import USD
from jurymast.faces.cli.live import LiveView
from jurymast.faces.cli.narration import STYLES, describe

NOISE = (MarketScreened, ProbeSent, RouteChanged)
"""Kinds that fill the journal and not the screen."""
DEMO_NOISE = (*NOISE, TradeDeclined, OrderChanged)
DEMO_PACE_SECS = 1.5


def run_bot(
    config: Config,
    *,
    cycles: int | None,
    as_json: bool,
    watchdog_arguments: Sequence[str] = (),
    account: str = "",
    file: SettingsFile | None = None,
) -> None:
    """Run until the cycles are done or a signal comes; the screen shows it as it happens. A watchdog runs
    beside it where orders can outlive it. What is tunable in ``file`` is taken over when it changes."""
    _cured(lambda: asyncio.run(_run(config, cycles, as_json, watchdog_arguments, account, file)))


async def _run(
    config: Config,
    cycles: int | None,
    as_json: bool,
    watchdog_arguments: Sequence[str],
    account: str,
    file: SettingsFile | None,
) -> None:
    show = _shower(as_json)
    async with build(config, clock=SystemClock(), watch=show, account=account) as bot:
        with companion(config, watchdog_arguments):
            async with _page(config) as page, _gateway(bot) as gateway, _telegram(config) as telegram:
                supervisor = Supervisor(bot, cycles=cycles, file=file)
                windows = {"page": page, "gateway": gateway, "telegram": telegram}
                await _supervise(bot, supervisor, as_json, show, windows)


@asynccontextmanager
async def _page(config: Config) -> AsyncIterator[str]:
    """The web page beside the bot; gives what to say of it. A bot does not stop for want of one."""
    if not config.web.enabled:
        yield "off ([web] enabled)"
        return
    from jurymast.faces.web.access import Access, token_of
    from jurymast.faces.web.server import serving

    async with AsyncExitStack() as stack:
        web = config.web
        try:
            access = Access(web.token.value or token_of(config.data_dir), web.host, frozenset(web.names))
            said = await stack.enter_async_context(serving(config.data_dir, access, web.port))
        except JurymastError as error:
            said = f"NONE: {error}"
        yield said


@asynccontextmanager
async def _gateway(bot: Bot) -> AsyncIterator[str]:
    """The gateway beside the bot, where it is wanted; gives what to say of it. Raises ConfigError when it
    would be open to strangers; a bot does not stop for want of a port."""
    if not bot.config.gateway.enabled:
        yield ""
        return
    from jurymast.faces.cli.gateway import settings_of
    from jurymast.faces.gateway.server import serving

    async with AsyncExitStack() as stack:
        settings = settings_of(bot.config)
        try:
            said = await stack.enter_async_context(serving(bot.client, settings))
        except PortTaken as error:
            said = f"NONE: {error}"
        yield said


@asynccontextmanager
async def _telegram(config: Config) -> AsyncIterator[str]:
    """Control by chat beside the bot, where it is wanted; gives what to say of it."""
    if not config.telegram.enabled:
        yield ""
        return
    from jurymast.faces.cli.telegram import tell
    from jurymast.faces.telegram.serving import serving

    async with serving(config, SystemClock(), tell) as said:
        yield said


async def _supervise(
    bot: Bot, supervisor: Supervisor, as_json: bool, show: _Shower, windows: Mapping[str, str]
) -> None:
    """``windows`` says where the bot can be seen and steered, by name; empty is not at all."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, supervisor.stop, f"signal {number.name}")
    if as_json:
        await supervisor.run()
    elif sys.stdout.isatty():
        with LiveView(bot, page=windows["page"]) as view:
            show.to(view.add)
            await supervisor.run()
    else:
        for line in [*banner(bot), *(f"{name + ':':<11} {said}" for name, said in windows.items() if said)]:
            click.echo(line)
        await supervisor.run()


def run_demo(seed: int, *, fast: bool, as_json: bool) -> None:
    """Play the demo and print its report."""

    def tell(phase: Phase) -> None:
        if not as_json:
            click.secho(f"\n== {phase.title} == ", bold=True, nl=False)
            click.echo(phase.story)

    def watch(event: Event) -> None:
        if not as_json and not isinstance(event, DEMO_NOISE):
            _echo(event)

    if not as_json:
        click.echo(
            "SIMULATED: emulated providers, embedded exchange, virtual time. No key, no network, no money."
        )
    story = Demo(seed, pace_secs=0.0 if fast else DEMO_PACE_SECS, tell=tell, watch=watch)
    report: list[DemoReport] = []
    _cured(lambda: report.append(asyncio.run(story.run())))
    facts = report[0].as_json()
    click.echo(json.dumps(facts) if as_json else _demo_text(facts))


def banner(bot: Bot) -> list[str]:
    """What runs, what is not real, and what to try."""
    lines = [f"jurymast on {bot.exchange.describe()}"]
    if bot.venue.server is not None:
        control = bot.venue.server.control_url
        lines.append(f"break the exchange:  jurymast exchange fault --control {control} accept_then_timeout")
    if bot.fleet is not None:
        lines += [
            "SIMULATED providers answer: no key, no network, no money.",
            f"break one:  curl -X POST {bot.fleet.control_url}/faults "
            """-d '{"provider": "xai", "fault": "refuse"}'""",
            f"mend all:   curl -X DELETE {bot.fleet.control_url}/faults",
        ]
    if outlives_the_bot(bot.config):
        watched = "a watchdog takes them back" if bot.config.watchdog.enabled else "NO WATCHDOG RUNS"
        lines.append(
            f"dead man:   resting orders expire within two minutes; {watched} if this bot falls silent"
        )
    lines.append(f"journal:    {bot.config.journal_path}   (`jurymast status`, `jurymast why --last`)")
    return lines


class _Shower:
    """Where events go: lines, JSON, or a live view once there is one."""

    def __init__(self, show: Callable[[Event], None]) -> None:
        self._show = show

    def to(self, show: Callable[[Event], None]) -> None:
        self._show = show

    def __call__(self, event: Event) -> None:
        self._show(event)


def _shower(as_json: bool) -> _Shower:
    def lines(event: Event) -> None:
        if not isinstance(event, NOISE):
            _echo(event)

    def cycles(event: Event) -> None:
        if isinstance(event, CycleFinished):
            click.echo(json.dumps(_cycle_json(event)))

    return _Shower(cycles if as_json else lines)


def _echo(event: Event) -> None:
    described = describe(event)
    if described is not None:
        style, line = described
        click.secho(f"{event.at:%H:%M:%S} {line}", fg=_colour(style), dim=style == "quiet" or None)


def _colour(style: str) -> str | None:
    colour = STYLES[style]
    return colour if colour not in {"", "dim"} else None


def _cycle_json(event: CycleFinished) -> dict[str, Any]:
    return {
        "cycle": event.cycle,
        "exchange_time": event.exchange_time.isoformat(),
        "mode": event.mode.value,
        "state": event.state.value,
        "scanned": event.scanned,
        "decided": event.decided,
        "abstained": event.abstained,
        "orders": event.orders,
        "fills": event.fills,
        "open_positions": event.open_positions,
        "equity_usd": event.equity / USD,
        "ai_cost_usd": event.ai_cost / USD,
        "active_route": event.active_route or None,
        "providers": event.providers,
        "secs": round(event.secs, 3),
    }


def _demo_text(facts: dict[str, Any]) -> str:
    rungs = ", ".join(f"{count} {rung}" for rung, count in facts["decisions_by_rung"].items() if count)
    return "\n".join(
        [
            "",
            "What happened (SIMULATED)",
            f"  decisions    {rungs}",
            f"  by provider  {', '.join(f'{n} {p}' for p, n in facts['decisions_by_provider'].items())}",
            f"  failovers    {'; '.join(facts['failovers']) or 'none'}",
            f"  modes        {'; '.join(facts['mode_changes']) or 'none'}, ended {facts['final_mode']}",
            f"  orders       {facts['orders']}, {facts['duplicate_orders']} duplicates, "
            f"{facts['entries_in_emergency']} entries without judgement",
            f"  P&L          {facts['pnl_usd']:+.2f} USD marked at the bid",
            f"  Brier        {facts['brier']} ours, {facts['brier_market']} the market's "
            f"({facts['forecasts_scored']} forecasts against real outcomes)",
        ]
    )


def _cured(action: Callable[[], None]) -> None:
    """Run; unwrap our own error from a task group, so that it is told in one line."""
    try:
        action()
    except* JurymastError as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from None
