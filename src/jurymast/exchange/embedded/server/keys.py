"""Who may ask: API keys and their signatures.

A request is signed over time, method and path; its time may be off by ``window_secs`` (what Kalshi allows
is not documented: 10 s was measured to pass and 60 s not to). Keys are files in the data directory, readable
by their owner only; they are play keys of a SIMULATED exchange and open nothing else.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from jurymast.domain.errors import ConfigError, OrderRejected

if TYPE_CHECKING:
    from jurymast.exchange.kalshi.signing import Verifier

WINDOW_SECS: Final = 30.0
DEMO: Final = "demo"
WATCHDOG: Final = "watchdog"
"""Whose keys: a bot's, and the one of its watchdog, which works when the bot's is revoked."""
SECRET_MODE: Final = 0o600


@dataclass(frozen=True, slots=True)
class DemoKey:
    """A key as handed to a newcomer: its id and the file with its private half."""

    key_id: str
    path: Path


class KeyRing:
    """Public halves by key id."""

    def __init__(self, window_secs: float = WINDOW_SECS) -> None:
        self._verifiers: dict[str, Verifier] = {}
        self._window_secs = window_secs

    def add(self, key_id: str, pem: str | bytes) -> None:
        """Take a public or private PEM. Raises ConfigError when it is none."""
        from jurymast.exchange.kalshi.signing import Verifier

        self._verifiers[key_id] = Verifier(pem)

    def check(self, headers: Mapping[str, str], method: str, path: str, wall_secs: float) -> str:
        """The key id of a signed request; ``wall_secs`` is the exchange's Unix time.

        Raises OrderRejected: ``authentication_error`` or ``header_timestamp_expired``.
        """
        from jurymast.exchange.kalshi.signing import KEY_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER

        key_id, sent_at = headers.get(KEY_HEADER, ""), headers.get(TIMESTAMP_HEADER, "")
        signature = headers.get(SIGNATURE_HEADER, "")
        verifier = self._verifiers.get(key_id)
        if verifier is None or not sent_at.isascii() or not sent_at.isdigit():
            raise OrderRejected("authentication_error", "no such key, or no signature")
        if abs(int(sent_at[:16]) / 1_000 - wall_secs) > self._window_secs:
            raise OrderRejected("header_timestamp_expired", "the time of the signature is too far off")
        if not verifier.verifies(signature, sent_at, method, path):
            raise OrderRejected("authentication_error", "the signature is not this key's")
        return key_id


def demo_key(directory: Path, whose: str = DEMO) -> DemoKey:
    """The demo key of a data directory, made at the first call: RSA, which every SDK takes. ``whose`` names
    another one: the watchdog's.

    Raises ConfigError when the files can't be written or read.
    """
    from jurymast.exchange.kalshi.signing import KeyKind, generate_pem

    path, id_path = directory / f"{whose}-key.pem", directory / f"{whose}-key-id.txt"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _write_secret(path, generate_pem(KeyKind.RSA))
        if not id_path.exists():
            id_path.write_text(f"{uuid.uuid4()}\n", encoding="utf-8")
        return DemoKey(id_path.read_text(encoding="utf-8").strip(), path)
    except OSError as error:
        raise ConfigError(
            f"the demo key in {directory} can't be made or read ({error.strerror}); nothing was started. "
            "Choose another --data-dir or name a --key-file."
        ) from error


def _write_secret(path: Path, text: str) -> None:
    """Readable by nobody else at any moment."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, SECRET_MODE)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
