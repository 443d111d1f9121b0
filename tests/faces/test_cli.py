"""The command line as a person uses it: real processes, real files, exit codes."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

FAST = {
    "JURYMAST_LAB__LATENCY_SCALE": "0",
    "JURYMAST_LAB__CONTROL_PORT": "0",
    "JURYMAST_WEB__PORT": "0",
    "JURYMAST_BOT__CYCLE_SECS": "0.1",
}


def jurymast(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "jurymast", *arguments],
        env={**os.environ, **FAST, **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def answered(*arguments: str, **environ: str) -> Any:
    done = jurymast(*arguments, "--json", **environ)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory in which a bot has run for three cycles."""
    data_dir = tmp_path_factory.mktemp("ran")
    done = jurymast("run", "--cycles", "3", "--no-weather", "--data-dir", str(data_dir))
    assert done.returncode == 0, done.stderr
    assert "SIMULATED" in done.stdout
    return data_dir


class TestDemo:
    def test_it_tells_the_whole_story_and_is_the_same_every_time(self) -> None:
        """One seed gives one story: outage, failover, emergency, recovery, no duplicate, no blind entry."""
        first, second = answered("demo", "--fast"), answered("demo", "--fast")
        assert first == second
        assert first["simulated"] is True
        assert first["decisions_by_rung"]["primary"] > 0
        assert first["decisions_by_rung"]["failover"] > 0
        assert first["orders"] > 0
        assert first["duplicate_orders"] == first["entries_in_emergency"] == 0
        assert first["mode_changes"][:3] == [
            "normal -> conservative",  # two that share an edge begin to fail
            "conservative -> cached",
            "cached -> minimal",
        ]
        assert first["decisions_by_rung"]["cached"] > 0
        assert first["final_mode"] == "normal"
        assert first["failovers"][-1].endswith("-> xai/grok-4.3")
        assert {"pnl_usd", "brier", "brier_market"} <= first.keys()

    @pytest.mark.parametrize("seed", ["1", "7", "2026"])
    def test_other_seeds_keep_the_promises(self, seed: str) -> None:
        """Whatever the seed: no duplicate order, no entry without judgement, back to normal."""
        story = answered("demo", "--fast", "--seed", seed)
        assert story["duplicate_orders"] == story["entries_in_emergency"] == 0
        assert story["final_mode"] == "normal"

    def test_told_to_people_it_says_simulated(self) -> None:
        """The narrated demo names its phases and says that nothing in it is real."""
        told = jurymast("demo", "--fast").stdout
        for words in ("SIMULATED", "xAI is down", "everything is down", "recovery", "MINIMAL"):
            assert words in told


class TestStatusAndWhy:
    def test_status_tells_mode_state_and_money(self, ran: Path) -> None:
        """status works on the journal of a bot that has stopped, and says that it has."""
        facts = answered("status", "--data-dir", str(ran))
        assert facts["running"] is False
        assert (facts["mode"], facts["state"]) == ("normal", "active")
        assert facts["cycle"] == 3
        assert facts["simulated"] == ["exchange", "providers"]
        assert facts["equity_usd"] > 0
        assert "NOT RUNNING" in jurymast("status", "--data-dir", str(ran)).stdout

    def test_why_last_gives_a_chain(self, ran: Path) -> None:
        """The last decision comes with who was asked and which gate it met."""
        chain = answered("why", "--last", "--data-dir", str(ran))
        kinds = [row["kind"] for row in chain["chain"]]
        assert kinds[0] == "DecisionMade"
        assert "attempt" in kinds
        assert chain["traded"] is ("OrderFilled" in kinds)

    def test_why_explains_a_trade_a_non_trade_and_a_market_never_asked(self, ran: Path) -> None:
        """Each of the three ends of a market's story has its reason."""
        with sqlite3.connect(ran / "journal.db") as journal:
            tickers = {
                kind: journal.execute(
                    "SELECT ticker FROM events WHERE kind = ? ORDER BY seq LIMIT 1", (kind,)
                ).fetchone()[0]
                for kind in ("order_filled", "trade_declined", "market_screened")
            }
        journal.close()
        traded = answered("why", tickers["order_filled"], "--data-dir", str(ran))
        declined = answered("why", tickers["trade_declined"], "--data-dir", str(ran))
        screened = answered("why", tickers["market_screened"], "--data-dir", str(ran))
        told = [row["kind"] for row in traded["chain"] + traded["last_trade"]]
        assert told.count("OrderIntended") == 1
        assert "OrderFilled" in told
        assert not declined["traded"]
        assert declined["chain"][1]["kind"] == "TradeDeclined"
        assert screened["chain"][0]["kind"] == "MarketScreened"

    def test_an_unknown_ticker_is_said_to_be_unknown(self, ran: Path) -> None:
        """why about a market that was never seen is an error with a hint."""
        done = jurymast("why", "NO-SUCH", "--data-dir", str(ran))
        assert (done.returncode, done.stdout) == (1, "")
        assert "nothing about NO-SUCH" in done.stderr

    def test_without_a_journal_the_cure_is_said(self, tmp_path: Path) -> None:
        """status where no bot has run exits 4 and says so."""
        done = jurymast("status", "--data-dir", str(tmp_path))
        assert done.returncode == 4
        assert "no journal" in done.stderr


