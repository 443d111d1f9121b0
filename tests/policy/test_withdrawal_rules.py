"""The rules by which resting orders are taken back: nothing counts as gone before it is proven."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jurymast.policy import withdrawal
from jurymast.policy.withdrawal import (
    EMPTY_LOOKS,
    MANY,
    PROOF_GAP_SECS,
    RETRY_SECS_MAX,
    Step,
    Withdrawal,
)

NOTHING: frozenset[str] = frozenset()


def ids(count: int) -> frozenset[str]:
    return frozenset(f"o-{n}" for n in range(count))


def pulled(*, everything: bool = False) -> Withdrawal:
    """After the first look and the groups."""
    state = withdrawal.looked(withdrawal.begin(0.0, everything=everything), ids(3), 0, 0.0, quiet=True)
    assert state.step is Step.PULL_GROUPS
    return withdrawal.did(state, 0.1)


class TestOrderOfWork:
    def test_groups_come_first_then_two_empty_looks(self) -> None:
        """A group that took everything is enough: two empty lists, apart from each other, are the end."""
        state = withdrawal.looked(pulled(), NOTHING, 0, 1.0, quiet=True)
        assert (state.step, state.wait_secs(1.0)) == (Step.LOOK, PROOF_GAP_SECS)
        state = withdrawal.looked(state, NOTHING, 0, 2.0, quiet=True)
        assert state.done
        assert state.taken == ids(3)

    def test_few_are_cancelled_one_by_one_many_at_once(self) -> None:
        """Beyond a bound one cancel-all is used instead of so many cancels."""
        assert withdrawal.looked(pulled(), ids(MANY), 0, 1.0, quiet=True).step is Step.CANCEL_EACH
        assert withdrawal.looked(pulled(), ids(MANY + 1), 0, 1.0, quiet=True).step is Step.SWEEP

    def test_orders_of_other_hands_are_spared(self) -> None:
        """While somebody else's orders rest in the account, ours are cancelled one by one, however many."""
        assert withdrawal.looked(pulled(), ids(500), 1, 1.0, quiet=True).step is Step.CANCEL_EACH
        state = withdrawal.looked(pulled(), NOTHING, 7, 1.0, quiet=True)
        assert withdrawal.looked(state, NOTHING, 7, 2.0, quiet=True).done

    def test_a_halt_takes_other_hands_orders_too(self) -> None:
        """A halt takes the account: one cancel-all, and again when something is left."""
        state = withdrawal.looked(pulled(everything=True), NOTHING, 1, 1.0, quiet=True)
        assert state.step is Step.SWEEP
        swept = withdrawal.did(state, 1.5)
        assert (swept.step, swept.swept_at) == (Step.LOOK, 1.5)
        assert withdrawal.looked(swept, NOTHING, 2, 2.0, quiet=True).step is Step.SWEEP

    def test_an_order_on_its_way_keeps_the_list_unproven(self) -> None:
        """Empty lists count only while no order of ours is under way."""
        state = pulled()
        for at in range(1, 9):
            state = withdrawal.looked(state, NOTHING, 0, float(at), quiet=False)
            assert not state.done
        state = withdrawal.looked(state, NOTHING, 0, 9.0, quiet=True)
        assert not state.done
        assert withdrawal.looked(state, NOTHING, 0, 10.0, quiet=True).done

    def test_a_refused_look_does_not_keep_the_groups_from_being_pulled(self) -> None:
        """When reading is refused, the next try is the act, not another look."""
        state = withdrawal.refused(withdrawal.begin(0.0, everything=False), "429", 0.0)
        assert state.step is Step.PULL_GROUPS
        state = withdrawal.refused(pulled(everything=True), "429", 0.0)
        assert state.step is Step.SWEEP

    @pytest.mark.parametrize("step", [Step.LOOK, Step.DONE])
    def test_what_was_not_due_can_not_have_been_done(self, step: Step) -> None:
        """Telling the machine of an act it did not ask for is a bug of the caller."""
        with pytest.raises(ValueError, match="not an act"):
            withdrawal.did(Withdrawal(False, 0.0, step=step), 1.0)
        with pytest.raises(ValueError, match="was due"):
            withdrawal.looked(Withdrawal(False, 0.0, step=Step.SWEEP), NOTHING, 0, 1.0, quiet=True)


World = st.lists(st.sampled_from(["ok", "429", "arrives", "under way"]), max_size=60)


@given(World, st.integers(0, 60), st.integers(0, 5), st.booleans())
def test_it_ends_only_when_nothing_rests_and_always_when_the_exchange_answers(
    luck: list[str], ours: int, others: int, everything: bool
) -> None:
    """Whatever is refused and whatever arrives meanwhile: done means none of ours rests, and two empty looks
    at least a second apart say so; once the exchange answers it is done within a dozen requests."""
    resting, foreign, now, empty_since = set(ids(ours)), others, 0.0, None
    state = withdrawal.begin(now, everything=everything)
    for turn in range(len(luck) + 12):
        if state.done:
            break
        event = luck[turn] if turn < len(luck) else "ok"
        assert state.wait_secs(now) <= max(RETRY_SECS_MAX, PROOF_GAP_SECS)
        now += state.wait_secs(now)
        if event == "arrives":
            resting.add(f"late-{turn}")
        if event == "429":
            state, empty_since = withdrawal.refused(state, "too many requests", now), None
            continue
        if state.step is Step.LOOK:
            quiet = event != "under way"
            left = bool(resting) or (everything and foreign > 0)
            empty_since = None if left or not quiet else now if empty_since is None else empty_since
            state = withdrawal.looked(state, frozenset(resting), foreign, now, quiet=quiet)
            continue
        assert not (state.step is Step.SWEEP and foreign and not everything)
        if state.step is Step.SWEEP:
            resting, foreign = set(), 0
        elif state.step is Step.CANCEL_EACH:
            resting = set()
        state, empty_since = withdrawal.did(state, now), None
    assert state.done
    assert not resting
    assert state.empties == EMPTY_LOOKS
    assert foreign == (0 if everything else others)
    assert empty_since is not None
    assert now - empty_since >= PROOF_GAP_SECS


def test_what_takes_long_is_told_ever_more_seldom() -> None:
    """After 5 s, then each time it has taken twice as long, at last every five minutes."""
    state, told = withdrawal.begin(100.0, everything=True), []
    for now in range(100, 100 + 1_500):
        if withdrawal.report_due(state, float(now)):
            told.append(now - 100)
            state = withdrawal.reported(state)
    assert told == [5, 10, 20, 40, 80, 160, 320, 640, 960, 1280]
    assert not withdrawal.report_due(replace(state, step=Step.DONE, reports=0), 2_000.0)
