"""The dead man's switch on real processes: an exchange, a bot and its watchdog, each on its own."""

from __future__ import annotations

import asyncio
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from jurymast.app.clock import SystemClock
from jurymast.domain.events import WatchdogFired
from jurymast.domain.order import TimeInForce
from jurymast.exchange.kalshi.exchange import KalshiExchange
from jurymast.exchange.kalshi.hosts import Credentials, Environment, embedded_at
from jurymast.exchange.kalshi.http import KalshiHttp
from jurymast.exchange.kalshi.rest import KalshiRest
from jurymast.exchange.kalshi.signing import Signer
from jurymast.journal.queries import JournalReader
from jurymast.policy.deadman import Beat
from jurymast.watch import heartbeat, record
from order_world import order_intent

WAIT_SECS = 60.0
SILENCE_SECS = 5
QUIET = {
    "JURYMAST_LAB__LATENCY_SCALE": "0",
    "JURYMAST_LAB__CONTROL_PORT": "0",
    "JURYMAST_LAB__WEATHER": "false",
    "JURYMAST_BOT__CYCLE_SECS": "0.5",
}


@dataclass
class Served:
    """A running exchange: where it is and its two keys."""

    url: str
    keys: Path
    process: subprocess.Popen[str]

    def client(self, whose: str = "demo") -> KalshiExchange:
        signer = Signer(*self.key(whose))
        credentials = Credentials(Environment.EMBEDDED, signer)
        return KalshiExchange(
            KalshiRest(KalshiHttp(embedded_at(self.url), credentials, clock=SystemClock())),
            clock=SystemClock(),
        )

    def key(self, whose: str) -> tuple[str, str]:
        key_id = (self.keys / f"{whose}-key-id.txt").read_text().strip()
        return key_id, (self.keys / f"{whose}-key.pem").read_text()

    def config(self, directory: Path, hook: str = "") -> Path:
        """A bot's settings for this exchange, the watchdog with its own key."""
        tables = [f'[bot]\ndata_dir = "{directory / "data"}"', f'[exchange]\nurl = "{self.url}"']
        for table, whose in (("exchange", "demo"), ("watchdog", "watchdog")):
            pem = self.keys / f"{whose}-key.pem"
            tables.append(
                f'[{table}.keys.embedded]\nid = "{self.key(whose)[0]}"\nprivate_key = {{ file = "{pem}" }}'
            )
        tables.append(f"[watchdog]\nsilence_secs = {SILENCE_SECS}\nhook = '{hook}'")
        tables.append("[lab]\nemulate = true")
        path = directory / "bot.toml"
        path.write_text("\n\n".join(tables) + "\n")
        return path

    def place(self, count: int) -> None:
        """Orders of the bot's account that rest until somebody cancels them."""

        async def go() -> None:
            client = self.client()
            try:
                snapshots = [each for each in await client.list_snapshots() if each.book.two_sided]
                chosen = max(snapshots, key=lambda each: each.book.bids[0].price)
                for number in range(count):
                    intent = order_intent(
                        chosen.ticker,
                        client_order_id=f"jm-{os.urandom(6).hex()}-{number}",
                        limit_price=10_000,
                        count=100,
                        time_in_force=TimeInForce.GOOD_TILL_CANCELED,
                        expires_at=(await client.now()).replace(year=2099),
                    )
                    await client.place_order(intent)
            finally:
                await client.close()

        asyncio.run(go())

    def resting(self) -> int:
        async def go() -> int:
            client = self.client()
            try:
                return len(await client.list_open_orders())
            finally:
                await client.close()

        return asyncio.run(go())


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    keys = tmp_path / "exchange"
    command = [sys.executable, "-m", "jurymast", "exchange", "serve", "--port", "0", "--tier", "prestige"]
    command += ["--data-dir", str(keys)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    )
    assert process.stdout is not None
    url = ""
    while not url:
        found = re.search(r"(http://127\.0\.0\.1:\d+)/trade-api", process.stdout.readline())
        url = found[1] if found else ""
    for _ in range(4):
        process.stdout.readline()
    yield Served(url, keys, process)
    process.kill()
    process.communicate()


