"""Real incidents from a file: one row each, as annotated from public status pages. No file is shipped.

Columns used: provider, start_utc, end_utc, est_error_rate, affects_flagship_chat (``1`` where the provider's
best chat model was hit), so the failure probability at a time is the largest rate among the active rows.
xAI publishes no archive: it is given OpenAI's incidents, shifted in time by the seed.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Final

from jurymast.domain.errors import ConfigError
from jurymast.domain.provider import ProviderName
from jurymast.lab.sim.climate import WEEK_SECS, shared_edge
from jurymast.lab.sim.faults import Incident, Schedule
from jurymast.lab.sim.places import CLOUDS

ROWS_MAX: Final = 100_000
HARMS: Final = ("503",) * 7 + ("hang",) * 3
"""Seven in ten failures are fast, three hang: an assumption, the record does not say."""


@dataclass(frozen=True, slots=True)
class Trace:
    """Incidents of the chat path by provider, in seconds since a Monday before the first."""

    secs: float
    rows: dict[ProviderName, tuple[tuple[float, float, float], ...]]
    """(start, end, rate), sorted."""


def read_trace(path: Path) -> Trace:
    """Read a file of incidents. Raises ConfigError for one that can't be used."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            table = list(csv.DictReader(file))[:ROWS_MAX]
        spans = [(_time(row["start_utc"]), _time(row["end_utc"])) for row in table]
        chat = [
            (row["provider"], start, end, float(row["est_error_rate"]))
            for row, (start, end) in zip(table, spans, strict=True)
            if row["affects_flagship_chat"] == "1" and start < end
        ]
    except (OSError, KeyError, ValueError, csv.Error) as error:
        raise ConfigError(
            f"the trace {path} can't be read ({type(error).__name__}: {error}). It needs the columns "
            "provider, start_utc, end_utc, est_error_rate and affects_flagship_chat"
        ) from error
    if not chat:
        raise ConfigError(f"the trace {path} holds no incident of a chat path: nothing to replay")
    first = min(start for start, _ in spans)
    zero = first - (first - _MONDAY) % WEEK_SECS
    rows = {
        name: tuple(sorted((s - zero, e - zero, rate) for who, s, e, rate in chat if who == name.value))
        for name in ProviderName
    }
    return Trace(max(end for _, end in spans) - zero, rows)


def replayed(trace: Trace, seed: int, clouds: int, *, edge_hours: float = 0.0) -> Schedule:
    """The trace as a schedule. With ``edge_hours`` a year all clouds also fail at once."""
    random = Random(f"trace {seed}")
    incidents: list[Incident] = []
    for name in CLOUDS[clouds]:
        shift = 0.0
        source = name
        if name is ProviderName.XAI:
            source, shift = ProviderName.OPENAI, random.uniform(0.1, 0.9) * trace.secs
        for start, end, rate in trace.rows[source]:
            begin = (start + shift) % trace.secs
            incidents.append(Incident(begin, begin + end - start, ((name, None),), rate, HARMS))
    incidents += shared_edge(random, CLOUDS[clouds], trace.secs, edge_hours)
    return Schedule(trace.secs, tuple(sorted(incidents, key=lambda i: (i.start, i.end, i.hits))))


def _time(text: str) -> float:
    return datetime.fromisoformat(text).astimezone(UTC).timestamp()


_MONDAY: Final = datetime(1970, 1, 5, tzinfo=UTC).timestamp()
