"""Small files that are whole or not there, whatever happens while they are written."""

from __future__ import annotations

import os
from pathlib import Path


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