@dataclass
class Life:
    """A bot with the watchdog that it has started."""

    process: subprocess.Popen[str]
    data: Path
    config: Path

    def cycle(self) -> dict[str, object]:
        assert self.process.stdout is not None
        return dict(json.loads(self.process.stdout.readline()))

    @property
    def watchdog(self) -> int:
        """Process id of the watchdog."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return int(children.split()[0])


@pytest.fixture
def lives() -> Iterator[Callable[[Served, Path], Life]]:
    """Starts bots; whatever still runs is killed behind the test, the watchdogs by their own ids."""
    started: list[tuple[Life, int]] = []

    def start(served: Served, directory: Path, hook: str = "") -> Life:
        config = served.config(directory, hook)
        command = [sys.executable, "-m", "jurymast", "run", "--json", "--config", str(config)]
        with (directory / "stderr.txt").open("a") as errors:
            process = subprocess.Popen(
                command, env={**os.environ, **QUIET}, stdout=subprocess.PIPE, stderr=errors, text=True
            )
        life = Life(process, directory / "data", config)
        life.cycle()
        started.append((life, life.watchdog))
        return life

    yield start
    for life, watchdog in started:
        life.process.send_signal(signal.SIGCONT)
        life.process.kill()
        life.process.wait()
        if life.process.stdout is not None:
            life.process.stdout.close()
        if b"watchdog" in _command_of(watchdog):
            os.kill(watchdog, signal.SIGKILL)


def _command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def until(true: Callable[[], object], what: str) -> None:
    give_up = time.monotonic() + WAIT_SECS
    while time.monotonic() < give_up:
        if true():
            return
        time.sleep(0.1)
    raise AssertionError(f"within {WAIT_SECS:g} s: {what}")


def fired(data: Path) -> list[record.Firing]:
    return [firing for firing in record.untaken(data) if firing.proven]


class TestDeath:
    def test_sigkill(self, served: Served, tmp_path: Path, lives: Callable[..., Life]) -> None:
        """A killed bot's orders are gone, entries stay blocked, and the next bot has it in its journal."""
        alarm = tmp_path / "alarm.txt"
        life = lives(served, tmp_path, f'sh -c "cat >> {alarm}"')
        served.place(30)
        life.process.kill()
        until(lambda: fired(life.data), "the watchdog has fired")
        assert served.resting() == 0
        [firing] = fired(life.data)
        assert firing.count == 30
        assert firing.silent_secs >= SILENCE_SECS
        assert (life.data / "HALT").read_text().startswith("watchdog: no heartbeat")
        until(lambda: alarm.exists() and '"cleared"' in alarm.read_text(), "the hook was told")
        assert "30 orders taken back" in (tmp_path / "stderr.txt").read_text()
        again = lives(served, tmp_path)
        assert again.cycle()["state"] == "halted"
        with JournalReader(life.data / "journal.db") as journal:
            told = journal.last(WatchdogFired)
        assert told is not None
        assert (told.firing_id, told.count, told.proven) == (firing.firing_id, 30, True)
        assert record.untaken(life.data) == []

    def test_sigstop(self, served: Served, tmp_path: Path, lives: Callable[..., Life]) -> None:
        """A bot that is frozen is one that is dead; awake again it finds the latch and enters nothing."""
        life = lives(served, tmp_path)
        served.place(3)
        life.process.send_signal(signal.SIGSTOP)
        until(lambda: fired(life.data), "the watchdog has fired")
        assert served.resting() == 0
        life.process.send_signal(signal.SIGCONT)
        until(lambda: life.cycle()["state"] == "halted", "the bot has seen the latch")

    def test_a_full_disk(self, served: Served, tmp_path: Path, lives: Callable[..., Life]) -> None:
        """When nobody can write a byte, not even an error message, the orders go and the latch is set."""
        life = lives(served, tmp_path)
        served.place(3)
        watchdog = life.watchdog
        for pid in (watchdog, life.process.pid):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        until((life.data / "HALT").exists, "the latch is set")
        until(lambda: served.resting() == 0, "nothing rests")
        assert record.untaken(life.data) == [], "there was no room to write about it"

    def test_a_broken_database(self, served: Served, tmp_path: Path, lives: Callable[..., Life]) -> None:
        """A bot whose database breaks ends with its error; what rested is taken back behind it."""
        life = lives(served, tmp_path)
        served.place(3)
        for name in ("journal.db", "journal.db-wal", "journal.db-shm"):
            with (life.data / name).open("r+b") as file:
                file.write(b"\xa5" * 8_192)
        assert life.process.wait(WAIT_SECS) != 0
        until(lambda: fired(life.data), "the watchdog has fired")
        assert served.resting() == 0

    def test_an_exchange_that_is_away_is_tried_until_it_answers(
        self, served: Served, tmp_path: Path, lives: Callable[..., Life]
    ) -> None:
        """Refused at first, the watchdog goes on until nothing rests."""
        life = lives(served, tmp_path)
        served.place(3)
        told = subprocess.run(
            [
                sys.executable,
                "-m",
                "jurymast",
                "exchange",
                "fault",
                "429",
                "--probability",
                "0.8",
                "--control",
                f"{served.url}/control",
            ],
            check=True,
            capture_output=True,
            text=True,
        )
        assert "429" in told.stdout
        life.process.kill()
        until(lambda: fired(life.data), "the watchdog has fired")


