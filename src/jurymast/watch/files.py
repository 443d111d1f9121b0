"""Small files that are whole or not there, whatever happens while they are written."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

Stamp = tuple[int, int, int] | None
"""Inode, size and time of change of a file; None when it is not there."""


def replace_file(path: Path, body: bytes, *, durable: bool = True) -> None:
    """Put ``body`` in the place of a file, whole, or leave the file as it is. ``durable`` waits for the disk.

    Raises OSError.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with aside.open("wb") as file:
            file.write(body)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def stamp(path: Path) -> Stamp:
    """What changes when a file does. Never raises: one that can't be looked at has a stamp of its own."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    except OSError:
        return (-1, -1, -1)
    return (found.st_ino, found.st_size, found.st_mtime_ns)


@contextmanager
def taking_turns(lock: Path) -> Iterator[None]:
    """Writers one after the other, by a lock that the kernel drops when its holder dies. Raises OSError."""
    handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
