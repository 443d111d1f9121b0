"""Demands on disk: whole or not at all, read as a halt when in doubt, without database or bot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from jurymast.app.clock import SystemClock
from jurymast.app.control import CONTROL, HALT, LOCK, ControlFile
from jurymast.domain.errors import ControlUnwritable
from jurymast.domain.provider import ProviderName
from jurymast.domain.status import EmergencyMode, TradingState
from jurymast.faces.controls import Refused, carry_out
from jurymast.policy.demands import NONE, Demand, ModeDemand, StateDemand, with_state
from jurymast.testing.clock import START, FakeClock

PAUSE = StateDemand("storm", START)


def control(tmp_path: Path) -> ControlFile:
    return ControlFile(tmp_path, FakeClock())


class TestReading:
    def test_nothing_there_is_nothing_demanded(self, tmp_path: Path) -> None:
        """A fresh data directory demands nothing."""
        assert control(tmp_path).demands() == NONE

    def test_what_was_demanded_is_read_back_by_another(self, tmp_path: Path) -> None:
        """Everything survives the writer, and the file is JSON that a person can read."""
        isolated = {ProviderName.XAI: Demand("bills", START)}
        wanted = ModeDemand("report", START, mode=EmergencyMode.MINIMAL)
        control(tmp_path).change(lambda old: replace(with_state(old, PAUSE), mode=wanted, isolated=isolated))
        found = control(tmp_path).demands()
        assert (found.state, found.mode, found.isolated) == (PAUSE, wanted, isolated)
        assert json.loads((tmp_path / CONTROL).read_text())["demands"]["state"]["floor"] == "reducing"

    def test_a_change_is_seen_at_once(self, tmp_path: Path) -> None:
        """A reader that has read before sees every change at its next look."""
        reader, writer = control(tmp_path), control(tmp_path)
        for _ in range(20):
            writer.change(lambda old: with_state(old, PAUSE))
            assert reader.demands().floor is TradingState.REDUCING
            writer.change(lambda old: replace(old, state=None))
            assert reader.demands().floor is TradingState.ACTIVE

    @pytest.mark.parametrize("face", [None, "pause", "reduce"])
    def test_a_milder_floor_takes_the_place_of_a_halt_with_a_reason_only(
        self, tmp_path: Path, face: str | None
    ) -> None:
        """By the rule itself, and as page, terminal and chat carry it out: what is said done is done."""
        writer = ControlFile(tmp_path, SystemClock())
        writer.halt("storm")

        def lower(reason: str) -> None:
            if face is None:
                writer.floor(StateDemand(reason, START))
            else:
                carry_out(tmp_path, face, {"confirm": "yes", "reason": reason})

        with pytest.raises((ValueError, Refused), match="HALTED, which is safer"):
            lower("")
        assert control(tmp_path).demands().floor is TradingState.HALTED
        lower("seen to")
        found = control(tmp_path).demands()
        assert found.floor is TradingState.REDUCING
        assert found.state is not None
        assert found.state.reason == "seen to"

    def test_a_touched_latch_is_a_halt(self, tmp_path: Path) -> None:
        """The oldest way works: a file called HALT, made by hand, empty."""
        (tmp_path / HALT).touch()
        found = control(tmp_path).demands()
        assert found.floor is TradingState.HALTED
        (tmp_path / HALT).unlink()
        assert control(tmp_path).demands().floor is TradingState.ACTIVE

    @pytest.mark.parametrize(
        "damage",
        [b"", b"{", b"\xff\xfe", b'{"version": 9, "demands": {}}', b'{"version": 1}', b"[]", b" " * 70_000],
        ids=["empty", "cut", "not text", "newer", "half", "other", "huge"],
    )
    def test_what_can_not_be_read_is_a_halt(self, tmp_path: Path, damage: bytes) -> None:
        """Whoever wrote the damaged file wanted something: nothing is sent until it is written anew."""
        (tmp_path / CONTROL).write_bytes(damage)
        ours = control(tmp_path)
        assert ours.demands().floor is TradingState.HALTED
        ours.resume("why")
        assert ours.demands().floor is TradingState.ACTIVE
        assert (tmp_path / "control.unreadable").read_bytes() == damage

    def test_a_demand_ends_by_the_clock(self, tmp_path: Path) -> None:
        """What has an end is gone after it, without anybody writing."""
        clock = FakeClock()
        ours = ControlFile(tmp_path, clock)
        until = clock.utc_now().replace(minute=30)
        ours.change(lambda old: with_state(old, replace(PAUSE, until=until)))
        assert ours.demands().floor is TradingState.REDUCING
        clock.advance(1_800)
        assert ours.demands().floor is TradingState.ACTIVE


class TestResume:
    def test_it_takes_back_what_stops_trading_and_nothing_else(self, tmp_path: Path) -> None:
        """Halt, pause and modes go; an isolated provider stays isolated."""
        ours = control(tmp_path)
        isolated = {ProviderName.XAI: Demand("bills", START)}
        wanted = ModeDemand("", START, mode=EmergencyMode.SUSPENDED)
        ours.change(lambda old: replace(with_state(old, PAUSE), mode=wanted, isolated=isolated))
        ours.halt("enough")
        before = ours.resume("why")
        assert before.floor is TradingState.HALTED
        after = ours.demands()
        assert (after.state, after.mode, dict(after.isolated)) == (None, None, isolated)

    def test_a_refused_change_leaves_everything_as_it_was(self, tmp_path: Path) -> None:
        """A change that the rules refuse writes nothing."""
        ours = control(tmp_path)
        ours.change(lambda old: with_state(old, replace(PAUSE, floor=TradingState.HALTED)))
        before = (tmp_path / CONTROL).read_bytes()
        with pytest.raises(ValueError, match="--reason"):
            ours.change(lambda old: with_state(old, replace(PAUSE, reason="")))
        assert (tmp_path / CONTROL).read_bytes() == before


LIMITED = """
import resource, sys
from pathlib import Path
from jurymast.app.control import ControlFile
from jurymast.domain.errors import ControlUnwritable
from jurymast.testing.clock import FakeClock
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
ours = ControlFile(Path(sys.argv[1]), FakeClock())
ours.halt("the disk is full")
try:
    ours.change(lambda old: old)
