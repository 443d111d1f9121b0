"""What the benchmarks share: medians over interleaved rounds, ratios to a floor, one way to print them."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata


@dataclass(frozen=True, slots=True)
class Spread:
    """One measure over several rounds: its median and how far the rounds lay apart."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        ordered = sorted(values)
        return cls(statistics.median(ordered), ordered[0], ordered[-1])

    def text(self, places: int = 2) -> str:
        return f"{self.median:,.{places}f} ({self.low:,.{places}f}..{self.high:,.{places}f})"


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile; ``share`` is 0.5 for the median, 0.95 for p95."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def ratio(value: float, floor: float) -> str:
    return f"{value / floor:,.1f}x" if floor > 0 else "-"


def version(package: str) -> str:
    """Installed version, or an empty text when it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def machine() -> dict[str, object]:
    """What a figure depends on besides the code. The load shows who else was at work."""
    return {
        "python": platform.python_version(),
        "system": platform.system(),
        "cores": os.cpu_count(),
        "load_1min": round(os.getloadavg()[0], 1),
    }


def parser(description: str | None, *, rounds: int, rounds_max: int = 50) -> argparse.ArgumentParser:
    """Options of every benchmark."""
    made = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    made.add_argument("--json", action="store_true", help="machine-readable output")
    made.add_argument("--seed", type=int, default=0, help="of every random choice (default 0)")
    made.add_argument(
        "--rounds", type=between(1, rounds_max), default=rounds, help=f"1..{rounds_max}, default {rounds}"
    )
    return made


def between(low: int, high: int) -> Callable[[str], int]:
    """An argparse type: a whole number within bounds."""

    def number(text: str) -> int:
        value = int(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{value} is not in {low}..{high}")
        return value

    return number


def show(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table as Markdown, so that it can go into a page as it is."""
    table = [list(columns), *[list(row) for row in rows]]
    widths = [max(len(row[place]) for row in table) for place in range(len(columns))]
    print(f"\n{title}\n")
    for number, row in enumerate(table):
        cells = [
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print(f"| {' | '.join(cells)} |")
        if number == 0:
            rules = [
                "-" * width if place == 0 else "-" * (width - 1) + ":" for place, width in enumerate(widths)
            ]
            print(f"| {' | '.join(rules)} |")


def dump(name: str, facts: dict[str, object]) -> None:
    """Everything measured, as one JSON object."""
    print(json.dumps({"benchmark": name, "machine": machine(), **facts}, default=_plain))


def _plain(value: object) -> object:
    if isinstance(value, Spread):
        return asdict(value)
    raise TypeError(f"{type(value).__name__} is not for JSON")
