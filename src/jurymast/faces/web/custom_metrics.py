"""Metrics of the user's own: JSON files in ``metrics.d`` of the data directory, read at each scrape.

A file is data and nothing of it is run. What can't be read is left out and counted; names get the prefix
``jurymast_custom_``. ``{"edge_seen": 1.5}`` will do, or ``{"fills_seen": {"type": "counter", "help": "...",
"samples": [{"labels": {"series": "KXA"}, "value": 3}]}}``.
"""

from __future__ import annotations

import re
from collections.abc import Container
from pathlib import Path
from typing import Final, Literal

import msgspec

from jurymast.faces.web.exposition import Family, Kind

DIRECTORY: Final = "metrics.d"
FILES_MAX: Final = 20
FILE_BYTES_MAX: Final = 65_536
SAMPLES_MAX: Final = 200
"""Of one file."""
LABELS_MAX: Final = 5
LABEL_CHARS_MAX: Final = 100
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,60}")


class _Sample(msgspec.Struct, forbid_unknown_fields=True):
    value: float
    labels: dict[str, str] = {}


class _Metric(msgspec.Struct, forbid_unknown_fields=True):
    samples: list[_Sample]
    type: Literal["gauge", "counter"] = "gauge"
    help: str = "A metric of the user's own."


_File = dict[str, float | _Metric]


def read(directory: Path, now: float) -> list[Family]:
    """The families of every readable file, and how many are not. ``now`` in seconds since 1970."""
    families: dict[str, Family] = {}
    unreadable, ages = 0, Family("custom_file_age_seconds", Kind.GAUGE, "Since a file was written.")
    try:
        paths = sorted((directory / DIRECTORY).glob("*.json"))
    except OSError:
        paths = []
    for path in paths[:FILES_MAX]:
        try:
            found = _families(path, taken=families)
            ages.add(max(0.0, now - path.stat().st_mtime), file=path.stem)
        except (OSError, ValueError, msgspec.MsgspecError):
            unreadable += 1
        else:
            families |= found
    left = unreadable + max(0, len(paths) - FILES_MAX)
    wrong = Family("custom_files_unreadable", Kind.GAUGE, "Files in metrics.d that were left out.")
    return [wrong.add(left), ages, *families.values()]


def _families(path: Path, taken: Container[str]) -> dict[str, Family]:
    """Raises ValueError or MsgspecError for a file that is not what it should be."""
    with path.open("rb") as file:
        raw = file.read(FILE_BYTES_MAX + 1)
    if len(raw) > FILE_BYTES_MAX:
        raise ValueError("too large")
    metrics, samples, families = msgspec.json.decode(raw, type=_File), 0, {}
    for name, told in metrics.items():
        metric = told if isinstance(told, _Metric) else _Metric([_Sample(float(told))])
        family = _family(name, metric)
        samples += len(family.rows)
        if family.name in taken or family.name in families:
            raise ValueError("a name is taken already")
        families[family.name] = family
    if samples > SAMPLES_MAX:
        raise ValueError("too many samples")
    return families


def _family(name: str, metric: _Metric) -> Family:
    kind = Kind(metric.type)
    full = name if kind is Kind.GAUGE or name.endswith("_total") else f"{name}_total"
    family = Family(f"custom_{full}", kind, metric.help[:200])
    alike = {tuple(sorted(sample.labels.items())): sample for sample in metric.samples}
    for sample in alike.values():
        words = [name, *sample.labels]
        if not all(_NAME.fullmatch(word) for word in words) or len(words) > LABELS_MAX + 1:
            raise ValueError("a name that is none, or too many labels")
        if any(len(text) > LABEL_CHARS_MAX for text in sample.labels.values()):
            raise ValueError("a label that is too long")
        _ = family.add(sample.value, **sample.labels)
    return family
