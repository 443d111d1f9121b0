"""One writer per journal, guaranteed by the kernel."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import Final

from jurymast.domain.errors import JournalLocked, JournalUnwritable
from jurymast.journal.queries import lock_path

TRIES: Final = 10
TRY_AGAIN_SECS: Final = 0.02


class WriterLock:
    """Held while a bot writes, released by the kernel however the bot ends, SIGKILL included.

    A file beside the journal is locked with ``flock`` and holds the process id of the owner. The file
    itself means nothing and stays where it is: deleting it would let two bots lock different files.
    Readers try for the same lock for an instant (``JournalReader.writer_pid``), hence several tries.
    Raises JournalLocked when another bot has it, JournalUnwritable when the file can't be made.
    """

    def __init__(self, journal: Path) -> None:
        path = lock_path(journal)
        try:
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise _unwritable(path, error) from error
        try:
            self._acquire(journal)
            os.ftruncate(self._handle, 0)
            os.pwrite(self._handle, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            os.close(self._handle)
            raise _unwritable(path, error) from error
        except JournalLocked:
            os.close(self._handle)
            raise

    def release(self) -> None:
        os.ftruncate(self._handle, 0)
        os.close(self._handle)

    def _acquire(self, journal: Path) -> None:
        for _ in range(TRIES):
            try:
                return fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(TRY_AGAIN_SECS)
        owner = os.pread(self._handle, 32, 0).decode("ascii", "replace").strip()
        raise JournalLocked(
            f"process {owner or '(unknown)'} already writes to the journal {journal}, and two bots on one "
            "journal would trade twice. Stop that bot, or give this one a journal of its own."
        )


def _unwritable(path: Path, error: OSError) -> JournalUnwritable:
    folder = path.parent
    cure = f"Check the space on the disk and that this user may write in {folder}."
    if isinstance(error, FileNotFoundError):
        cure = f"Make the directory first: mkdir -p {folder}"
    return JournalUnwritable(f"{path} can't be written: {error.strerror}. {cure}")
