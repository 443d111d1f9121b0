"""Build backend of this project: refuses dependencies whose hashes are not pinned.

``uv run`` first resolves (writing ``uv.lock``, which records the hash of every artifact the index
offers), then builds this project in editable form, and only then installs anything. So the editable
build is where a pin list can be enforced without committing a lock file that names download hosts:
every artifact in ``uv.lock`` that this interpreter could install must stand in ``pins.txt`` under the
same name, version and SHA-256. If one does not, the build fails and nothing is installed.

The editable build itself uses the standard library only. Wheels and source distributions are built by
hatchling, asked for only then.
"""

from __future__ import annotations

import base64
import hashlib
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

HATCHLING = "hatchling==1.33.0"
ROOT = Path(__file__).resolve().parents[2]


class PinError(SystemExit):
    """A locked artifact is not in pins.txt. Nothing was installed."""


def read_pins(text: str) -> dict[tuple[str, str], set[str]]:
    """``name==version --hash=sha256:...`` lines (requirements format) -> hashes by (name, version)."""
    pins: dict[tuple[str, str], set[str]] = {}
    for line in text.replace("\\\n", " ").splitlines():
        words = line.split("#", 1)[0].split()
        if not words:
            continue
        name, _, version = words[0].partition("==")
        found = pins.setdefault((name.lower(), version.rstrip(";")), set())
        found.update(word.removeprefix("--hash=") for word in words if word.startswith("--hash="))
    return pins


def installable(filename: str) -> bool:
    """Whether this interpreter could install the file, judged by its Python tag alone.

    A wheel that a maintainer adds later for a newer Python must not break older clones, and can't
    reach them either.
    """
    if not filename.endswith(".whl"):
        return True
    python_tags, abi_tag = filename.removesuffix(".whl").split("-")[-3:-1]
    current = sys.version_info[:2]
    for tag in python_tags.split("."):
        if tag.startswith("py"):
            return True
        digits = tag.removeprefix("cp")
        if not tag.startswith("cp") or not digits.isdigit():
            continue
        version = (int(digits[0]), int(digits[1:] or 0))
        if version == current or (abi_tag == "abi3" and version <= current):
            return True
    return False


def unpinned(lock: dict[str, Any], pins: dict[tuple[str, str], set[str]]) -> list[str]:
    """Artifacts of the lock, one line each, that the pin list does not know."""
    strangers = []
    for package in lock.get("package", []):
        if "registry" not in package["source"]:
            continue
        known = pins.get((package["name"].lower(), package["version"]), set())
        artifacts = [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]
        for artifact in artifacts:
            filename = artifact.get("url", artifact.get("path", "")).rsplit("/", 1)[-1]
            if installable(filename) and artifact.get("hash") not in known:
                strangers.append(f"{package['name']} {package['version']}: {filename}")
    return strangers


def check_pins(root: Path = ROOT) -> None:
    """Raise PinError if uv.lock offers an artifact that pins.txt does not list."""
    lock_file, pin_file = root / "uv.lock", root / "pins.txt"
    if not lock_file.exists() or not pin_file.exists():
        return
    strangers = unpinned(tomllib.loads(lock_file.read_text()), read_pins(pin_file.read_text()))
    if strangers:
        shown = "\n  ".join(strangers[:10])
        raise PinError(
            f"pins: {len(strangers)} artifacts are not in pins.txt, so nothing was installed:\n  {shown}\n"
            "If the dependencies were changed on purpose run `uv run --no-project tools/pin.py`; "
            "if not, do not go on."
        )


def get_requires_for_build_editable(config_settings: object = None) -> list[str]:
    """Nothing: what `uv run` installs is pinned whole."""
    return []


def build_editable(
    wheel_directory: str, config_settings: object = None, metadata_directory: object = None
) -> str:
    """PEP 660: check the pins, then write a wheel that points at ``src``."""
    check_pins()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    name, version = project["name"], project["version"]
    info = f"{name}-{version}.dist-info"
    metadata = [
        "Metadata-Version: 2.4",
        f"Name: {name}",
        f"Version: {version}",
        f"Summary: {project['description']}",
        f"Requires-Python: {project['requires-python']}",
        *(f"Requires-Dist: {dependency}" for dependency in project["dependencies"]),
    ]
    scripts = ["[console_scripts]", *(f"{k} = {v}" for k, v in project["scripts"].items())]
    files = {
        f"_{name}_editable.pth": f"{ROOT / 'src'}\n",
        f"{info}/METADATA": "\n".join(metadata) + "\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: pinned\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "\n".join(scripts) + "\n",
    }
    record = []
    wheel = f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(Path(wheel_directory) / wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            record.append(f"{path},sha256={digest},{len(text.encode())}")
        archive.writestr(f"{info}/RECORD", "\n".join([*record, f"{info}/RECORD,,"]) + "\n")
    return wheel


def get_requires_for_build_wheel(config_settings: object = None) -> list[str]:
    """Wheels for publishing are hatchling's work."""
    return [HATCHLING]


get_requires_for_build_sdist = get_requires_for_build_wheel


def build_wheel(wheel_directory: str, config_settings: Any = None, metadata_directory: Any = None) -> str:
    """PEP 517, by hatchling."""
    from hatchling import build  # type: ignore[import-not-found, unused-ignore]

    return str(build.build_wheel(wheel_directory, config_settings, metadata_directory))


def build_sdist(sdist_directory: str, config_settings: Any = None) -> str:
    """PEP 517, by hatchling."""
    from hatchling import build  # type: ignore[import-not-found, unused-ignore]

    return str(build.build_sdist(sdist_directory, config_settings))
