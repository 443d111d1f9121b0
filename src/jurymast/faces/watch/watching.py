"""Keeps the screen fresh and obeys keys. Read-only, unless it was started to control."""

from __future__ import annotations

import os
import select
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.live import Live as Display

from jurymast.domain.errors import JurymastError
from jurymast.faces import controls
from jurymast.faces.cli import reading
from jurymast.faces.view import SPANS, Viewer
from jurymast.faces.watch.screen import HELP, KEYS, Screen

REFRESH_SECS: Final = 1.0
LINE_CHARS_MAX: Final = 200
_SPAN_KEYS: Final = dict(zip("123", SPANS, strict=True))
_ACTIONS: Final = {"halt": "reason", "pause": "reason", "reduce": "reason", "resume": "reason",
                   "isolate": "provider", "restore": "provider", "mode": "mode"}  # fmt: skip


class Watching:
    """The state of one terminal: what is shown, and what is being typed."""

    def __init__(self, directory: Path, *, may_control: bool) -> None:
        self._directory = directory
        self._may_control = may_control
        self._viewer = Viewer(directory)
        self._wanted = ""
        self._typed: str | None = None
        self._lines: list[str] | None = None
        self._asking: Callable[[], None] | None = None
        self._hint = KEYS
        self.span = "24h"
        self.over = False

    def screen(self) -> Screen:
        """What is to be seen now."""
        hint = self._hint if self._typed is None else self._typed
        return Screen(self._viewer.view(self.span), wanted=self._wanted, hint=hint, lines=self._lines)

    def key(self, key: str) -> None:
        """Obey one key."""
        if self._asking is not None:
            self._answer(key)
        elif self._typed is not None:
            self._type(key)
        elif self._lines is not None:
            self._lines, self._hint = None, KEYS
        elif key == "q":
            self.over = True
        elif key in _SPAN_KEYS:
            self.span = _SPAN_KEYS[key]
        elif key in "/:":
            self._typed = key
        elif key == "?":
            self._show(HELP.splitlines())

    def _type(self, key: str) -> None:
        typed = self._typed or ""
        if key == "\x1b":
            self._typed = None
        elif key in "\r\n":
            self._typed = None
            self._enter(typed)
        elif key in "\x7f\b":
            self._typed = typed[:-1] or None
        elif key.isprintable() and len(typed) < LINE_CHARS_MAX:
            self._typed = typed + key

    def _enter(self, typed: str) -> None:
        if typed.startswith("/"):
            self._wanted = typed[1:].strip()
            self._hint = f"only lines with {self._wanted!r}; / alone shows all" if self._wanted else KEYS
            return
        word, _, rest = typed[1:].strip().partition(" ")
        if word in {"q", "quit"}:
            self.over = True
        elif word in SPANS:
            self.span = word
        elif word in {"why", "report"}:
            self._show(self._told(word, rest.strip()))
        elif word in _ACTIONS:
            self._ask(word, rest.strip())
        elif word:
            self._hint = f"there is no command {word}; ? says which there are"

    def _told(self, word: str, rest: str) -> list[str]:
        try:
            if word == "why":
                return reading.why_text(reading.why(self._directory, rest or None)).splitlines()
            from jurymast.faces.report import facts, writing

            days = SPANS[self.span].total_seconds() / writing.DAY_SECS
            now = self._viewer.view(self.span).at
            return writing.markdown(facts.gather(self._directory, until=now, days=days)).splitlines()
        except JurymastError as error:
            return [str(error)]

    def _show(self, lines: list[str]) -> None:
        self._lines, self._hint = lines, "any key comes back"

    def _ask(self, word: str, rest: str) -> None:
        if not self._may_control:
            self._hint = f"read-only: start with --control to {word}, or say `jurymast {word}`"
            return
        form = {"confirm": controls.CONFIRMED, _ACTIONS[word]: rest}

        def act() -> None:
            try:
                controls.carry_out(self._directory, word, form)
                self._hint = f"done: {word} {rest}"
            except (controls.Refused, JurymastError) as error:
                self._hint = f"{error}. Nothing was changed."

        self._asking = act
        self._hint = f"{word} {rest}: are you sure? y or n"

    def _answer(self, key: str) -> None:
        act, self._asking = self._asking, None
        if key == "y" and act is not None:
            act()
        else:
            self._hint = "nothing was changed"


def watch(directory: Path, console: Console, *, may_control: bool) -> None:
    """Watch until `q` or Ctrl-C. Without a terminal one look is printed."""
    watching = Watching(directory, may_control=may_control)
    if not (console.is_terminal and sys.stdin.isatty()):
        console.print(watching.screen())
        return
    with (
        _keys() as pressed,
        Display(watching.screen(), console=console, screen=True, auto_refresh=False) as display,
    ):
        while not watching.over:
            display.update(watching.screen(), refresh=True)
            until = time.monotonic() + REFRESH_SECS
            while (left := until - time.monotonic()) > 0 and not watching.over:
                keys = pressed(left)
                for key in keys:
                    watching.key(key)
                if keys:
                    break


@contextmanager
def _keys() -> Iterator[Callable[[float], str]]:
    """Keys as they are pressed; the terminal as it was afterwards."""
    handle = sys.stdin.fileno()
    before = termios.tcgetattr(handle)
    try:
        tty.setcbreak(handle)

        def pressed(wait_secs: float) -> str:
            ready, _, _ = select.select([handle], [], [], wait_secs)
            return os.read(handle, 64).decode(errors="ignore") if ready else ""

        yield pressed
    finally:
        termios.tcsetattr(handle, termios.TCSADRAIN, before)
