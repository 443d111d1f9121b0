"""``jurymast alerts``: real processes, a real webhook."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

from jurymast.app import alerts as app_alerts
from jurymast.app.alerts import AlertState, Delivery
from jurymast.policy import alerts
from jurymast.policy.alert_contacts import Inbox
from jurymast.policy.alert_signals import AlertKind, Level, Signal
from jurymast.policy.alerts import Alerts, AlertSettings

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


def jurymast(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "jurymast", "alerts", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def webhook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    told: list[dict[str, Any]] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Hook) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/hook", told
        server.shutdown()
        thread.join()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A data directory whose bot has told of two troubles."""
    stands = Alerts()
    for signal in (
        Signal(AlertKind.FAILOVER, "route", Level.INFO, None, "openai answers first now"),
        Signal(AlertKind.NOBODY, "all", Level.CRITICAL, True, "no provider answers"),
    ):
        stands, _ = alerts.heard(stands, signal, NOW, AlertSettings())
    state = AlertState(
        alerts=stands, inboxes={"phone": Inbox()}, deliveries={"phone": Delivery(3, 1, "HTTP 500")}
    )
    (tmp_path / app_alerts.NAME).write_bytes(msgspec.json.encode(state))
    return tmp_path


def test_a_test_message_arrives_or_says_why_not(
    tmp_path: Path, webhook: tuple[str, list[dict[str, Any]]]
) -> None:
    """Each contact is tried; one that fails makes the exit code 1, and no secret is shown."""
    url, told = webhook
    file = tmp_path / "bot.toml"
    file.write_text(
        '[lab]\nemulate = true\n[alerts.contacts.phone]\nurl = { env = "PHONE" }\n'
        '[alerts.contacts.broken]\ncommand = "false"\n'
    )
    done = jurymast("test", "--config", str(file), PHONE=url)
    assert done.returncode == 1
    phone, broken = done.stdout.splitlines()
    assert phone.split() == ["phone", "sent"]
    assert broken.endswith("FAILED: the command ended with 1")
    assert url not in done.stdout + done.stderr
    only = jurymast("test", "phone", "--config", str(file), "--json", PHONE=url)
    assert (only.returncode, json.loads(only.stdout)) == (0, {"phone": {"sent": True, "detail": ""}})
    assert [body["level"] for body in told] == ["info", "info"]
    assert "no contact 'nobody'" in jurymast("test", "nobody", "--config", str(file)).stderr


def test_the_list_has_the_worst_first_and_how_deliveries_went(place: Path) -> None:
    """What is open, since when, and whether the contacts were reached."""
    done = jurymast("list", "--data-dir", str(place))
    critical, info, phone = done.stdout.splitlines()
    assert "CRITICAL nobody:all: no provider answers" in critical
    assert "INFO     failover:route" in info
    assert phone == "phone: 3 sent, 1 failed, 0 waiting, last one failed: HTTP 500"
    facts = json.loads(jurymast("list", "--data-dir", str(place), "--json").stdout)
    assert [each["level"] for each in facts["alerts"]] == ["critical", "info"]


def test_nothing_is_open_where_no_bot_has_run(tmp_path: Path) -> None:
    """An empty directory is no error."""
    assert jurymast("list", "--data-dir", str(tmp_path)).stdout == "no open alert\n"


def test_alerts_are_taken_on_by_their_id(place: Path) -> None:
    """Word is left for the bot; an id that is none is refused and changes nothing."""
    wrong = jurymast("ack", "../etc", "--data-dir", str(place))
    assert wrong.returncode == 2
    assert not (place / app_alerts.ACKS).exists()
    state = app_alerts.read(place)
    assert state is not None
    worst = state.alerts.open[0].id
    done = jurymast("ack", worst, "--data-dir", str(place), "--json")
    assert json.loads(done.stdout) == {"acknowledged": [worst]}
    assert [path.name for path in (place / app_alerts.ACKS).iterdir()] == [worst]
    jurymast("ack", "all", "--data-dir", str(place))
    assert len(list((place / app_alerts.ACKS).iterdir())) == 2
    assert replace(state) == app_alerts.read(place)
