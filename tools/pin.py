"""Write the pins: versions into pyproject.toml, hashes into pins.txt and those of the oracles.

Run: ``uv run --no-project tools/pin.py``.

Resolves every group afresh, then freezes what was found. ``pins.txt`` has names, versions and hashes
only, so nothing in it says where an artifact is downloaded from.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ORACLES = ROOT / "tests/exchange/oracles"
BLOCK = re.compile(r"constraint-dependencies = \[.*?\]\n# PINS-END", re.DOTALL)


def set_constraints(versions: list[str]) -> None:
    """Replace the constraint list in pyproject.toml."""
    path = ROOT / "pyproject.toml"
    lines = "".join(f'  "{version}",\n' for version in versions)
    block = f"constraint-dependencies = [\n{lines}]\n# PINS-END"
    path.write_text(BLOCK.sub(lambda _: block, path.read_text(), count=1))


def pin_oracles(versions: list[str]) -> int:
    """What the foreign clients of .ci/oracles need besides our own pins; returns how many packages."""
    command = ["uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.13"]
    shown = ["--generate-hashes", "--no-annotate", "--no-header", "--constraint", "-"]
    compiled = subprocess.run(
        [*command, *shown, str(ORACLES / "requirements.in")],
        input="\n".join(versions),
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    entries = re.findall(r"^\S(?:.*\\\n)*.*\n", compiled, re.MULTILINE)
    ours = {version.lower().replace("_", "-") for version in versions}
    new = [each for each in entries if each.split()[0].lower().replace("_", "-") not in ours]
    header = "# Written by tools/pin.py: what .ci/oracles installs besides pins.txt.\n"
    (ORACLES / "pins.txt").write_text(header + "".join(new))
    return len(new)


def main() -> None:
    """Unpin, resolve the newest, pin again."""
    set_constraints([])
    (ROOT / "uv.lock").unlink(missing_ok=True)
    subprocess.run(["uv", "lock", "--quiet"], cwd=ROOT, check=True)
    exported = subprocess.run(
        [
            *["uv", "export", "--frozen", "--all-groups", "--all-extras"],
            *["--no-emit-project", "--no-header", "--no-annotate"],
        ],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    entries = [line for line in exported.splitlines() if line and not line.startswith((" ", "-"))]
    versions = sorted({entry.split(";")[0].split()[0] for entry in entries})
    set_constraints(versions)
    (ROOT / "pins.txt").write_text(
        "# Written by tools/pin.py: every artifact `uv run` may install. Enforced by tools/build_backend.\n"
        + exported
    )
    (ROOT / "uv.lock").unlink()
    print(f"pinned {len(entries)} packages, and {pin_oracles(versions)} of the oracles")


if __name__ == "__main__":
    main()
