"""What is decided when no provider answers: an opinion of before with its age, or an explicit hold."""

from __future__ import annotations

import hashlib
from datetime import datetime

from jurymast.domain.decision import Abstain, AbstainReason, Attempt, CachedFrom, Decision, Rung
from jurymast.domain.market import MarketSnapshot
from jurymast.domain.money import format_cents
from jurymast.domain.status import EmergencyMode
from jurymast.policy.cached import Opinions, Void, carried
from jurymast.policy.emergency import ModeRules


def decision_id(snapshot: MarketSnapshot) -> str:
    """The same for the same market at the same instant of exchange time, in any run."""
    text = f"{snapshot.ticker}|{snapshot.as_of.isoformat()}"
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def emergency_answer(
    snapshot: MarketSnapshot,
    opinions: Opinions,
    row: ModeRules,
    *,
    mode: EmergencyMode,
    why: str,
    now: datetime,
    reason: AbstainReason = AbstainReason.EMERGENCY_MODE,
    attempts: tuple[Attempt, ...] = (),
    secs: float = 0.0,
) -> Decision | Abstain:
    """The opinion that is kept of this market as far as it still counts, or an abstention that says why none.

    ``row`` is the mode's, ``why`` what has happened to the providers, ``attempts`` what was tried before. A
    void opinion is let go of.
    """
    kept = opinions.of(snapshot.ticker)
    left = carried(kept, snapshot, row.cached_age_secs_max)
    price = snapshot.book.mid if snapshot.book.two_sided else 0
    cost = sum(attempt.cost for attempt in attempts)
    if kept is None or isinstance(left, Void):
        if kept is not None and row.cached_age_secs_max > 0:
            opinions.forget(snapshot.ticker)
        void = f"{left.reason}: {left.detail}" if isinstance(left, Void) else ""
        return Abstain(
            decision_id=decision_id(snapshot),
            ticker=snapshot.ticker,
            reason=reason,
            detail=f"{why}; nothing cached: {void} {row.at('cached_age_secs_max')}",
            mode=mode,
            cost=cost,
            secs=secs,
            market_price=price,
            as_of=snapshot.as_of,
            decided_at=now,
            attempts=attempts,
        )
    return Decision(
        decision_id=decision_id(snapshot),
        ticker=snapshot.ticker,
        forecast=kept.forecast,
        rung=Rung.CACHED,
        route=kept.route,
        tier=kept.tier,
        served_model=kept.served_model,
        mode=mode,
        cost=cost,
        secs=secs,
        market_price=price,
        as_of=snapshot.as_of,
        decided_at=now,
        reason=_story(kept, left, why),
        attempts=attempts,
        simulated=kept.simulated,
        rules_hash=kept.rules_hash,
        spread=kept.spread,
        volume_24h=kept.volume_24h,
        cached=left,
    )


def _story(kept: Decision, left: CachedFrom, why: str) -> str:
    return (
        f"cached: {kept.route} said so {left.age_secs / 60:.0f} min before, against "
        f"{format_cents(left.market_price)}; {left.share:.0%} of its edge is left; {why}"
    )
