"""What people demand, kept in two files of the data directory that outlive the bot and its database.

``HALT``          exists or not: the oldest latch, made by `jurymast halt`, by the watchdog, or by ``touch``.
``control.json``  everything else, and the reasons: readable, versioned, replaced as a whole or not at all.

Readers never wait for writers; writers take turns by a lock that the kernel drops when they die. A file
that can't be read is a halt, and its words are kept beside it when it is written anew.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import msgspec

from jurymast.domain.errors import ControlUnwritable
from jurymast.policy.demands import (
    NONE,
    REASON_CHARS_MAX,
    Demand,
    Demands,
    StateDemand,
    halted,
    with_state,
)
from jurymast.ports import Clock
from jurymast.watch.files import Stamp, replace_file, stamp, taking_turns

VERSION: Final = 1
HALT: Final = "HALT"
CONTROL: Final = "control.json"
LOCK: Final = "control.lock"
BYTES_MAX: Final = 65_536
"""A control file larger than this is none."""


class _File(msgspec.Struct, frozen=True):
    """What the file holds."""

    version: int
    demands: Demands


class Unreadable(Exception):
    """The control file is damaged, or of a newer version."""


@dataclass(slots=True)
class _Seen:
    stamps: tuple[Stamp, Stamp]
    demands: Demands


class ControlFile:
    """``ports.ControlSource`` of one data directory. Reading costs two looks at the file system."""

    def __init__(self, directory: Path, clock: Clock) -> None:
        self.directory: Final = directory
        self.halt_path: Final = directory / HALT
        self.path: Final = directory / CONTROL
        self._clock = clock
        self._seen: _Seen | None = None

    def demands(self) -> Demands:
        """Everything in force now. Never raises: what can't be read is a halt."""
        stamps = (stamp(self.halt_path), stamp(self.path))
        if self._seen is None or self._seen.stamps != stamps:
            self._seen = _Seen(stamps, self._read())
        return self._seen.demands.in_force(self._clock.utc_now())

    def change(self, how: Callable[[Demands], Demands]) -> Demands:
        """Let ``how`` make new demands of what is in force, and keep them. Raises ControlUnwritable."""
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            with taking_turns(self.directory / LOCK):
                before = self._written()
                after = replace(how(before), serial=before.serial + 1)
                self._write(after)
        except OSError as error:
            raise ControlUnwritable(
                f"{self.path} can't be written: {error.strerror}. What was demanded before still holds, and "
                f"`jurymast halt` needs no space: it only makes {self.halt_path}."
            ) from error
        return after

    def floor(self, demand: StateDemand) -> Demands:
        """Keep a floor under the state that is milder than a halt; with a reason it takes the place of one.

        Raises ValueError for a milder one than there is without a reason, ControlUnwritable.
        """
        if self.halt_path.exists() and not demand.reason:
            raise ValueError("it is HALTED, which is safer: less than that needs --reason")
        after = self.change(lambda old: with_state(old, demand))
        self._unlatch()
        return after

    def halt(self, reason: str) -> None:
        """Set the latch. The empty file is made first: that needs no space on the disk and is the halt; the
        words follow as far as there is room for them. Raises ControlUnwritable when it can't be made."""
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self.halt_path.touch()
        except OSError as error:
            raise ControlUnwritable(
                f"{self.halt_path} can't be made: {error.strerror}. NOT HALTED. Stop the bot itself: its "
                "resting orders expire by themselves."
            ) from error
        try:
            replace_file(self.halt_path, f"{reason[:REASON_CHARS_MAX]}\n".encode())
        except OSError:
            self.halt_path.touch()

    def resume(self, reason: str) -> Demands:
        """Take back whatever stops trading: the latch, the state, modes (KILLED too), a flattening.

        Returns what was in force before. Raises ControlUnwritable, and then nothing is taken back.
        """
        before = self.demands()
        lifted = Demand(reason[:REASON_CHARS_MAX], self._clock.utc_now())
        self.change(
            lambda old: replace(old, state=None, mode=None, override=None, flatten=None, lifted=lifted)
        )
        self._unlatch()
        return before

    def _unlatch(self) -> None:
        try:
            self.halt_path.unlink(missing_ok=True)
        except OSError as error:
            raise ControlUnwritable(
                f"{self.halt_path} can't be removed: {error.strerror}. Still halted."
            ) from error

    def _read(self) -> Demands:
        now = self._clock.utc_now()
        try:
            demands = self._parsed()
        except (OSError, Unreadable) as error:
            return halted(f"{self.path.name} can't be read ({error}); `jurymast resume` writes it anew", now)
        if not self.halt_path.exists():
            return demands
        try:
            at = self.halt_path.stat().st_mtime
            reason = self.halt_path.read_text(encoding="utf-8", errors="replace").strip()[:REASON_CHARS_MAX]
        except OSError:
            return halted("the latch can't be read", now, demands)
        return halted(reason or f"{HALT} exists", now.fromtimestamp(at, now.tzinfo), demands)

    def _parsed(self) -> Demands:
        if not self.path.exists():
            return NONE
        if self.path.stat().st_size > BYTES_MAX:
            raise Unreadable("too large")
        return parse(self.path.read_bytes())

    def _written(self) -> Demands:
        """What stands in the file and is in force; one that can't be read is put aside, and holds a halt."""
        try:
            return self._parsed().in_force(self._clock.utc_now())
        except Unreadable as error:
            aside = self.path.with_suffix(".unreadable")
            self.path.replace(aside)
            return halted(f"{self.path.name} could not be read ({error})", self._clock.utc_now())

    def _write(self, demands: Demands) -> None:
        body = msgspec.json.encode(_File(VERSION, demands))
        replace_file(self.path, msgspec.json.format(body, indent=2) + b"\n")


def parse(raw: bytes) -> Demands:
    """The demands in a control file. Raises Unreadable."""
    try:
        found = msgspec.json.decode(raw, type=_File)
    except (msgspec.MsgspecError, ValueError, UnicodeDecodeError) as error:
        raise Unreadable(str(error)) from None
    if found.version != VERSION:
        raise Unreadable(f"version {found.version}, this program writes {VERSION}")
    return found.demands
