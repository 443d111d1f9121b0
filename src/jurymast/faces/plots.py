"""Small plots as SVG: they scale, need no script, and take their colours from the page they stand in.

A page defines ``--good``, ``--warn``, ``--bad``, ``--quiet``, ``--line`` and ``--ink`` as CSS colours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Final

WIDTH: Final = 720
GOOD_UPTIME: Final = 0.999
FAIR_UPTIME: Final = 0.95
_TICKS: Final = 4
SERIES: Final = 3
"""Colours beside ``--ink``."""


def heartbeat(uptimes: Sequence[float | None], labels: Sequence[str], *, height: int = 28) -> str:
    """One bar for each part of a time: whole and green when all was well, short and red when nothing was.

    ``labels`` say what a bar is of; they show when it is pointed at.
    """
    step = WIDTH / max(len(uptimes), 1)
    bars = []
    for place, (uptime, label) in enumerate(zip(uptimes, labels, strict=True)):
        if uptime is None:
            word, colour, tall = "nothing known", "quiet", 0.25
        else:
            word = f"{uptime:.2%}"
            colour = "good" if uptime >= GOOD_UPTIME else "warn" if uptime >= FAIR_UPTIME else "bad"
            tall = max(uptime, 0.15)
        bars.append(
            f'<rect x="{place * step:.1f}" y="{height * (1 - tall):.1f}" width="{step * 0.72:.1f}" '
            f'height="{height * tall:.1f}" rx="1.5" fill="var(--{colour})">'
            f"<title>{escape(label)}: {word}</title></rect>"
        )
    return _svg(height, "".join(bars), "uptime over time", stretch=True)


def line(
    points: Sequence[tuple[float, float]],
    *,
    unit: str = "",
    height: int = 180,
    title: str,
    dated: Sequence[str],
    places: int = 0,
) -> str:
    """A line through points in order of x, with a scale; ``dated`` names the first and the last x."""
    return lines({title: points}, unit=unit, height=height, title=title, dated=dated, places=places)


def lines(
    series: Mapping[str, Sequence[tuple[float, float]]],
    *,
    unit: str = "",
    height: int = 180,
    title: str,
    dated: Sequence[str],
    places: int = 0,
    most: float | None = None,
) -> str:
    """Several lines on one scale, each through points in order of x, with their names if there are several.

    The scale ends at ``most`` at the latest. Empty when no line has two points. Colours are ``--ink``, then
    ``--series-1`` to ``--series-3``.
    """
    drawn = {name: points for name, points in series.items() if len(points) > 1}
    if not drawn:
        return ""
    xs, ys = ([point[place] for points in drawn.values() for point in points] for place in (0, 1))
    first, last, low, high = min(xs), max(xs), min(ys), max(ys)
    room = (high - low) * 0.08 or max(abs(high) * 0.01, 0.01)
    low, high = (max(0.0, low - room) if low >= 0 else low - room), high + room
    high = high if most is None else min(high, most)
    left, top, bottom = 70, 8 if len(drawn) == 1 else 24, height - 22

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - first) / ((last - first) or 1.0)
        return left + across * (WIDTH - left - 4), top + (high - y) / (high - low) * (bottom - top)

    parts = [_scale(low, high, left, lambda value: place(first, value)[1], unit, places)]
    for number, (name, points) in enumerate(drawn.items()):
        colour = _series(number)
        path = " ".join(
            f"{'L' if step else 'M'}{x:.1f} {y:.1f}" for step, (x, y) in enumerate(place(*p) for p in points)
        )
        parts.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
        if len(drawn) > 1:
            x = left + number * (WIDTH - left) / len(drawn)
            parts.append(f'<text x="{x:.1f}" y="12" style="fill: {colour}">{escape(name)}</text>')
    for x, anchor, text in ((left, "start", dated[0]), (WIDTH, "end", dated[-1])):
        parts.append(f'<text x="{x}" y="{height - 4}" text-anchor="{anchor}">{escape(text)}</text>')
    return _svg(height, "".join(parts), title)


def columns(
    parts: Sequence[tuple[str, Mapping[str, float]]],
    *,
    unit: str = "",
    height: int = 180,
    title: str,
    places: int = 0,
) -> str:
    """A column for each part of a time, made of named amounts; empty when there is nothing to show."""
    high = max((sum(amounts.values()) for _, amounts in parts), default=0.0)
    if high <= 0:
        return ""
    names = list(dict.fromkeys(name for _, amounts in parts for name in amounts))
    left, top, bottom = 70, 24, height - 22
    step = (WIDTH - left) / len(parts)

    def place(value: float) -> float:
        return bottom - value / (high * 1.05) * (bottom - top)

    drawn = [_scale(0.0, high, left, place, unit, places)]
    for number, (label, amounts) in enumerate(parts):
        below = 0.0
        for name, amount in amounts.items():
            if amount > 0:
                drawn.append(
                    f'<rect x="{left + number * step + step * 0.1:.1f}" y="{place(below + amount):.1f}" '
                    f'width="{step * 0.8:.1f}" height="{place(below) - place(below + amount):.1f}" '
                    f'fill="{_series(names.index(name))}">'
                    f"<title>{escape(label)}, {escape(name)}: {unit}{amount:,.{places}f}</title></rect>"
                )
                below += amount
    for number, name in enumerate(names):
        x = left + number * (WIDTH - left) / len(names)
        drawn.append(f'<text x="{x:.1f}" y="12" style="fill: {_series(number)}">{escape(name)}</text>')
    for x, anchor, text in ((left, "start", parts[0][0]), (WIDTH, "end", parts[-1][0])):
        drawn.append(f'<text x="{x}" y="{height - 4}" text-anchor="{anchor}">{escape(text)}</text>')
    return _svg(height, "".join(drawn), title)


def reliability(bins: Sequence[tuple[float, float, int]], *, title: str, size: int = 320) -> str:
    """What was said against what came: a dot for each (said, came, count), by shares, beside the diagonal."""
    left, bottom = 44, size - 30
    wide, tall = size - left - 22, bottom - 14
    most = max((count for _, _, count in bins), default=1)
    parts = []
    for tick in range(_TICKS + 1):
        share = tick / _TICKS
        x, y = left + share * wide, bottom - share * tall
        parts.append(
            f'<line x1="{left}" x2="{left + wide}" y1="{y:.1f}" y2="{y:.1f}" stroke="var(--line)"/>'
            f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{share:.0%}</text>'
            f'<text x="{x:.1f}" y="{size - 10}" text-anchor="middle">{share:.0%}</text>'
        )
    parts.append(
        f'<line x1="{left}" y1="{bottom}" x2="{left + wide}" y2="{bottom - tall}" stroke="var(--quiet)" '
        'stroke-dasharray="4 4"/>'
    )
    parts += [
        f'<circle cx="{left + said * wide:.1f}" cy="{bottom - came * tall:.1f}" '
        f'r="{3 + 9 * (count / most) ** 0.5:.1f}" fill="var(--ink)" fill-opacity="0.6">'
        f"<title>said {said:.0%}, came {came:.0%}, {count} forecasts</title></circle>"
        for said, came, count in bins
    ]
    return _svg(size, "".join(parts), title, width=size)


def shares(parts: Sequence[tuple[str, float, str]], *, height: int = 22) -> str:
    """One bar cut into (name, share, colour): what a whole is made of."""
    bars, x = [], 0.0
    for name, share, colour in parts:
        width = share * WIDTH
        if width > 0:
            bars.append(
                f'<rect x="{x:.1f}" y="0" width="{max(width, 0.8):.1f}" height="{height}" '
                f'fill="var(--{colour})"><title>{escape(name)}: {share:.2%}</title></rect>'
            )
        x += width
    told = ", ".join(f"{name} {share:.1%}" for name, share, _ in parts if share)
    return _svg(height, "".join(bars), told, stretch=True)


def _scale(
    low: float, high: float, left: int, place: Callable[[float], float], unit: str, places: int
) -> str:
    """Lines across with their values."""
    parts = []
    for tick in range(_TICKS + 1):
        value = low + (high - low) * tick / _TICKS
        y = place(value)
        parts.append(
            f'<line x1="{left}" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="var(--line)"/>'
            f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{unit}{value:,.{places}f}</text>'
        )
    return "".join(parts)


def _series(number: int) -> str:
    return "var(--ink)" if number == 0 else f"var(--series-{(number - 1) % SERIES + 1})"


def _svg(height: int, body: str, title: str, *, stretch: bool = False, width: int = WIDTH) -> str:
    """``stretch`` fills whatever width there is at the same height: for bars, which have no letters."""
    fit = f'class="bars" preserveAspectRatio="none" height="{height}"' if stretch else 'class="plot"'
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}" {fit}>{body}</svg>'