except ControlUnwritable as refusal:
    sys.stdout.write(str(refusal))
"""


class TestFullDisk:
    def test_a_halt_needs_no_room(self, tmp_path: Path) -> None:
        """When not one byte can be written the latch is set all the same, and a pause says that it failed."""
        ours = control(tmp_path)
        ours.change(lambda old: replace(old, isolated={ProviderName.XAI: Demand("bills", START)}))
        before = (tmp_path / CONTROL).read_bytes()
        done = subprocess.run(
            [sys.executable, "-c", LIMITED, str(tmp_path)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "can't be written" in done.stdout
        assert ours.demands().floor is TradingState.HALTED
        assert (tmp_path / CONTROL).read_bytes() == before
        assert sorted(each.name for each in tmp_path.iterdir()) == [HALT, CONTROL, "control.lock"]

    def test_a_directory_that_takes_no_file_is_said_not_to_be_halted(self, tmp_path: Path) -> None:
        """A halt that could not be set must not look like one."""
        (tmp_path / "file").write_text("")
        with pytest.raises(ControlUnwritable, match="NOT HALTED"):
            ControlFile(tmp_path / "file", FakeClock()).halt("x")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
class TestRoot:
    def test_what_root_demands_is_the_bots_to_read_and_to_change(self, tmp_path: Path) -> None:
        """Under the strictest umask halt, resume and pause leave the directory's owner every file."""
        nobody = 65_534
        os.chown(tmp_path, nobody, nobody)
        old = os.umask(0o077)
        try:
            writer = control(tmp_path)
            writer.halt("storm")
            halted_by = (tmp_path / HALT).stat().st_uid
            writer.resume("over")
            writer.floor(PAUSE)
        finally:
            os.umask(old)
        owners = {path.name: path.stat().st_uid for path in tmp_path.iterdir()}
        assert owners == {CONTROL: nobody, LOCK: nobody}
        assert halted_by == nobody

    def test_a_link_in_the_way_is_not_followed(self, tmp_path: Path) -> None:
        """Whoever owns the directory can't have root write or give away what lies elsewhere."""
        outside = tmp_path / "outside"
        outside.write_text("root's own")
        place = tmp_path / "data"
        place.mkdir()
        os.chown(place, 65_534, 65_534)
        (place / f".{CONTROL}.{os.getpid()}").symlink_to(outside)
        (place / LOCK).symlink_to(outside)
        with pytest.raises(ControlUnwritable):
            control(place).floor(PAUSE)
        (place / LOCK).unlink()
        control(place).floor(PAUSE)
        assert outside.read_text() == "root's own"
        assert outside.stat().st_uid == 0
