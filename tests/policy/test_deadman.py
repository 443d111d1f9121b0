"""When a bot counts as dead: never while it is well, always when a sign of life is missing long."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from jurymast.policy.deadman import LOOK_GAP_SECS_MAX, Beat, Deadman, Verdict, look

SILENCE = 30.0
BEAT = Beat("run-1", 1, 1, 100.0, may_rest=True)


def after(state: Deadman, beat: Beat | None, start: float, secs: float) -> Deadman:
    """The same beat, or none, looked at every second for so long."""
    for second in range(1, int(secs) + 1):
        state = look(state, beat, start + second)
    return state


def test_without_a_bot_there_is_nothing_to_act_on() -> None:
    """A watchdog that has never seen a heartbeat waits, however long."""
    assert after(Deadman(), None, 0.0, 500).verdict(SILENCE) is Verdict.WAITING


def test_no_pulse_for_so_long_is_death_and_not_a_second_less() -> None:
    """The heartbeat that stops moving counts from its last move."""
    state = look(Deadman(), BEAT, 0.0)
    assert after(state, BEAT, 0.0, SILENCE - 1).verdict(SILENCE) is Verdict.WELL
    dead = after(state, BEAT, 0.0, SILENCE)
    assert dead.verdict(SILENCE) is Verdict.SILENT
    assert "no heartbeat" in dead.why(SILENCE)


def test_a_heartbeat_that_can_not_be_read_is_one_that_does_not_move() -> None:
    """A full disk or a removed file is silence, not a reason to wait."""
    assert after(look(Deadman(), BEAT, 0.0), None, 0.0, SILENCE).verdict(SILENCE) is Verdict.SILENT


def test_a_cycle_that_hangs_is_seen_although_the_process_lives() -> None:
    """A pulse without progress is death too, after the time that the stage may take."""
    state = look(Deadman(), BEAT, 0.0)
    for second in range(1, 131):
        assert state.verdict(SILENCE) is Verdict.WELL
        state = look(state, replace(BEAT, pulse=second + 1), float(second))
    assert state.verdict(SILENCE) is Verdict.SILENT
    assert "cycle" in state.why(SILENCE)


def test_an_end_in_order_is_no_death() -> None:
    """After a last word of an orderly end nothing is acted on, however long it is silent."""
    ended = replace(BEAT, pulse=2, ended=True)
    assert after(look(Deadman(), BEAT, 0.0), ended, 0.0, 500).verdict(SILENCE) is Verdict.ENDED


def test_a_new_run_begins_anew() -> None:
    """A restart within the silence is a bot that is well."""
    state = after(look(Deadman(), BEAT, 0.0), BEAT, 0.0, SILENCE - 1)
    again = look(state, replace(BEAT, run_id="run-2"), SILENCE)
    assert again.verdict(SILENCE) is Verdict.WELL
    assert again.silent_secs == 0.0


@given(st.floats(SILENCE, 1e6))
def test_a_watchdog_that_slept_gives_the_bot_time(secs: float) -> None:
    """After a sleep of the whole machine one look finds nothing dead; the next beat shows it well."""
    state = look(look(Deadman(), BEAT, 0.0), BEAT, secs)
    assert state.verdict(SILENCE) is Verdict.WELL
    assert state.silent_secs <= LOOK_GAP_SECS_MAX


Steps = st.lists(st.tuples(st.sampled_from(["beat", "lost"]), st.floats(0.1, 1.5)), max_size=200)


@given(Steps)
def test_a_bot_that_beats_often_enough_is_never_acted_on(steps: list[tuple[str, float]]) -> None:
    """Whatever beats are lost: as long as one in fifteen seconds is seen, the verdict is never silence."""
    state, now, seen_at, beat = look(Deadman(), BEAT, 0.0), 0.0, 0.0, BEAT
    for step, secs in steps:
        now += secs
        beat = replace(beat, pulse=beat.pulse + 1, progress=beat.progress + 1)
        if step == "beat" or now - seen_at > 15.0:
            state, seen_at = look(state, beat, now), now
        else:
            state = look(state, None, now)
        assert state.verdict(SILENCE) is Verdict.WELL
