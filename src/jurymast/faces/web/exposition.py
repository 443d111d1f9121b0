"""Prometheus's text format, version 0.0.4: families of samples, written down.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from jurymast.domain.word import Word

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
PREFIX: Final = "jurymast_"


class Kind(Word):
    """What a metric is."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


@dataclass(slots=True)
class Family:
    """One metric. ``name`` has no prefix, and its unit last; counters end in ``_total``."""

    name: str
    kind: Kind
    help: str
    rows: list[str] = field(default_factory=list)

    def add(self, value: float | None, **labels: str) -> Family:
        """A sample; None is none."""
        if value is not None:
            self._write(self.name, labels, value)
        return self

    def histogram(
        self, bounds: Iterable[float], counts: Iterable[int], seconds: float, **labels: str
    ) -> Family:
        """The samples of a histogram: ``counts`` has one more than ``bounds``, for what lies above."""
        seen = 0
        for bound, count in zip((*bounds, math.inf), counts, strict=True):
            seen += count
            self._write(f"{self.name}_bucket", {**labels, "le": _number(bound)}, seen)
        self._write(f"{self.name}_sum", labels, seconds)
        self._write(f"{self.name}_count", labels, seen)
        return self

    def _write(self, name: str, labels: Mapping[str, str], value: float) -> None:
        shown = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
        self.rows.append(f"{PREFIX}{name}{{{shown}}} {_number(value)}" if shown else
                         f"{PREFIX}{name} {_number(value)}")  # fmt: skip


def written(families: Iterable[Family]) -> str:
    """The whole page; a family without samples is left out."""
    lines: list[str] = []
    for family in families:
        if family.rows:
            said = family.help.replace("\\", "\\\\").replace("\n", "\\n")
            lines += [f"# HELP {PREFIX}{family.name} {said}", f"# TYPE {PREFIX}{family.name} {family.kind}"]
            lines += family.rows
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return "NaN" if math.isnan(value) else repr(value)