class TestScore:
    def test_a_file_of_ones_own_is_scored(self, tmp_path: Path) -> None:
        """Questions in, every policy with its interval out, and the pictures beside."""
        row = {
            "source": "s", "question": "Will it rain?", "market_price": 0.4, "outcome": 0,
            "freeze_datetime": "2026-01-01T00:00:00Z", "resolution_date": "2026-02-01",
        }  # fmt: skip
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(row | {"id": str(n)}) + "\n" for n in range(20)))
        told = answered("score", "--data", str(path), "--seeds", "1", "--plots", str(tmp_path))
        assert told["questions"] == 20
        assert {"market price", "failover naive", "failover weighted", "ensemble"} <= told["policies"].keys()
        assert (tmp_path / "score-profit.svg").exists()
        path.write_text('{"market_price": 0.4}\n')
        done = jurymast("score", "--data", str(path))
        assert done.returncode == 2
        assert "line 1" in done.stderr

    def test_the_bots_own_record_is_scored(self, ran: Path) -> None:
        """What waits and what was resolved, from the journal of a bot that ran."""
        told = answered("score", "--journal", "--data-dir", str(ran))
        assert told["decisions"] > 0
        assert told["pending"] + sum(its["forecasts"] for its in told["models"].values()) > 0
        done = jurymast("score", "--journal", "--data-dir", str(ran))
        assert "forecasts wait for their markets" in done.stdout

    def test_why_says_what_an_opinion_counted_for(self, ran: Path) -> None:
        """The weight, how much it was learned from, and where it comes from."""
        chain = answered("why", "--last", "--data-dir", str(ran))
        assert "weight 0.10+-0.10, its tier's prior" in chain["chain"][0]["line"]


