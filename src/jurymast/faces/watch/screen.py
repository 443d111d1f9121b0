"""A view as a terminal screen: the sentence on top, providers, money, decisions, what happened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from jurymast.domain.money import format_usd
from jurymast.domain.status import EmergencyMode, ProviderStatus, RouteState, TradingState
from jurymast.faces.cli.narration import STYLES
from jurymast.faces.heartbeats import block
from jurymast.faces.plots import FAIR_UPTIME, GOOD_UPTIME
from jurymast.faces.report.writing import duration
from jurymast.faces.view import ProviderView, View

KEYS: Final = "q quit   / filter   : command   1 2 3 day, week, 90 days   ? help"
HELP: Final = """\
q            leave; the bot runs on
1 2 3        a day, a week, ninety days
/            filter what happened; empty shows all again
:why TICKER  the chain of reasons of a market; Enter comes back
:report      how judgement held in the time shown
:24h :7d :90d, :quit
:halt REASON, :pause REASON, :resume REASON, :isolate PROVIDER, :restore PROVIDER
             only with --control, and each asks once more
"""
_STATUS_STYLES: Final = {
    ProviderStatus.HEALTHY: "green",
    ProviderStatus.DEGRADED: "yellow",
    ProviderStatus.UNHEALTHY: "bold red",
    ProviderStatus.UNKNOWN: "dim",
}
_MODE_STYLES: Final = {
    EmergencyMode.NORMAL: "black on green",
    EmergencyMode.CONSERVATIVE: "black on yellow",
    EmergencyMode.CACHED: "black on yellow",
}
_STATE_STYLES: Final = {TradingState.ACTIVE: "black on green", TradingState.REDUCING: "black on yellow"}
NARROW_COLUMNS: Final = 100
NARROW_BARS: Final = 40
HEAD_LINES: Final = 6


class Screen:
    """One look at the bot. ``hint`` stands in the last line, ``lines`` replaces what happened."""

    def __init__(
        self, view: View, *, wanted: str = "", hint: str = KEYS, lines: Sequence[str] | None = None
    ) -> None:
        self._view = view
        self._wanted = wanted.casefold()
        self._hint = hint
        self._lines = lines

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(options.max_width, options.max_width)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        height = options.height or console.size.height
        narrow = options.max_width < NARROW_COLUMNS
        head: list[RenderableType] = [
            self._headline(),
            self._sentence(),
            self._money(),
            self._providers(narrow),
        ]
        used = HEAD_LINES + 2 + sum(1 + len(each.routes) for each in self._view.providers)
        room = max(height - used - 1, 3)
        if self._lines is not None:
            body: RenderableType = Text("\n".join(self._lines[:room]))
        elif narrow:
            body = self._events(room)
        else:
            body = Group(
                self._decisions(min(room // 2, 8)), self._events(max(room - min(room // 2, 8) - 2, 3))
            )
        yield Group(*head, body)
        yield Text(self._hint, style="dim", no_wrap=True, overflow="ellipsis")

    def _headline(self) -> Text:
        view = self._view
        parts: list[tuple[str, str]] = [("jurymast ", "bold")]
        if view.mode is not None:
            parts += [(f" {view.mode.upper()} ", _MODE_STYLES.get(view.mode, "white on red")), (" ", "")]
        if view.state is not None:
            style = _STATE_STYLES.get(view.state, "white on red")
            parts += [(f" TRADING {view.state.upper()} ", style), (" ", "")]
        if not view.running:
            parts.append((" NOT RUNNING ", "white on red"))
        elif view.stale:
            parts.append((" SILENT ", "white on red"))
        if view.simulated:
            parts.append((f" SIMULATED {' + '.join(view.simulated)}", "magenta"))
        elif view.running:
            parts.append((" REAL MONEY ", "bold white on red"))
        return Text.assemble(*parts, f"   {view.at:%H:%M:%S} UTC", no_wrap=True)

    def _sentence(self) -> Text:
        view = self._view
        text = Text.assemble((view.sentence, "bold"), "  ", (view.may, ""))
        for line in view.demands:
            text.append(f"\nby hand: {line}", "yellow")
        if view.live is not None and not view.stale and view.mode is not EmergencyMode.NORMAL:
            text.append(f"\n{view.live.status.mode_reason}", "yellow")
        return text

    def _money(self) -> Text:
        view = self._view
        share = view.whole.availability
        parts = [f"answered {'-' if share is None else f'{share:.2%}'} in {view.span}"]
        if view.cycle is not None:
            parts.append(f"equity {format_usd(view.cycle.equity)}, cash {format_usd(view.cycle.cash)}")
        if view.live is not None:
            parts.append(f"{len(view.live.positions)} positions, {len(view.live.orders)} resting")
            parts += [
                f"AI {each.name} {format_usd(each.spent, places=4)} of {format_usd(each.limit)}"
                for each in view.live.status.budgets[:1]
            ]
        return Text("   ".join(parts), style="cyan", no_wrap=True, overflow="ellipsis")

    def _providers(self, narrow: bool) -> Table:
        table = Table(expand=True, box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column(no_wrap=True, width=34 if not narrow else 24)
        table.add_column(no_wrap=True, ratio=1)
        for each in self._view.providers:
            uptime = "-" if each.uptime is None else f"{each.uptime:.1%}"
            name = Text.assemble(
                (f"{each.name:<10}", "bold"), (each.status.value, _STATUS_STYLES[each.status])
            )
            table.add_row(
                name, Text.assemble(_beat(each, NARROW_BARS if narrow else len(each.bars)), f"  {uptime}")
            )
            for route in each.routes:
                told = Text(f"  {route.route.model}", style="dim")
                state = Text(str(route.state), style="" if route.state is RouteState.HEALTHY else "yellow")
                if route.retry_in_secs is not None:
                    state.append(f", next look in {duration(route.retry_in_secs)}")
                if route.held_secs > 0:
                    state.append(f", rate limited for {duration(route.held_secs)}")
                state.append(
                    f"   {route.requests} asked, {route.failures} failed, {route.mean_secs:.1f} s", "dim"
                )
                if route.state is not RouteState.HEALTHY and route.reason:
                    state.append(f"   {route.reason}", "red")
                table.add_row(told, state)
        return table

    def _decisions(self, room: int) -> Table:
        table = Table(expand=True, box=None, header_style="dim", pad_edge=False)
        for name, right in (
            ("at", False),
            ("market", False),
            ("we", True),
            ("they", True),
            ("by", False),
            ("came to", False),
        ):
            table.add_column(name, no_wrap=True, justify="right" if right else "left")
        for each in self._view.decisions[: max(room - 1, 1)]:
            ours = "-" if each["ours"] is None else f"{each['ours']}%"
            market = "-" if each["market"] is None else f"{each['market']}%"
            table.add_row(f"{each['at']:%H:%M:%S}", each["ticker"], ours, market, each["by"], each["outcome"])
        return table

    def _events(self, room: int) -> Text:
        text = Text()
        shown = [row for row in self._view.events if self._wanted in row[2].casefold()]
        for at, style, line in shown[:room]:
            text.append(f"{at:%H:%M:%S} ", "dim")
            text.append(f"{' '.join(line.split())}\n", STYLES[style])
        text.no_wrap, text.overflow = True, "ellipsis"
        return text


def _beat(provider: ProviderView, bars: int) -> Text:
    """A bar for each part of the time, as on the web page; the last ``bars``."""
    text = Text()
    for uptime in provider.bars[-bars:]:
        if uptime is None:
            text.append("·", "dim")
            continue
        style = "green" if uptime >= GOOD_UPTIME else "yellow" if uptime >= FAIR_UPTIME else "red"
        text.append(block(uptime), style)
    return text
