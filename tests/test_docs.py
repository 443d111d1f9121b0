"""The pages tell the truth: links lead somewhere, settings are the settings, commands exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from jurymast.faces.cli.main import cli

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("benchmarks/*.md"),
        *ROOT.glob("integrations/*/*.md"),
    ]
)
LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)")
COMMAND = re.compile(r"(?:uv run )?jurymast ((?:lab |exchange |rollout |config |alerts )?[a-z]+)")
COMMANDS = {
    name
    for top, command in cli.commands.items()
    for name in (
        [f"{top} {below}" for below in command.commands] if isinstance(command, click.Group) else [top]
    )
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_that_exist(page: Path) -> None:
    """Every relative link of every page has its file."""
    broken = [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()]
    assert not broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_that_pages_show_exist(page: Path) -> None:
    """A page never shows a command that the program does not have."""
    shown = {c for code in re.findall(r"`[^`]+`", page.read_text()) for c in COMMAND.findall(code)}
    assert shown <= COMMANDS


def test_every_page_is_in_the_site() -> None:
    """mkdocs.yml names each page of docs/, and no other."""
    named = set(
        re.findall(r"- (?:[\w ]+: )?([\w/.-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    )
    assert named == {str(page.relative_to(ROOT / "docs")) for page in ROOT.glob("docs/**/*.md")}


def test_the_settings_page_is_the_settings() -> None:
    """docs/reference/settings.md is what tools/settings_page.py writes today."""
    program = (
        "import sys; sys.path.insert(0, 'tools'); import settings_page; print(settings_page.page(), end='')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == (ROOT / "docs/reference/settings.md").read_text()


def test_the_example_and_the_quick_validator_run() -> None:
    """What the README points newcomers at works, and exits 0."""
    for script in ("simple_validation.py", "validate_fallback_implementation.py"):
        done = subprocess.run([sys.executable, script], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "SIMULATED" in done.stdout
    example = [sys.executable, "examples/fallback_integration_example.py"]
    done = subprocess.run(example, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "mode minimal" in done.stdout or "-> minimal" in done.stdout
    assert "everything is back" in done.stdout
