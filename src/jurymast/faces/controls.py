"""What can be done from page and terminal: the same demands, by the same rules, as on the command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from jurymast.app import alerts
from jurymast.app.clock import SystemClock
from jurymast.app.control import ControlFile
from jurymast.domain.errors import ControlUnwritable
from jurymast.domain.provider import ProviderName
from jurymast.domain.status import EmergencyMode, TradingState
from jurymast.policy import demands as rules
from jurymast.policy.demands import Demand, Demands, ModeDemand, Preference, StateDemand

MINUTES_MAX: Final = 7 * 24 * 60
CONFIRMED: Final = "yes"
Form = Mapping[str, str]


class Refused(Exception):
    """The form does not say what is needed, or the rules do not allow it."""


def carry_out(directory: Path, action: str, form: Form) -> None:
    """Change what is demanded. Raises Refused, or ControlUnwritable from the file."""
    if form.get("confirm") != CONFIRMED:
        raise Refused("it was not confirmed")
    if action == "ack":
        _acknowledge(directory, form.get("id", "").strip())
        return
    control = ControlFile(directory, SystemClock())
    if action == "halt":
        control.halt(form.get("reason") or "halted by hand")
        return
    if action == "resume":
        control.resume(_needed(form, "reason"))
        return
    change = _CHANGES.get(action)
    try:
        if action in _FLOORS:
            control.floor(_floor(form, work_down=action == "reduce"))
        elif change is not None:
            control.change(change(form))
        else:
            raise Refused(f"there is no action {action}")
    except ValueError as error:
        raise Refused(str(error)) from None


def _acknowledge(directory: Path, wanted: str) -> None:
    """Take on one open alert, or all of them. Raises Refused, ControlUnwritable."""
    found = {trouble.id for trouble in (alerts.read(directory) or alerts.AlertState()).alerts.open}
    if wanted and wanted not in found:
        raise Refused(f"no open alert has the id {wanted:.64}")
    try:
        alerts.acknowledge(directory, {wanted} if wanted else found)
    except OSError as error:
        raise ControlUnwritable(f"nothing is acknowledged: {error.strerror}") from error


def _floor(form: Form, *, work_down: bool) -> StateDemand:
    return StateDemand(
        form.get("reason", ""), _now(), _until(form), floor=TradingState.REDUCING, work_down=work_down
    )


def _mode(form: Form) -> Callable[[Demands], Demands]:
    demand = ModeDemand(form.get("reason", ""), _now(), _until(form), EmergencyMode(_needed(form, "mode")))
    return lambda old: rules.with_mode(old, demand)


def _isolate(form: Form) -> Callable[[Demands], Demands]:
    name, demand = (
        ProviderName(_needed(form, "provider")),
        Demand(form.get("reason", ""), _now(), _until(form)),
    )
    return lambda old: replace(old, isolated={**old.isolated, name: demand})


def _restore(form: Form) -> Callable[[Demands], Demands]:
    name = ProviderName(_needed(form, "provider"))
    return lambda old: replace(old, isolated={k: v for k, v in old.isolated.items() if k is not name})


def _failover(form: Form) -> Callable[[Demands], Demands]:
    source, target = ProviderName(_needed(form, "provider")), ProviderName(_needed(form, "target"))
    if source is target:
        raise Refused("from and to are the same provider")
    demand = Preference(form.get("reason", ""), _now(), None, source, target)
    return lambda old: replace(old, preferred=demand)


_FLOORS: Final = frozenset({"pause", "reduce"})
_CHANGES: Final[Mapping[str, Callable[[Form], Callable[[Demands], Demands]]]] = {
    "mode": _mode,
    "isolate": _isolate,
    "restore": _restore,
    "failover": _failover,
}


def _needed(form: Form, name: str) -> str:
    value = form.get(name, "").strip()
    if not value:
        raise Refused(f"it needs a {name}")
    return value


def _until(form: Form) -> datetime | None:
    text = form.get("minutes", "").strip()
    if not text:
        return None
    if not text.isdecimal() or not 1 <= int(text) <= MINUTES_MAX:
        raise Refused(f"minutes are a whole number from 1 to {MINUTES_MAX}")
    return _now() + timedelta(minutes=int(text))


def _now() -> datetime:
    return SystemClock().utc_now()
