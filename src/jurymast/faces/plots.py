"""Small plots as SVG: they scale, need no script, and take their colours from the page they stand in.

A page defines ``--good``, ``--warn``, ``--bad``, ``--quiet``, ``--line`` and ``--ink`` as CSS colours.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

WIDTH: Final = 720
GOOD_UPTIME: Final = 0.999
FAIR_UPTIME: Final = 0.95
_TICKS: Final = 4


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
    if len(points) < 2:
        return ""
    xs, ys = [x for x, _ in points], [y for _, y in points]
    low, high = min(ys), max(ys)
    room = (high - low) * 0.08 or max(abs(high) * 0.01, 0.01)
    low, high = (max(0.0, low - room) if low >= 0 else low - room), high + room
    left, bottom = 70, height - 22

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - xs[0]) / ((xs[-1] - xs[0]) or 1.0)
        return left + across * (WIDTH - left - 4), 8 + (high - y) / (high - low) * (bottom - 8)

    parts = []
    for tick in range(_TICKS + 1):
        value = low + (high - low) * tick / _TICKS
        _, y = place(xs[0], value)
        parts.append(
            f'<line x1="{left}" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="var(--line)"/>'
            f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{unit}{value:,.{places}f}</text>'
        )
    path = " ".join(
        f"{'L' if number else 'M'}{x:.1f} {y:.1f}" for number, (x, y) in enumerate(place(*p) for p in points)
    )
    parts.append(f'<path d="{path}" fill="none" stroke="var(--ink)" stroke-width="1.6"/>')
    for x, anchor, text in ((left, "start", dated[0]), (WIDTH, "end", dated[-1])):
        parts.append(f'<text x="{x}" y="{height - 4}" text-anchor="{anchor}">{escape(text)}</text>')
    return _svg(height, "".join(parts), title)


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


def _svg(height: int, body: str, title: str, *, stretch: bool = False) -> str:
    """``stretch`` fills whatever width there is at the same height: for bars, which have no letters."""
    fit = f'class="bars" preserveAspectRatio="none" height="{height}"' if stretch else 'class="plot"'
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}" {fit}>{body}</svg>'
