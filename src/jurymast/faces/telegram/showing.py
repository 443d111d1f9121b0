"""What a chat is shown: the command line's and the page's own facts, in lines that fit a phone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Final

from jurymast.app import alerts
from jurymast.app.clock import SystemClock
from jurymast.app.config import Config
from jurymast.app.control import ControlFile
from jurymast.domain.errors import JurymastError
from jurymast.domain.money import format_contracts, format_usd
from jurymast.faces.cli import reading
from jurymast.faces.cli.alerts import alert_facts, alert_lines
from jurymast.faces.cli.control import demanded, proof
from jurymast.faces.cli.spend import spend_facts
from jurymast.faces.view import Viewer

ROWS_MAX: Final = 40


class Shower:
    """Reads the files of one data directory. Not for several threads at once."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._viewer = Viewer(config.data_dir)

    def show(self, what: str, of: str = "") -> str:
        """One thing in words, also when it can't be read."""
        try:
            return "\n".join(_SHOWN[what](self, of))
        except JurymastError as error:
            return f"{what} can't be told: {error}"

    def status(self, _: str) -> Iterator[str]:
        yield reading.status_text(reading.status(self._config.data_dir))
        if found := (alerts.read(self._config.data_dir) or alerts.AlertState()).alerts.open:
            yield f"alerts       {len(found)} open, worst first: {found[0].text}"

    def providers(self, _: str) -> Iterator[str]:
        view = self._viewer.view()
        yield from _marked(view.simulated)
        yield view.sentence
        for each in view.providers:
            up = "" if each.uptime is None else f", {each.uptime:.1%} of 24 h"
            back = "" if each.back_in_secs is None else f", next look in {each.back_in_secs:.0f} s"
            why = f": {each.reason}" if each.reason else ""
            yield f"{each.name}: {each.status}{up}{back if not view.stale else ''}{why}"

    def spend(self, _: str) -> Iterator[str]:
        now = datetime.now(UTC)
        today = now.replace(hour=0, minute=0, second=0, microsecond=0)
        config = self._config
        facts = spend_facts(config.data_dir, config.budget_path, today, now, "provider")
        yield from _marked(facts["simulated"])
        total = facts["total"]
        cost, sure = format_usd(total["cost_micros"], places=4), total["uncertain_micros"] == 0
        more = "" if sure else f", up to {format_usd(total['uncertain_micros'], places=4)} more"
        yield f"AI money today (UTC): {cost} in {total['requests']} requests{more}"
        for name, each in facts["groups"].items():
            yield f"{name}: {format_usd(each['cost_micros'], places=4)}"
        for row in facts["budgets"]:
            left, limit = format_usd(row["left_micros"], places=4), format_usd(row["limit_micros"])
            yield f"left of the {row['window']} ({row['of'] or row['scope']}): {left} of {limit}"
        if facts["budget_trouble"]:
            yield facts["budget_trouble"]

    def positions(self, _: str) -> Iterator[str]:
        live = self._viewer.view().live
        if live is None:
            yield "What is held is not known here: no bot has written it. The exchange knows."
            return
        yield from _marked(live.simulated)
        yield f"{len(live.positions)} positions, {len(live.orders)} resting, {live.at:%d %b %H:%M:%S} UTC"
        for each in live.positions[:ROWS_MAX]:
            size, cost = format_contracts(each.size), format_usd(each.cost)
            yield f"{each.ticker} {each.side.upper()} {size} for {cost}"
        if len(live.positions) > ROWS_MAX:
            yield f"and {len(live.positions) - ROWS_MAX} more"

    def alerts(self, _: str) -> Iterator[str]:
        yield from alert_lines(alert_facts(alerts.read(self._config.data_dir) or alerts.AlertState()))

    def why(self, ticker: str) -> Iterator[str]:
        yield reading.why_text(reading.why(self._config.data_dir, ticker or None))

    def force(self, words: str) -> Iterator[str]:
        """Words, and what is demanded by hand beside them. Needs no journal."""
        yield f"{words}\n\nNow: {demanded(ControlFile(self._config.data_dir, SystemClock()))}"

    def proof(self, since: str) -> Iterator[str]:
        """What has become of a halt; waits some seconds for it."""
        yield proof(self._config.data_dir, datetime.fromisoformat(since))


def _marked(simulated: tuple[str, ...] | list[str]) -> Iterator[str]:
    if simulated:
        yield f"SIMULATED {', '.join(simulated)}"


_SHOWN: Final[Mapping[str, Callable[[Shower, str], Iterator[str]]]] = {
    "status": Shower.status,
    "providers": Shower.providers,
    "spend": Shower.spend,
    "positions": Shower.positions,
    "alerts": Shower.alerts,
    "why": Shower.why,
    "force": Shower.force,
    "proof": Shower.proof,
}
