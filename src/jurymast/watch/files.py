"""Small files that are whole or not there, whatever happens while they are written.

What root makes in somebody's directory belongs to its owner: a `halt` or `resume` given as root must not lock
the bot out of its own demands.
"""

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
        aside.unlink(missing_ok=True)
        with os.fdopen(_made(aside), "wb") as file:
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
    try:
        handle = _made(lock)
    except FileExistsError:
        handle = os.open(lock, os.O_RDWR | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _made(path: Path) -> int:
    """A handle of a new file, by no link that somebody has put there. Raises OSError, FileExistsError too."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
    try:
        if os.geteuid() == 0:
            owner = path.parent.stat()
            os.fchown(handle, owner.st_uid, owner.st_gid)
    except BaseException:
        os.close(handle)
        raise
    return handle
