"""Taking resting orders back, and knowing that they are gone. One machine for the bot and the watchdog.

Rules
  1. Whoever starts this has blocked new entries first; an order still on its way keeps the list unproven.
  2. The list is read, and if something rests, order groups are pulled: one request each, and the group
     refuses what arrives late. A look that fails keeps nobody from pulling the groups that are known.
  3. What still rests then goes by one cancel-all when everything is to go, or when it is many and nobody
     else's; otherwise one by one, so that orders of other hands are left alone. A halt that can't read the
     list sends its cancel-all unread.
  4. Gone means: two empty lists in a row, ``PROOF_GAP_SECS`` apart, with no order of ours under way.
  5. A refusal (429, a pause, silence) ends nothing. After ``1, 2, 4 ...`` times ``RETRY_SECS`` it is tried
     again, for ever; whoever runs the machine decides when to come back later.
  6. What takes longer than ``REPORT_AFTER_SECS`` is told, and again each time it has taken twice as long.

  step          done                        failed
  LOOK          left: PULL_GROUPS, then     wait, PULL_GROUPS if not yet, SWEEP if a halt, else LOOK
                SWEEP or CANCEL_EACH
                none: LOOK again, then DONE
  PULL_GROUPS   LOOK                        wait, LOOK
  SWEEP         LOOK                        wait, LOOK
  CANCEL_EACH   LOOK                        wait, LOOK

Times are monotonic seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

MANY: Final = 20
"""Orders from which one cancel-all is better than so many cancels."""
EMPTY_LOOKS: Final = 2
PROOF_GAP_SECS: Final = 1.0
"""Between the empty lists: Kalshi tells an account as of about a second ago."""
RETRY_SECS: Final = 0.25
RETRY_SECS_MAX: Final = 2.0
REPORT_AFTER_SECS: Final = 5.0
REPORTS_DOUBLED_MAX: Final = 6
"""Then one is due every five minutes or so."""
SWEPT_SECS: Final = 60.0
"""After a cancel-all the exchange kills what is placed for so long, by its own clock."""


class Step(StrEnum):
    """What is to be done next."""

    PULL_GROUPS = "pull_groups"
    LOOK = "look"
    SWEEP = "sweep"
    CANCEL_EACH = "cancel_each"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """State of the machine. ``everything`` is a halt: other hands' orders go as well."""

    everything: bool
    started_at: float
    step: Step = Step.LOOK
    not_before: float = 0.0
    pulled: bool = False
    swept: bool = False
    swept_at: float | None = None
    empties: int = 0
    tries: int = 0
    refusals_in_row: int = 0
    left: int = 0
    reports: int = 0
    taken: frozenset[str] = frozenset()
    """Ids of every order that was known to rest."""
    trouble: str = ""
    """The last refusal of an act, in the exchange's words; empty when the last act was carried out."""

    @property
    def done(self) -> bool:
        return self.step is Step.DONE

    def wait_secs(self, now: float) -> float:
        """How long to wait before the step."""
        return max(0.0, self.not_before - now)


def begin(now: float, *, everything: bool, known: frozenset[str] = frozenset()) -> Withdrawal:
    """A withdrawal that starts now. ``known`` are the ids of the orders that rest as far as one knows."""
    return Withdrawal(everything, now, taken=known)


def did(state: Withdrawal, now: float) -> Withdrawal:
    """The step was carried out; a look is told by :func:`looked` instead. Raises ValueError for a look."""
    if state.step in {Step.LOOK, Step.DONE}:
        raise ValueError(f"{state.step} is not an act")
    state = replace(state, tries=state.tries + 1, refusals_in_row=0, trouble="", empties=0, not_before=now)
    if state.step is Step.PULL_GROUPS:
        state = replace(state, pulled=True)
    if state.step is Step.SWEEP:
        state = replace(state, swept=True, swept_at=now)
    return replace(state, step=Step.LOOK)


def looked(state: Withdrawal, ours: frozenset[str], others: int, now: float, *, quiet: bool) -> Withdrawal:
    """The list was read: our orders that rest, and how many of other hands. ``quiet``: none of ours is
    under way. Raises ValueError when no look was due."""
    if state.step is not Step.LOOK:
        raise ValueError(f"a list came, but {state.step} was due")
    left = len(ours) + (others if state.everything else 0)
    state = replace(state, tries=state.tries + 1, left=left, taken=state.taken | ours)
    if left:
        return replace(state, empties=0, step=_means(state, len(ours), others))
    empties = state.empties + 1 if quiet else 0
    if empties >= EMPTY_LOOKS:
        return replace(state, empties=empties, step=Step.DONE, not_before=now)
    return replace(state, empties=empties, not_before=now + PROOF_GAP_SECS)


def refused(state: Withdrawal, trouble: str, now: float) -> Withdrawal:
    """The step was not carried out, or nobody knows: look, or try again, a little later."""
    looking = state.step is Step.LOOK
    wait = min(RETRY_SECS * 2**state.refusals_in_row, RETRY_SECS_MAX)
    again = Step.LOOK
    if looking and not state.pulled:
        again = Step.PULL_GROUPS
    elif looking and state.everything and not state.swept:
        again = Step.SWEEP
    return replace(
        state,
        step=again,
        tries=state.tries + 1,
        refusals_in_row=min(state.refusals_in_row + 1, 16),
        empties=0,
        not_before=now + wait,
        trouble=trouble,
    )


def report_due(state: Withdrawal, now: float) -> bool:
    """Whether people are to be told that it is not done yet."""
    doubled = min(state.reports, REPORTS_DOUBLED_MAX)
    more = max(0, state.reports - REPORTS_DOUBLED_MAX)
    patience_secs = REPORT_AFTER_SECS * (2**doubled + more * 2**REPORTS_DOUBLED_MAX)
    return not state.done and now - state.started_at >= patience_secs


def reported(state: Withdrawal) -> Withdrawal:
    """They were told."""
    return replace(state, reports=state.reports + 1)


def _means(state: Withdrawal, ours: int, others: int) -> Step:
    if not state.pulled:
        return Step.PULL_GROUPS
    if state.everything or (ours > MANY and not others):
        return Step.SWEEP
    return Step.CANCEL_EACH
