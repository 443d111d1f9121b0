"""Write docs/reference/settings.md from the settings: ``uv run python tools/settings_page.py``."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from jurymast.app.config import Config
from jurymast.app.reload import tunable
from jurymast.app.settings import REQUIRED, Described, describe

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "settings.md"
HEAD = """\
# Settings

Written by `tools/settings_page.py`; defaults are those for real use, `jurymast run` without a configuration
file shortens some of them ([embedded.toml](../../src/jurymast/app/embedded.toml)). The file is TOML, given by
`--config`; `JURYMAST_SECTION__KEY` in the environment overrides a key, and the command line overrides both.
An unknown key, a wrong type or a value out of bounds stops the start, with its line and the likely meaning.
Keys never stand in the file: they come from the environment or from a file of their own. NAME stands for a
name of yours, or for the host that a key is for (embedded, demo, production); tables that are
alike are shown once.

A running bot looks at its file once a second. What is marked with * is taken over then, and told of in the
journal; the rest waits for a restart. A file that a start would refuse changes nothing, and is an alert until
it is mended.
"""


def section_of(row: Described) -> str:
    return row.path.rpartition(".")[0]


def named_tables(settings: object, path: str = "", seen: set[type] | None = None) -> Iterator[Described]:
    """Settings of the tables that have names of the user's choice, of which there are none by default."""
    seen = set() if seen is None else seen
    hints = typing.get_type_hints(type(settings))
    for field in dataclasses.fields(settings):  # type: ignore[arg-type] # any dataclass instance
        value, here = getattr(settings, field.name), f"{path}{field.name}."
        if dataclasses.is_dataclass(value):
            yield from named_tables(value, here, seen)
        elif typing.get_origin(hints[field.name]) is dict:
            _, table = typing.get_args(hints[field.name])
            for each in () if table in seen else dataclasses.fields(table):
                shown = "(required)" if each.default is REQUIRED else str(each.default or "")
                unit, doc = each.metadata.get("unit", ""), each.metadata.get("doc", "")
                yield Described(f"{here}NAME.{each.name}", shown, unit, doc)
            seen.add(table)


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for section, rows in groupby([*describe(Config()), *named_tables(Config())], key=section_of):
        parts.append(f"\n## [{section}]\n\n| key | default | unit | |\n|---|---|---|---|\n")
        for row in rows:
            key = f"`{row.path.rpartition('.')[2]}`{' *' if tunable(row.path) else ''}"
            parts.append(f"| {key} | `{row.value or '(empty)'}` | {row.unit} | {row.doc} |\n")
    return "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
