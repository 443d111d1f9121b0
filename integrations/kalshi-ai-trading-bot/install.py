"""Put Jurymast in the place of a Kalshi AI Trading Bot's AI layer, and take it out again.

    python install.py PATH_TO_THE_BOT                  the files, and phase SHADOW: theirs goes on deciding
    python install.py PATH_TO_THE_BOT --full           the files, and ours decides from the first question on
    python install.py PATH_TO_THE_BOT --back           everything as it was

What is replaced is kept beside its replacement as NAME_before_jurymast.py; that is also the old client which
SHADOW asks. Nothing else of the bot is touched. Needs the standard library; SHADOW also the ``jurymast``
package.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

OURS: Final = Path(__file__).resolve().parent / "src"
KEPT: Final = "_before_jurymast"
DATA_DIR: Final = "jurymast-data"


def pairs(host: Path) -> list[tuple[Path, Path]]:
    """Each of our files with its place in the bot."""
    return [(path, host / "src" / path.relative_to(OURS)) for path in sorted(OURS.rglob("*.py"))]


def kept(place: Path) -> Path:
    """Where the bot's own file of a place is kept."""
    return place.with_name(place.stem + KEPT + place.suffix)


def copy_in(host: Path) -> list[str]:
    """Copy our files, keeping what they replace. What was kept before stays as it is."""
    done = []
    for source, place in pairs(host):
        place.parent.mkdir(parents=True, exist_ok=True)
        backup = kept(place)
        if place.exists() and not backup.exists() and place.read_bytes() != source.read_bytes():
            place.replace(backup)
            done.append(f"kept      {backup.relative_to(host)}")
        shutil.copyfile(source, place)
        done.append(f"written   {place.relative_to(host)}")
    return done


def take_out(host: Path) -> list[str]:
    """Remove our files and put back what was kept. Data and journal stay."""
    done = []
    for _, place in pairs(host):
        backup = kept(place)
        if backup.exists():
            backup.replace(place)
            done.append(f"put back  {place.relative_to(host)}")
        elif place.exists():
            place.unlink()
            done.append(f"removed   {place.relative_to(host)}")
    package = host / "src" / "jurymast_adapter"
    if package.is_dir():
        shutil.rmtree(package)
    return done


def begin(host: Path, *, full: bool) -> str:
    """Set the phase in the bot's data directory. Raises ImportError without the package."""
    from jurymast.app.rollout import RolloutFile
    from jurymast.domain.rollout import Phase, Rollout

    phase, share = (Phase.FULL, 100) if full else (Phase.SHADOW, 0)
    state = Rollout(phase, share, datetime.now(UTC), "installed", serial=0)
    RolloutFile(host / DATA_DIR).change(lambda _: state)
    return f"phase     {phase.upper()} in {DATA_DIR}"


def main() -> int:
    """Do what was asked; 0 when it is done."""
    parser = argparse.ArgumentParser(description="Jurymast in a Kalshi AI Trading Bot.")
    parser.add_argument("host", type=Path, help="directory of the bot: the one with src/ in it")
    parser.add_argument("--full", action="store_true", help="ours decides at once, without SHADOW")
    parser.add_argument("--back", action="store_true", help="put everything back as it was")
    wanted = parser.parse_args()
    host = wanted.host.resolve()
    if not (host / "src" / "clients").is_dir():
        print(f"{wanted.host} has no src/clients: that is not the bot. Nothing was changed.", file=sys.stderr)
        return 2
    if wanted.back:
        done = take_out(host)
    else:
        try:
            phase = begin(host, full=wanted.full)
        except ImportError as error:
            print(f"{error}: install the jurymast package first. Nothing was changed.", file=sys.stderr)
            return 2
        done = [*copy_in(host), phase]
    print("\n".join(done))
    return 0


if __name__ == "__main__":
    sys.exit(main())
