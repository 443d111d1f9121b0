"""Reads as fast as it can until told to stop. Run by test_queries.py: ``reading_child.py PATH``.

Prints the number of reads, the highest sequence number seen and the number of errors; a gap or a step
back in what it reads is an error too.
"""

from __future__ import annotations

import select
import sys
from pathlib import Path

from jurymast.domain.errors import JournalError
from jurymast.journal.queries import JournalReader


def read_once(path: Path, highest: int) -> int:
    with JournalReader(path, strict=True) as reader:
        newest = reader.events(newest_first=True, limit=50)
        seqs = [row.seq for row in newest]
        if not seqs or seqs != list(range(seqs[0], seqs[0] - len(seqs), -1)) or seqs[0] < highest:
            raise JournalError(f"a gap or a step back: {seqs}")
        return seqs[0]


def main() -> None:
    path = Path(sys.argv[1])
    reads = highest = errors = 0
    sys.stdout.write("reading\n")
    sys.stdout.flush()
    stopping = False
    while not stopping:
        stopping = bool(select.select([sys.stdin], [], [], 0)[0])
        reads += 1
        try:
            highest = read_once(path, highest)
        except JournalError as error:
            sys.stderr.write(f"{error}\n")
            errors += 1
    sys.stdout.write(f"{reads} {highest} {errors}\n")


if __name__ == "__main__":
    main()