class TestErrors:
    def config(self, tmp_path: Path, text: str) -> Path:
        path = tmp_path / "bot.toml"
        path.write_text(text)
        return path

    def test_an_unknown_key_names_its_line_and_a_likely_meaning(self, tmp_path: Path) -> None:
        """A misspelt setting is refused before anything starts."""
        path = self.config(tmp_path, "[bot]\nseed = 1\n\n[trading]\ndecisions_per_cycel = 3\n")
        done = jurymast("run", "--config", str(path), "--data-dir", str(tmp_path / "data"))
        assert done.returncode == 2
        assert "line 5" in done.stderr or ":5" in done.stderr
        assert "decisions_per_cycle" in done.stderr
        assert not (tmp_path / "data").exists()

    def test_a_taken_port_is_named(self, tmp_path: Path) -> None:
        """If the control port is in use the run ends with exit code 3 and the port."""
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = str(taken.getsockname()[1])
            done = jurymast("run", "--data-dir", str(tmp_path), JURYMAST_LAB__CONTROL_PORT=port)
        assert done.returncode == 3
        assert port in done.stderr

    def test_a_newer_journal_is_left_alone(self, ran: Path, tmp_path: Path) -> None:
        """A journal of a newer version is refused with exit code 4, and not changed."""
        newer = tmp_path / "journal.db"
        newer.write_bytes((ran / "journal.db").read_bytes())
        with sqlite3.connect(newer) as journal:
            journal.execute("UPDATE meta SET value = '999' WHERE name = 'version'")
        journal.close()
        done = jurymast("run", "--cycles", "1", "--data-dir", str(tmp_path))
        assert done.returncode == 4
        assert "newer" in done.stderr

    def test_a_data_directory_that_cant_be_made(self, tmp_path: Path) -> None:
        """A file where the data directory should be: exit code 4 and the cure."""
        (tmp_path / "file").write_text("")
        done = jurymast("run", "--cycles", "1", "--data-dir", str(tmp_path / "file" / "data"))
        assert done.returncode == 4
        assert "--data-dir" in done.stderr

    def test_a_damaged_question_file_names_the_line(self, tmp_path: Path) -> None:
        """A broken line in a file of questions: its number, and nothing half-loaded."""
        questions = tmp_path / "questions.jsonl"
        questions.write_text('{"ticker": "A"\n')
        path = self.config(tmp_path, f'[exchange]\nquestions = "{questions}"\n[lab]\nemulate = true\n')
        done = jurymast("run", "--config", str(path), "--data-dir", str(tmp_path / "data"))
        assert done.returncode == 2
        assert "line 1" in done.stderr

    def test_two_bots_on_one_journal(self, tmp_path: Path) -> None:
        """The second bot on a data directory is refused and names the first."""
        command = [sys.executable, "-m", "jurymast", "run", "--json", "--data-dir", str(tmp_path)]
        with subprocess.Popen(
            command, env={**os.environ, **FAST}, stdout=subprocess.PIPE, text=True
        ) as first:
            assert first.stdout is not None
            first.stdout.readline()
            done = jurymast("run", "--cycles", "1", "--data-dir", str(tmp_path))
            first.terminate()
            first.communicate(timeout=30)
        assert done.returncode == 4
        assert str(first.pid) in done.stderr
        assert first.returncode == 0

    def test_real_money_that_nobody_armed(self, tmp_path: Path) -> None:
        """Production as host alone starts nothing: what is missing is named."""
        path = self.config(tmp_path, '[exchange]\nhost = "production"\n')
        done = jurymast("run", "--config", str(path), "--data-dir", str(tmp_path / "data"))
        assert done.returncode == 2
        assert "real money" in done.stderr
        assert "JURYMAST_LIVE=yes" in done.stderr
        assert not (tmp_path / "data").exists()

    def test_no_provider_to_ask(self, tmp_path: Path) -> None:
        """Without keys and without emulators there is nobody to ask: said before anything starts."""
        path = self.config(tmp_path, "[providers.local]\nenabled = false\n")
        done = jurymast("run", "--config", str(path), "--data-dir", str(tmp_path / "data"))
        assert done.returncode == 2
        assert "emulate = true" in done.stderr

    def test_every_command_has_help(self) -> None:
        """--help works on every command, and says what it does."""
        for command in ("run", "demo", "status", "why", "halt", "resume", "lab"):
            done = jurymast(command, "--help")
            assert done.returncode == 0
            assert len(done.stdout.splitlines()) > 5


class TestDrill:
    def test_a_day_is_played_graded_and_reported(self, tmp_path: Path) -> None:
        """One day, as JSON and as a report for people; the list and the names are told."""
        listed = jurymast("drill")
        assert "halt-in-a-storm" in listed.stdout
        facts = answered("drill", "model-swap", "--data-dir", str(tmp_path))
        assert (facts["simulated"], facts["passed"]) == (True, True)
        [day] = facts["drills"]
        assert {check["what"] for check in day["checks"]} >= {"noticed", "safe", "entries left resting"}
        report = (tmp_path / "drill-report.md").read_text(encoding="utf-8")
        assert "SIMULATED" in report
        assert "CONSERVATIVE" in report
        unknown = jurymast("drill", "picnic")
        assert unknown.returncode == 2
        assert "everything-down" in unknown.stderr


