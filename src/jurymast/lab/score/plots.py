"""Pictures of a score as SVG, written by hand: no library, no fonts, readable in light and dark."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any, Final

WIDTH: Final = 720
ROW: Final = 26
LEFT: Final = 210
SIDE: Final = 320
COLOURS: Final = ("#3b7dd8", "#c8553d", "#4a9c5d", "#8a63b8", "#b8860b")
SHOWN: Final = 5
"""Policies in the picture of reliability, the last of the table."""


def write_plots(facts: Mapping[str, Any], directory: Path) -> list[Path]:
    """Write ``score-profit.svg`` and ``score-reliability.svg``; where they are. Raises OSError."""
    directory.mkdir(parents=True, exist_ok=True)
    files = []
    for name, text in (("score-profit", profit(facts)), ("score-reliability", reliability(facts))):
        path = directory / f"{name}.svg"
        path.write_text(text, encoding="utf-8")
        files.append(path)
    return files


def profit(facts: Mapping[str, Any]) -> str:
    """Profit of each policy with its interval."""
    rows = {name: its["profit_usd"] for name, its in facts["policies"].items()}
    ends = [
        value
        for its in rows.values()
        for value in (its["mean"], its["low"], its["high"])
        if value is not None
    ]
    low, high = min([*ends, 0.0]), max([*ends, 1.0])
    scale = (WIDTH - LEFT - 20) / (high - low)

    def at(value: float) -> float:
        return float(LEFT + (value - low) * scale)

    parts = [
        _text(10, 20, "Profit in $ with 95 % intervals over events, SIMULATED models and books"),
        f'<line x1="{at(0):.1f}" x2="{at(0):.1f}" y1="30" y2="{40 + ROW * len(rows)}" stroke="#888"/>',
    ]
    for place, (name, its) in enumerate(rows.items()):
        y = 48 + ROW * place
        parts.append(_text(10, y + 4, name))
        if its["low"] is not None:
            parts.append(
                f'<line x1="{at(its["low"]):.1f}" x2="{at(its["high"]):.1f}" y1="{y}" y2="{y}" '
                f'stroke="{COLOURS[0]}" stroke-width="3"/>'
            )
        parts.append(f'<circle cx="{at(its["mean"]):.1f}" cy="{y}" r="5" fill="{COLOURS[1]}"/>')
    below = 56 + ROW * len(rows)
    parts += [_text(at(value), below, f"{value:+,.0f}", anchor="middle") for value in (low, 0.0, high)]
    return _picture(WIDTH + 20, 70 + ROW * len(rows), parts)


def reliability(facts: Mapping[str, Any]) -> str:
    """What was said against what came, for the last policies of the table."""

    def at(said: float, came: float) -> tuple[float, float]:
        return 60 + said * SIDE, 50 + (1 - came) * SIDE

    (x0, y0), (x1, y1) = at(0, 0), at(1, 1)
    parts = [
        _text(10, 20, "Said against came, SIMULATED models"),
        f'<rect x="{x0}" y="{y1}" width="{SIDE}" height="{SIDE}" fill="none" stroke="#888"/>',
        f'<line x1="{x0}" y1="{y0}" x2="{x1}" y2="{y1}" stroke="#888" stroke-dasharray="4"/>',
        _text(x0 + SIDE / 2, y0 + 30, "probability said", anchor="middle"),
        _text(10, y1 - 8, "share that came"),
    ]
    for place, (name, its) in enumerate(list(facts["policies"].items())[-SHOWN:]):
        points = [at(row["said"], row["came"]) for row in its["reliability"]]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        colour = COLOURS[place % len(COLOURS)]
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
        parts.append(_text(x1 + 20, 70 + 22 * place, name, colour=colour))
    return _picture(WIDTH, int(y0) + 50, parts)


def _text(x: float, y: float, text: str, *, anchor: str = "start", colour: str = "#777") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-family="sans-serif" font-size="13" fill="{colour}" '
        f'text-anchor="{anchor}">{escape(text)}</text>'
    )


def _picture(width: int, height: int, parts: list[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">'
    return "\n".join([head, *parts, "</svg>\n"])
