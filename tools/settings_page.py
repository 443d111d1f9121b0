"""Write docs/reference/settings.md from the settings: ``uv run python tools/settings_page.py``."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from jurymast.app.config import Config
from jurymast.app.settings import Described, describe

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "settings.md"
HEAD = """\
# Settings

Written by `tools/settings_page.py`; defaults are those for real use, `jurymast run` without a configuration
file shortens some of them ([embedded.toml](../../src/jurymast/app/embedded.toml)). The file is TOML, given by
`--config`; `JURYMAST_SECTION__KEY` in the environment overrides a key, and the command line overrides both.
An unknown key, a wrong type or a value out of bounds stops the start, with its line and the likely meaning.
Keys of providers never stand in the file: they come from the environment or from a file of their own.
"""


def section_of(row: Described) -> str:
    return row.path.rpartition(".")[0]


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for section, rows in groupby(describe(Config()), key=section_of):
        parts.append(f"\n## [{section}]\n\n| key | default | unit | |\n|---|---|---|---|\n")
        parts += [
            f"| `{row.path.rpartition('.')[2]}` | `{row.value or '(empty)'}` | {row.unit} | {row.doc} |\n"
            for row in rows
        ]
    return "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
