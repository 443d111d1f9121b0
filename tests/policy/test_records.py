"""The fold over forecasts and outcomes: bounded, repeatable, and nobody's weight but one's own."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from policy_world import NOW

from jurymast.domain.decision import ForecastRecord
from jurymast.domain.events import CanaryFinished, Event, ForecastNoted, ForecastScored, OpinionStopped
from jurymast.domain.money import CENT
from jurymast.domain.provider import ProviderName, Route, Tier
from jurymast.policy import records as rules
from jurymast.policy.quality import TIER_WEIGHTS
from jurymast.policy.records import ForecastRecords


def record(
    ticker: str = "A", model: str = "grok-4.7", *, pct: int = 80, cents: int = 50, tier: Tier = Tier.STRONG,
    weight: float = 0.2, event: str = "",
) -> ForecastRecord:  # fmt: skip
    return ForecastRecord(
        ticker=ticker,
        event_ticker=event or ticker,
        category="Sports",
        provider=ProviderName.XAI,
        model=model,
        tier=tier,
        probability_pct=pct,
        market_price=cents * CENT,
        weight=weight,
        calibrated=pct / 100,
        as_of=NOW,
        closes_at=NOW + timedelta(days=1),
    )


def noted(each: ForecastRecord) -> ForecastNoted:
    return ForecastNoted(at=NOW, record=each)


def scored(each: ForecastRecord, yes: bool | None = True) -> ForecastScored:
    return ForecastScored(at=NOW, record=each, yes=yes)


def folded(*events: Event, trusted: tuple[str, ...] = ()) -> ForecastRecords:
    book = ForecastRecords(trusted=trusted)
    for event in events:
        book.apply(event)
    return book


def known(book: ForecastRecords) -> object:
    models = sorted(book.models)
    return [(m, book.weight(m, Tier.STRONG, "sports"), book.harm(m)) for m in models], book.pending


RECORDS = st.builds(
    record,
    ticker=st.sampled_from("ABCDE"),
    model=st.sampled_from(["grok-4.7", "gpt-6.1-terra"]),
    pct=st.integers(1, 99),
    cents=st.integers(1, 99),
)
EVENTS = st.lists(
    st.builds(noted, RECORDS) | st.builds(scored, RECORDS, st.sampled_from([True, False, None])), max_size=25
)


@given(events=EVENTS)
def test_a_fact_counts_once(events: list[Event]) -> None:
    """A replay that overlaps the live feed changes nothing."""
    once = folded(*events)
    again = folded(*events, *[event for event in events if isinstance(event, ForecastScored)])
    assert known(once)[0] == known(again)[0]  # type: ignore[index]  # the models, not what waits


def test_a_market_counts_by_its_first_forecast() -> None:
    """Asked again, a model does not get a second chance, neither before nor after the outcome."""
    first, later = record(pct=80), record(pct=20)
    book = folded(noted(first), noted(later))
    assert book.pending == {"A": (first,)}
    book.apply(scored(first))
    assert not book.is_new(later.ticker, later.model)
    assert [each.forecast for each in book.outcomes("grok-4.7")] == [0.8]
    assert book.pending == {}


def test_a_new_model_begins_at_its_tier() -> None:
    """Whatever another id has shown, a new or swapped one has no record: prior mean, prior spread, n = 0."""
    book = folded(*(scored(record(str(n))) for n in range(60)))
    learned, fresh = book.weight("grok-4.7", Tier.STRONG), book.weight("grok-5", Tier.STRONG)
    assert (fresh.mean, fresh.sd, fresh.events) == (0.20, 0.10, 0)
    assert learned.events == 60
    assert learned.mean > fresh.mean


def test_a_small_model_is_worth_nothing_whatever_its_record() -> None:
    """A hundred right answers of a small model do not let it move a probability."""
    book = folded(*(scored(record(str(n), "llama", tier=Tier.SMALL)) for n in range(100)))
    assert book.weight("llama", Tier.SMALL) == TIER_WEIGHTS[Tier.SMALL]


def test_a_void_market_proves_nothing() -> None:
    """The forecast is done with and no weight has changed."""
    book = folded(noted(record()), scored(record(), None))
    assert book.pending == {}
    assert book.weight("grok-4.7", Tier.STRONG).events == 0


def test_a_stopped_model_counts_for_nothing_until_it_is_trusted() -> None:
    """Harm beyond doubt is found once; the stop holds over a restart and ends by name only."""
    harmful = [scored(record(str(n), pct=95, weight=0.6), yes=False) for n in range(60)]
    book = folded(*harmful)
    ((model, evidence),) = book.harmful()
    assert model == "grok-4.7"
    assert evidence >= rules.HARM_MAX
    stop = OpinionStopped(at=NOW, model=model, evidence=evidence, reason="it harmed")
    again = folded(*harmful, stop)
    assert again.harmful() == []
    weight = again.weight(model, Tier.STRONG)
    assert (weight.used, weight.lower, weight.stopped) == (0.0, 0.0, "it harmed")
    assert folded(*harmful, stop, trusted=(model,)).weight(model, Tier.STRONG).stopped == ""


def test_a_model_that_has_changed_in_secret_begins_anew() -> None:
    """What a canary finds ends the record of that name, pending forecasts too, and of no other."""
    outcomes = [scored(record(f"M-{n}", model)) for n in range(30) for model in ("grok-4.7", "other")]
    pending = [noted(record("P", "grok-4.7")), noted(record("P", "other"))]
    before = folded(*outcomes, *pending)
    finding = CanaryFinished(
        at=NOW, route=Route(ProviderName.XAI, "grok-4.7"), served="grok-4.7", answers=(), shift=0.9,
        changed=True, cost=0,
    )  # fmt: skip
    after = folded(*outcomes, *pending, finding)
    assert before.weight("grok-4.7", Tier.STRONG) != TIER_WEIGHTS[Tier.STRONG]
    assert after.weight("grok-4.7", Tier.STRONG) == TIER_WEIGHTS[Tier.STRONG]
    assert after.weight("other", Tier.STRONG) == before.weight("other", Tier.STRONG)
    assert [each.model for each in after.pending["P"]] == ["other"]
    calm = replace(finding, changed=False)
    assert known(folded(*outcomes, *pending, calm)) == known(before)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of markets that wait, of a model's outcomes and of models only so many are kept, the newest."""
    monkeypatch.setattr(rules, "PENDING_MAX", 3)
    monkeypatch.setattr(rules, "SCORED_MAX", 4)
    monkeypatch.setattr(rules, "MODELS_MAX", 2)
    book = folded(*(noted(record(str(n))) for n in range(9)))
    assert list(book.pending) == ["6", "7", "8"]
    book = folded(*(scored(record(str(n), model)) for model in "xyz" for n in range(9)))
    assert book.models == ("y", "z")
    assert [each.event for each in book.outcomes("z")] == ["5", "6", "7", "8"]
