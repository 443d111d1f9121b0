"""The terminal while a bot runs: the state on top, what happened below, updated in place."""

from __future__ import annotations

from collections import deque
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from jurymast.app.wiring import Bot
from jurymast.domain.events import CycleFinished, Event, MarketScreened, ProbeSent, RouteChanged
from jurymast.domain.money import USD, format_usd
from jurymast.domain.status import EmergencyMode, RouteReport, RouteState
from jurymast.faces.cli.narration import STYLES, describe

EVENTS_KEPT = 200
REFRESH_PER_SEC = 4
HEADER_LINES = 17
STATE_STYLES = {
    RouteState.HEALTHY: "green",
    RouteState.SUSPECT: "yellow",
    RouteState.HALF_OPEN: "yellow",
    RouteState.OPEN: "red",
    RouteState.LATCHED: "red",
    RouteState.ISOLATED: "magenta",
}
MODE_STYLES = {
    EmergencyMode.NORMAL: "bold green",
    EmergencyMode.CONSERVATIVE: "bold yellow",
    EmergencyMode.MINIMAL: "bold red",
    EmergencyMode.SUSPENDED: "bold white on red",
}
NOISE = (CycleFinished, MarketScreened, ProbeSent, RouteChanged)


class LiveView:
    """A window on a running bot; a context manager around its run."""

    def __init__(self, bot: Bot, console: Console | None = None, *, page: str = "") -> None:
        self._page = page
        self._bot = bot
        self._console = console or Console()
        self._events: deque[Text] = deque(maxlen=EVENTS_KEPT)
        self._cycle: CycleFinished | None = None
        self._start = bot.config.exchange.cash_usd * USD if bot.venue.house is not None else 0
        self._live = Live(
            get_renderable=self.render,
            console=self._console,
            refresh_per_second=REFRESH_PER_SEC,
            transient=False,
        )

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def add(self, event: Event) -> None:
        """Take note of an event."""
        if isinstance(event, CycleFinished):
            self._cycle = event
            self._start = self._start or event.equity
        if isinstance(event, NOISE):
            return
        described = describe(event)
        if described is not None:
            style, line = described
            self._events.append(Text(f"{event.at:%H:%M:%S} {line}", style=STYLES[style], no_wrap=True))

    def render(self) -> Group:
        """The whole screen."""
        room = max(3, self._console.size.height - HEADER_LINES)
        recent = Group(*list(self._events)[-room:])
        return Group(self._headline(), self._routes(), self._money(), recent, self._hint())

    def _headline(self) -> Text:
        status = self._bot.client.get_system_status()
        text = Text.assemble(
            ("jurymast ", "bold"),
            (f" {status.mode.upper()} ", MODE_STYLES[status.mode]),
            f" trading {self._bot.cycle.state.upper()}  ",
            _reality(self._bot),
        )
        if status.mode is not EmergencyMode.NORMAL:
            text.append(f"\n{status.mode_reason}", "yellow")
        return text

    def _routes(self) -> Table:
        status = self._bot.client.get_system_status()
        table = Table(expand=True, box=None, header_style="dim", pad_edge=False)
        for name in ("", "route", "health", "asked", "failed", "mean", "cost", "why"):
            table.add_column(
                name, no_wrap=True, justify="right" if name in {"asked", "failed", "mean"} else "left"
            )
        for report in status.routes:
            active = ">" if report.route == status.active_route else " "
            table.add_row(
                active,
                str(report.route),
                Text(_health(report), style=STATE_STYLES[report.state]),
                str(report.requests),
                str(report.failures),
                f"{report.mean_secs:.1f} s",
                format_usd(report.cost, places=4),
                report.reason,
            )
        return table

    def _money(self) -> Panel:
        cycle = self._cycle
        if cycle is None:
            return Panel("first cycle")
        gain = cycle.equity - self._start
        return Panel(
            Text.assemble(
                f"exchange time {cycle.exchange_time:%Y-%m-%d %H:%M}   cycle {cycle.cycle}   "
                f"{cycle.scanned} markets, {cycle.screened} filtered\n",
                f"equity {format_usd(cycle.equity)} ",
                (f"({format_usd(gain, sign=True)})", "green" if gain >= 0 else "red"),
                f"   cash {format_usd(cycle.cash)}   realised {format_usd(cycle.realized_pnl, sign=True)}   "
                f"{cycle.open_positions} positions, {cycle.resting_orders} resting   "
                f"AI {format_usd(cycle.ai_cost, places=4)}",
            ),
        )

    def _hint(self) -> Text:
        fleet = self._bot.fleet
        control = (
            f"break a provider: `jurymast lab fault xai refuse` ({fleet.control_url})   " if fleet else ""
        )
        return Text(
            f"Ctrl-C stops   page: {self._page}   {control}", style="dim", no_wrap=True, overflow="ellipsis"
        )


def _reality(bot: Bot) -> tuple[str, str]:
    if bot.simulated:
        return "SIMULATED " + " + ".join(bot.simulated), "bold magenta"
    return "LIVE, REAL MONEY", "bold white on red"


def _health(report: RouteReport) -> str:
    wait = f" {report.retry_in_secs:.0f}s" if report.retry_in_secs else ""
    return f"{report.state}{wait}"
