"""Only what is pinned gets installed."""

from __future__ import annotations

import copy
import importlib.util
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
GOOD, OTHER = "sha256:" + "a" * 64, "sha256:" + "b" * 64
CURRENT = f"cp{sys.version_info.major}{sys.version_info.minor}"
PINS = f"""\
# a comment
anchor==1.2 \\
    --hash={GOOD}
Windlass==3.0 ; sys_platform == 'win32' \\
    --hash={OTHER} \\
    --hash={GOOD}
"""


@pytest.fixture(scope="module")
def backend() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "pinned_build", ROOT / "tools/build_backend/pinned_build.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def locked(
    filename: str, *, name: str = "anchor", version: str = "1.2", sha256: str = GOOD
) -> dict[str, Any]:
    """A lock that offers one artifact."""
    artifact = {"url": f"https://index.example/files/{filename}", "hash": sha256}
    kind = {"wheels": [artifact]} if filename.endswith(".whl") else {"sdist": artifact}
    return {
        "package": [
            {"name": "ours", "version": "0", "source": {"editable": "."}},
            {"name": name, "version": version, "source": {"registry": "https://index.example"}, **kind},
        ]
    }


@pytest.mark.parametrize("filename", ["anchor-1.2-py3-none-any.whl", "anchor-1.2.tar.gz"])
def test_what_is_pinned_is_accepted(backend: ModuleType, filename: str) -> None:
    """An artifact of pinned name, version and hash passes, wheel or source."""
    assert backend.unpinned(locked(filename), backend.read_pins(PINS)) == []


@pytest.mark.parametrize(
    "lock",
    [
        locked("anchor-1.2-py3-none-any.whl", sha256=OTHER),
        locked("anchor-1.2.tar.gz", sha256=OTHER),
        locked("anchor-1.3-py3-none-any.whl", version="1.3"),
        locked("stowaway-1.2-py3-none-any.whl", name="stowaway"),
        locked(f"anchor-1.2-{CURRENT}-{CURRENT}-linux.whl", sha256=OTHER),
        locked("anchor-1.2-cp37-abi3-linux.whl", sha256=OTHER),
        locked(f"anchor-1.2-cp27.{CURRENT}-none-any.whl", sha256=OTHER),
    ],
    ids=["hash", "source", "version", "name", "this Python", "stable ABI", "one of several Pythons"],
)
def test_a_stranger_is_found(backend: ModuleType, lock: dict[str, Any]) -> None:
    """Another hash, version or name under which this Python could install something is a stranger."""
    assert len(backend.unpinned(lock, backend.read_pins(PINS))) == 1


def test_an_artifact_without_hash_is_a_stranger(backend: ModuleType) -> None:
    """What the index gives no hash for can't be known."""
    lock = locked("anchor-1.2.tar.gz")
    del lock["package"][1]["sdist"]["hash"]
    assert backend.unpinned(lock, backend.read_pins(PINS)) == ["anchor 1.2: anchor-1.2.tar.gz"]


@pytest.mark.parametrize(
    "tags", ["cp399-cp399-linux", "cp27-cp27mu-linux", "cp399-abi3-linux", "pp310-pypy310_pp73-linux"]
)
def test_wheels_of_other_pythons_do_not_matter(backend: ModuleType, tags: str) -> None:
    """A wheel added later for another Python can't reach this one and must not break an older clone."""
    assert backend.unpinned(locked(f"anchor-1.2-{tags}.whl", sha256=OTHER), backend.read_pins(PINS)) == []


def test_pins_are_read_whatever_their_case_and_marker(backend: ModuleType) -> None:
    """Names are case-blind, markers and comments are no part of a pin, and several hashes add up."""
    assert backend.read_pins(PINS) == {("anchor", "1.2"): {GOOD}, ("windlass", "3.0"): {GOOD, OTHER}}


def test_the_build_stops_at_a_stranger(backend: ModuleType, tmp_path: Path) -> None:
    """With a stranger in the lock the build fails, saying what it is, what happened and what to do."""
    (tmp_path / "pins.txt").write_text(PINS)
    lock = (
        '[[package]]\nname = "{name}"\nversion = "1.2"\nsource = {{ registry = "https://index.example" }}\n'
    )
    artifact = f'sdist = {{ url = "https://index.example/anchor-1.2.tar.gz", hash = "{GOOD}" }}\n'
    (tmp_path / "uv.lock").write_text(lock.format(name="anchor") + artifact)
    backend.check_pins(tmp_path)
    (tmp_path / "uv.lock").write_text(lock.format(name="stowaway") + artifact)
    with pytest.raises(SystemExit, match=r"nothing was installed:\n  stowaway 1\.2: .*\n.*tools/pin\.py"):
        backend.check_pins(tmp_path)


def test_our_own_lock_is_pinned_and_one_changed_hash_is_not(backend: ModuleType) -> None:
    """The lock this environment was made from passes; with any one hash changed it does not."""
    if not (ROOT / "uv.lock").exists():
        pytest.skip("this environment was not made by uv")
    lock = tomllib.loads((ROOT / "uv.lock").read_text())
    pins = backend.read_pins((ROOT / "pins.txt").read_text())
    assert backend.unpinned(lock, pins) == []
    for place, package in enumerate(lock["package"]):
        usable = [
            wheel
            for wheel in package.get("wheels", [])
            if backend.installable(wheel["url"].rsplit("/", 1)[-1])
        ]
        if usable:
            changed = copy.deepcopy(lock)
            changed["package"][place]["wheels"] = [usable[0] | {"hash": OTHER}]
            assert len(backend.unpinned(changed, pins)) == 1


def test_versions_and_hashes_are_pinned_for_the_same_packages(backend: ModuleType) -> None:
    """pyproject.toml and pins.txt name the same packages at the same versions, each with a hash."""
    constraints = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"][
        "constraint-dependencies"
    ]
    pins = backend.read_pins((ROOT / "pins.txt").read_text())
    assert {tuple(constraint.lower().split("==")) for constraint in constraints} == pins.keys()
    assert len(constraints) == len(pins)
    assert all(hashes for hashes in pins.values())


def test_pins_do_not_say_where_to_download() -> None:
    """pins.txt holds names, versions and hashes; no address."""
    assert "://" not in (ROOT / "pins.txt").read_text()
