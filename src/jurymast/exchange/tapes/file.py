"""A tape: what a host said about some markets, as it came, with the time it came at.

Gzipped JSON lines. The first line says what it is; then one row an item, in the order of arrival:

    {"tape": 1, "host": "demo", "yes_price": true, "made_at": "...", "source": "..."}
    {"at_us": 1793631600000000, "frame": {...}}                            a websocket frame, raw
    {"at_us": 1793631600000000, "rest": "GET /markets/T", "answer": {...}}   an answer over REST
    {"at_us": 1793631600000000, "mark": "opened"}                            opened, lost, resumed

``at_us`` is ours: microseconds since 1970 at which it was received. ``yes_price`` says that NO levels are
told at the price of YES. A tape that was cut off by a crash is whole up to its last readable line.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final

import msgspec

from jurymast.domain.errors import ConfigError

VERSION: Final = 1
LINE_BYTES_MAX: Final = 8 * 1024 * 1024


class Head(msgspec.Struct, frozen=True):
    """First line of a tape."""

    tape: int
    host: str
    yes_price: bool
    made_at: str
    source: str = ""


_NOTHING: Final = msgspec.Raw(b"")


class Row(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing heard. One of ``frame``, ``rest`` and ``mark`` is not empty."""

    at_us: int
    frame: msgspec.Raw = _NOTHING
    rest: str = ""
    answer: msgspec.Raw = _NOTHING
    mark: str = ""


_HEADS: Final = msgspec.json.Decoder(Head)
_ROWS: Final = msgspec.json.Decoder(Row)
_ENCODER: Final = msgspec.json.Encoder()


def read_head(path: Path) -> Head:
    """Raises ConfigError when the file is no tape this program can read."""
    for line in _lines(path):
        return _head(path, line)
    raise unusable(path, "is empty")


def read_rows(path: Path) -> Iterator[Row]:
    """Every row in order, up to where the file was cut off. Raises ConfigError."""
    lines = _lines(path)
    _head(path, next(lines, b""))
    for number, line in enumerate(lines, start=2):
        try:
            yield _ROWS.decode(line)
        except msgspec.MsgspecError as error:
            raise unusable(path, f"has a line {number} that can't be read ({error})") from error


class TapeWriter:
    """Writes rows; an existing tape is continued. ``bytes_max`` bounds the file on disk.

    Raises ConfigError when the file is something else, or of another host.
    """

    def __init__(self, path: Path, head: Head, *, bytes_max: int) -> None:
        self.path: Final = path
        self.rows = 0
        self._bytes_max = bytes_max
        self.resumed: Final = path.exists()
        if self.resumed:
            self._mend(head)
        try:
            self._file = path.open("ab")
        except OSError as error:
            raise unusable(path, f"can't be written ({error.strerror})") from error
        self._zip = gzip.GzipFile(fileobj=self._file, mode="ab")
        if not self.resumed:
            self._put(head)
            self.flush()

    def __enter__(self) -> TapeWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def full(self) -> bool:
        """Whether no more should be written."""
        return self.size_bytes >= self._bytes_max

    @property
    def size_bytes(self) -> int:
        """On disk, what is not flushed yet left out."""
        return self._file.tell()

    def frame(self, at_us: int, text: str) -> None:
        """A websocket frame as it came."""
        self._row(Row(at_us, frame=msgspec.Raw(text.encode())))

    def answer(self, at_us: int, request: str, body: bytes) -> None:
        """An answer over REST: a JSON object."""
        self._row(Row(at_us, rest=request, answer=msgspec.Raw(body)))

    def mark(self, at_us: int, what: str) -> None:
        self._row(Row(at_us, mark=what))

    def flush(self) -> None:
        """Hand everything to the system: a crash after this costs none of it."""
        self._zip.flush(zlib.Z_SYNC_FLUSH)
        self._file.flush()

    def close(self) -> None:
        self._zip.close()
        self._file.close()

    def _row(self, row: Row) -> None:
        self._put(row)
        self.rows += 1

    def _put(self, what: Head | Row) -> None:
        self._zip.write(_ENCODER.encode(what) + b"\n")

    def _mend(self, head: Head) -> None:
        """A tape that was cut off is rewritten up to its last whole line; behind a cut nothing is read."""
        known = read_head(self.path)
        if (known.host, known.yes_price) != (head.host, head.yes_price):
            raise unusable(self.path, f"was recorded at {known.host}, not at {head.host}")
        if not _cut_off(self.path):
            return
        mended = self.path.with_name(self.path.name + ".mended")
        with gzip.open(mended, "wb") as whole:
            for line in _lines(self.path):
                whole.write(line)
        mended.replace(self.path)


def unusable(path: Path, why: str) -> ConfigError:
    """What is wrong with a tape, and what that means."""
    return ConfigError(f"the tape {path} {why}. Nothing was changed; name another file.")


def _head(path: Path, line: bytes) -> Head:
    try:
        head = _HEADS.decode(line)
    except msgspec.MsgspecError as error:
        raise unusable(path, f"is none of this program's ({str(error)[:80]})") from error
    if head.tape > VERSION:
        raise unusable(path, f"was written by a newer version (tape {head.tape}, known {VERSION})")
    return head


def _lines(path: Path) -> Iterator[bytes]:
    """Whole lines, up to where the file was cut off."""
    try:
        with gzip.open(path) as file:
            while line := file.readline(LINE_BYTES_MAX):
                if not line.endswith(b"\n"):
                    return
                yield line
    except (EOFError, zlib.error):
        return
    except gzip.BadGzipFile as error:
        raise unusable(path, "is no gzipped file") from error
    except OSError as error:
        raise unusable(path, f"can't be read ({error.strerror})") from error


def _cut_off(path: Path) -> bool:
    try:
        with gzip.open(path) as file:
            while piece := file.read(1 << 20):
                last = piece
        return not last.endswith(b"\n")
    except (EOFError, zlib.error):
        return True