class TestLab:
    def test_a_running_bots_provider_is_broken_and_mended_by_command(self, tmp_path: Path) -> None:
        """`lab fault` is seen by `lab faults` and by the bot; `lab clear` mends; nonsense lists the words."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        environ = {**os.environ, **FAST, "JURYMAST_LAB__CONTROL_PORT": port}
        command = [
            sys.executable,
            "-m",
            "jurymast",
            "run",
            "--json",
            "--no-weather",
            "--data-dir",
            str(tmp_path),
        ]
        control = ("--control", f"http://127.0.0.1:{port}")
        with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as bot:
            assert bot.stdout is not None
            bot.stdout.readline()
            assert jurymast("lab", "fault", "xai", "auth", *control).returncode == 0
            [fault] = json.loads(jurymast("lab", "faults", *control).stdout)["faults"]
            cycles = (json.loads(line) for line in bot.stdout)
            failed_over = next(cycle for cycle in cycles if cycle["active_route"] == "openai/gpt-6.1-terra")
            nonsense = jurymast("lab", "fault", "xai", "nonsense", *control)
            assert jurymast("lab", "clear", *control).returncode == 0
            mended = json.loads(jurymast("lab", "faults", *control).stdout)["faults"]
            bot.terminate()
            bot.communicate(timeout=30)
        assert (fault["provider"], fault["fault"]) == ("xai", "auth")
        assert failed_over["mode"] == "normal"
        assert nonsense.returncode == 1
        assert "refuse" in nonsense.stderr
        assert mended == []
        nobody = jurymast("lab", "faults", *control)
        assert nobody.returncode == 1
        assert "jurymast run" in nobody.stderr


CYCLES_MAX = 300


@contextmanager
def bot_with_exchange(tmp_path: Path) -> Iterator[tuple[Iterator[dict[str, Any]], tuple[str, str]]]:
    """A bot in a process of its own: its cycles, and the option that names its exchange's desk."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    environ = {**os.environ, **FAST, "JURYMAST_EXCHANGE__PORT": port}
    command = [sys.executable, "-m", "jurymast", "run", "--json", "--no-weather", "--data-dir"]
    with subprocess.Popen([*command, str(tmp_path)], env=environ, stdout=subprocess.PIPE, text=True) as bot:
        assert bot.stdout is not None
        bot.stdout.readline()
        yield (
            (json.loads(line) for line in islice(bot.stdout, CYCLES_MAX)),
            ("--control", f"http://127.0.0.1:{port}/control"),
        )
        bot.terminate()
        bot.communicate(timeout=30)


class TestExchange:
    def test_a_running_bots_exchange_is_broken_and_mended_by_command(self, tmp_path: Path) -> None:
        """`exchange fault` stops entries within a cycle, `exchange mend` frees them; nonsense is told."""
        with bot_with_exchange(tmp_path) as (cycles, control):
            assert jurymast("exchange", "fault", "unavailable", *control).returncode == 0
            [fault] = json.loads(jurymast("exchange", "faults", *control).stdout)["faults"]
            next(cycle for cycle in cycles if cycle["state"] == "reducing")  # the fault may come in its midst
            broken = next(cycles)
            nonsense = jurymast("exchange", "fault", "nonsense", *control)
            assert jurymast("exchange", "mend", "unavailable", *control).returncode == 0
            mended = next(cycle for cycle in cycles if cycle["state"] == "active")
        assert (fault["fault"], fault["probability"]) == ("unavailable", 1.0)
        assert (broken["state"], broken["orders"], broken["scanned"]) == ("reducing", 0, 0)
        assert mended["scanned"] > 0
        assert nonsense.returncode == 1
        assert "accept_then_timeout" in nonsense.stderr
        nobody = jurymast("exchange", "faults", *control)
        assert nobody.returncode == 1
        assert "exchange serve" in nobody.stderr

    def test_an_api_that_changes_is_told_by_status(self, tmp_path: Path) -> None:
        """A market with a status nobody knows is left out, and a person learns of it from `status`."""
        with bot_with_exchange(tmp_path) as (cycles, control):
            all_read = next(cycles)["scanned"]
            wanted = ("exchange", "fault", "unknown_enum", "--value", "status", *control)
            assert jurymast(*wanted).returncode == 0
            assert next(cycle for cycle in cycles if cycle["scanned"] < all_read)["scanned"] > 0
        facts = json.loads(jurymast("status", "--json", "--data-dir", str(tmp_path)).stdout)
        assert facts["api_drift"] == ["GetEvents.markets.unreadable"]
        said = jurymast("status", "--data-dir", str(tmp_path)).stdout
        assert "API CHANGED" in said


class TestHalt:
    def test_halt_stops_entries_and_resume_allows_them(self, tmp_path: Path) -> None:
        """With the latch set a run places no entry; taken away, it does."""
        where = ("--data-dir", str(tmp_path))
        assert jurymast("halt", "--reason", "testing", *where).returncode == 0
        run = ("run", "--cycles", "3", "--no-weather", "--json", *where)
        halted = [json.loads(line) for line in jurymast(*run).stdout.splitlines()]
        assert [cycle["state"] for cycle in halted] == ["halted"] * 3
        assert sum(cycle["orders"] for cycle in halted) == 0
        assert answered("status", *where)["halted"] is True
        assert "testing" in jurymast("resume", "--reason", "tested", *where).stdout
        free = [json.loads(line) for line in jurymast(*run).stdout.splitlines()]
        assert sum(cycle["orders"] for cycle in free) > 0