class TestLife:
    def test_a_well_bot_is_left_alone_and_an_orderly_end_ends_both(
        self, served: Served, tmp_path: Path, lives: Callable[..., Life]
    ) -> None:
        """Longer than the silence nothing happens; stopped in order, the watchdog stops as well."""
        life = lives(served, tmp_path)
        watchdog = life.watchdog
        began = time.monotonic()
        while time.monotonic() - began < SILENCE_SECS + 3:
            life.cycle()
        assert not (life.data / "HALT").exists()
        life.process.send_signal(signal.SIGTERM)
        life.process.communicate(timeout=WAIT_SECS)
        assert life.process.returncode == 0
        until(lambda: b"watchdog" not in _command_of(watchdog), "the watchdog has ended")
        assert record.untaken(life.data) == []
        found = heartbeat.read(life.data)
        assert found is not None
        assert found.beat.ended

    def test_a_restart_within_the_silence_is_no_death(
        self, served: Served, tmp_path: Path, lives: Callable[..., Life]
    ) -> None:
        """Killed and started again at once: the same watchdog goes on, the second one stands aside."""
        life = lives(served, tmp_path)
        first = life.watchdog
        life.process.kill()
        life.process.communicate()
        again = lives(served, tmp_path)
        began = time.monotonic()
        while time.monotonic() - began < SILENCE_SECS + 3:
            again.cycle()
        assert not (life.data / "HALT").exists()
        assert b"watchdog" in _command_of(first)
        again.process.send_signal(signal.SIGTERM)
        again.process.communicate(timeout=WAIT_SECS)
        until(lambda: b"watchdog" not in _command_of(first), "the watchdog has ended")

    def test_nothing_to_reach_is_said(self, tmp_path: Path) -> None:
        """With the exchange inside the bot there is nothing to cancel behind it, and the command says so."""
        done = subprocess.run(
            [sys.executable, "-m", "jurymast", "watchdog", "--data-dir", str(tmp_path)],
            capture_output=True,
            text=True,
            check=False,
            timeout=WAIT_SECS,
        )
        assert done.returncode == 0
        assert "nothing to reach" in done.stderr


def test_by_hand_it_ends_with_its_own_code(served: Served, tmp_path: Path) -> None:
    """Started by itself for a bot that died before, it acts, and says so by exit code 6."""
    config, data = served.config(tmp_path), tmp_path / "data"
    data.mkdir()
    served.place(2)
    dead = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
    )
    beat = Beat("run-1", 5, 5, 10.0, may_rest=True)
    at = SystemClock().utc_now()
    heartbeat.write(data, heartbeat.Heartbeat(heartbeat.VERSION, int(dead.stdout), at, beat))
    command = [sys.executable, "-m", "jurymast", "watchdog", "--with-bot", "--config", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=WAIT_SECS)
    assert done.returncode == 6, done.stderr
    assert "2 orders taken back" in done.stderr
    assert served.resting() == 0
    assert record.dealt_with(data, "run-1")
