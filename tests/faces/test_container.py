"""What deploy/container hands to a bot, read as a container engine would."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from jurymast.app.config import Config
from jurymast.app.settings import load_settings
from jurymast.faces.web.access import Access

DIRECTORY = Path(__file__).resolve().parents[2] / "deploy/container"
FILE = (DIRECTORY / "Containerfile").read_text()
SERVICE = yaml.safe_load((DIRECTORY / "compose.yaml").read_text())["services"]["jurymast"]
URL = re.compile(r"http://[^\s'\"]+")


def access() -> Access:
    environ = dict(each.split("=", 1) for each in SERVICE["environment"] if "=" in each)
    web = load_settings(Config, "", source="t", environ=environ).web
    return Access("a-token-of-good-length", web.host, frozenset(web.names))


def test_the_page_answers_at_the_published_address() -> None:
    """It is reached as 127.0.0.1 from outside, under that name and with the token only."""
    (published,) = SERVICE["ports"]
    address, _, port = published.rpartition(":")
    assert port == "8780"
    assert access().host == "0.0.0.0"
    assert access().known(address)
    assert not access().may_look({}, {})


def test_the_health_check_is_heard() -> None:
    """It asks under a name that the page goes by; compose has it too, for an image may not hold it."""
    (asked,) = URL.findall(SERVICE["healthcheck"]["test"])
    assert URL.findall(FILE) == [asked]
    assert urlsplit(asked).path == "/health"
    assert access().known(urlsplit(asked).netloc)


def test_nothing_is_copied_by_accident() -> None:
    """The working tree may hold keys, journals and a .venv: what the image gets is named."""
    copied = [line.split()[1:-1] for line in FILE.splitlines() if line.startswith("COPY ")]
    named = {name for names in copied for name in names}
    assert named == {"pyproject.toml", "pins.txt", "README.md", "LICENSE", "tools/build_backend", "src"}
    assert all((DIRECTORY.parents[1] / name).exists() for name in named)


def test_keys_are_handed_on_and_never_invented() -> None:
    """A default such as ${KEY:-} reaches the bot as a word where an old compose does not know it."""
    keys = [each for each in SERVICE["environment"] if "=" not in each]
    assert {"XAI_API_KEY", "OPENAI_API_KEY", "ANTHROPIC_API_KEY"} == set(keys)
    assert "${" not in (DIRECTORY / "compose.yaml").read_text()
