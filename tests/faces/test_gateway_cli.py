"""``jurymast gateway`` as a process: started, asked, broken, read and stopped from outside."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import openai
import pytest

JURYMAST = (sys.executable, "-m", "jurymast")
ENV = {**os.environ, "JURYMAST_LAB__CONTROL_PORT": "0", "JURYMAST_LAB__LATENCY_SCALE": "0"}
SECS = 60.0


def command(*arguments: str, code: int = 0) -> str:
    done = subprocess.run(
        [*JURYMAST, *arguments], env=ENV, capture_output=True, text=True, timeout=SECS, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@contextmanager
def gateway(directory: Path, *arguments: str) -> Iterator[dict[str, str]]:
    """A running gateway; gives what it says of itself, by the word before the colon."""
    options = ("--no-weather", "--port", "0", "--data-dir", str(directory), *arguments)
    with subprocess.Popen(
        [*JURYMAST, "gateway", *options], env=ENV, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            said: dict[str, str] = {}
            while "journal" not in said:
                name, _, text = process.stdout.readline().partition(":")
                said[name] = text.strip()
            yield said
        finally:
            process.send_signal(signal.SIGTERM)
            code = process.wait(SECS)
    assert code == 0


def base_url(said: dict[str, str]) -> str:
    found = re.search(r"http://\S+/v1", said["OpenAI"])
    assert found is not None
    return found.group()


def test_a_program_gets_failover_by_its_base_url(tmp_path: Path) -> None:
    """xAI answers; broken, OpenAI does; status, spend and the next start know of it."""
    with gateway(tmp_path) as said:
        control = said["break one"].split("--control ")[1].split()[0]
        with openai.OpenAI(base_url=base_url(said), api_key="none") as client:

            def route() -> str:
                reply = client.chat.completions.with_raw_response.create(
                    model="jurymast", messages=[{"role": "user", "content": "hello"}]
                )
                assert reply.headers["x-jurymast-simulated"] == "true"
                return str(reply.headers["x-jurymast-route"])

            assert route().startswith("xai/")
            command("lab", "fault", "--control", control, "xai", "refuse")
            assert route().startswith("openai/")
        command("isolate", "openai", "--reason", "looking", "--data-dir", str(tmp_path))
    told = json.loads(command("spend", "--by", "client", "--json", "--data-dir", str(tmp_path)))
    assert told["groups"]["anybody"]["requests"] == 3
    assert told["purposes"]["text"]["requests"] == 2
    assert told["purposes"]["failed"]["requests"] >= 1
    status = json.loads(command("status", "--json", "--data-dir", str(tmp_path)))
    assert status["simulated"] == ["providers"]
    with gateway(tmp_path) as said, openai.OpenAI(base_url=base_url(said), api_key="none") as client:
        answer = client.chat.completions.create(model="openai", messages=[{"role": "user", "content": "hi"}])
        assert "gpt" not in answer.model, "openai is isolated by hand"


def test_what_it_will_not_do(tmp_path: Path) -> None:
    """Strangers, a directory in use, a port that is taken: each refused with its cure."""
    config = tmp_path / "open.toml"
    config.write_text('[gateway]\nhost = "0.0.0.0"\n[lab]\nemulate = true\n')
    told = command("gateway", "--config", str(config), "--data-dir", str(tmp_path / "a"), code=2)
    assert "without a key" in told
    with gateway(tmp_path / "b") as said:
        port = base_url(said).rpartition(":")[2].removesuffix("/v1")
        told = command("gateway", "--port", port, "--data-dir", str(tmp_path / "c"), code=3)
        assert "Choose another port" in told
        command("gateway", "--port", "0", "--data-dir", str(tmp_path / "b"), code=4)


def test_it_runs_beside_a_bot(tmp_path: Path) -> None:
    """With [gateway] enabled, the bot's own health and money answer."""
    config = tmp_path / "bot.toml"
    config.write_text("[gateway]\nenabled = true\nport = 0\n[web]\nenabled = false\n[lab]\nemulate = true\n")
    options = ("--config", str(config), "--data-dir", str(tmp_path / "data"), "--cycles", "1", "--no-weather")
    assert re.search(r"gateway: +http://127\.0\.0\.1:\d+", command("run", *options))


@pytest.mark.parametrize("key", ["", "unset"])
def test_a_client_without_its_key_is_no_client(tmp_path: Path, key: str) -> None:
    """A variable that is not set would let everybody in: it is refused at the start, by name."""
    config = tmp_path / "bot.toml"
    config.write_text('[gateway.clients.desk]\nkey = { env = "DESK_KEY" }\n[lab]\nemulate = true\n')
    env = {**ENV, "DESK_KEY": ""} if not key else ENV
    done = subprocess.run(
        [*JURYMAST, "gateway", "--config", str(config), "--data-dir", str(tmp_path / "data")],
        env=env, capture_output=True, text=True, timeout=SECS, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "'desk' is empty" in done.stderr
