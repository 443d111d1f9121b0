"""One line of JSON for each decision, in a file for whoever gathers logs (``[log] file``).

Lines are made of what the journal has, with secrets masked, and written once a second in a thread: a disk
that refuses costs lines, counted in the next one that is written, and nothing else. A file of
``FILE_BYTES_MAX`` is put aside as ``.1``, ``.2``, ``.3``.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import msgspec

from jurymast.app.redaction import Redactor
from jurymast.domain.decision import Abstain, Decision
from jurymast.domain.events import DecisionAbstained, DecisionMade, Event
from jurymast.domain.money import USD
from jurymast.ports import Clock

LINES_WAITING_MAX: Final = 2_000
WRITE_SECS: Final = 1.0
FILE_BYTES_MAX: Final = 50 * 1024 * 1024
FILES_KEPT: Final = 3


class DecisionLog:
    """Writes to ``path``; an empty one is none."""

    def __init__(self, path: str, clock: Clock, redact: Redactor) -> None:
        self._path = Path(path) if path else None
        self._clock = clock
        self._redact = redact
        self._waiting: deque[bytes] = deque()
        self._lost = 0

    def saw(self, event: Event) -> None:
        """Take a decision down. Never waits."""
        if self._path is None:
            return
        match event:
            case DecisionMade(decision=decision):
                facts = _common(decision) | _forecast(decision)
            case DecisionAbstained(abstain=abstain):
                facts = _common(abstain) | {"abstained": abstain.reason, "reason": abstain.detail}
            case _:
                return
        if len(self._waiting) >= LINES_WAITING_MAX:
            self._lost += 1
            return
        try:
            line = msgspec.json.encode(facts | ({"lines_lost": self._lost} if self._lost else {}))
        except ValueError:  # half a character in a stranger's text
            self._lost += 1
            return
        self._lost = 0
        self._waiting.append(self._redact(line.decode()).encode())

    async def run(self) -> None:
        """Write what has come, until cancelled; the rest then."""
        while self._path is not None:
            try:
                await self._clock.sleep(WRITE_SECS)
            except asyncio.CancelledError:
                self._write(self._path)
                raise
            await asyncio.to_thread(self._write, self._path)

    def _write(self, path: Path) -> None:
        lines = [self._waiting.popleft() for _ in range(len(self._waiting))]
        if not lines:
            return
        try:
            _turn(path)
            with path.open("ab") as file:
                file.write(b"".join(line + b"\n" for line in lines))
        except OSError:
            self._lost += len(lines)


def _turn(path: Path) -> None:
    """Put a file that is large enough aside. Raises OSError."""
    if not path.exists() or path.stat().st_size < FILE_BYTES_MAX:
        return
    names = [path, *(path.with_name(f"{path.name}.{n}") for n in range(1, FILES_KEPT + 1))]
    for newer, older in reversed(list(pairwise(names))):
        with suppress(FileNotFoundError):
            newer.replace(older)


def _common(source: Decision | Abstain) -> dict[str, Any]:
    return {
        "at": source.decided_at.isoformat(),
        "decision_id": source.decision_id,
        "ticker": source.ticker,
        "mode": source.mode,
        "rung": source.rung,
        "route": str(source.route) if source.route else None,
        "served_model": source.served_model or None,
        "market_cents": source.market_price / 10_000 if source.market_price else None,
        "cost_usd": source.cost / USD,
        "secs": round(source.secs, 3),
        "simulated": source.simulated,
        "attempts": [
            {
                "route": str(attempt.route),
                "sent": attempt.sent,
                "outcome": attempt.outcome,
                "failure": attempt.failure,
                "detail": attempt.detail,
                "secs": round(attempt.secs, 3),
                "cost_usd": attempt.cost / USD,
            }
            for attempt in source.attempts
        ],
    }


def _forecast(decision: Decision) -> dict[str, Any]:
    forecast, weight = decision.forecast, decision.weight
    return {
        "probability_pct": forecast.probability_pct,
        "low_pct": forecast.low_pct,
        "high_pct": forecast.high_pct,
        "weight": None if weight is None else weight.used,
        "reason": decision.reason,
    }
