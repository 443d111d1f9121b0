"""Edges: when two providers fail together in the way of networks, the way is suspected."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jurymast.domain.provider import ProviderName
from jurymast.policy.edges import TOGETHER_SECS, Edge

XAI, OPENAI, ANTHROPIC, LOCAL = ProviderName


def test_two_providers_within_half_a_minute_make_an_edge_suspect_once() -> None:
    """The second provider raises the suspicion, a third adds nothing to tell."""
    edge = Edge()
    assert not edge.failed(XAI, 100.0)
    assert edge.failed(OPENAI, 100.0 + TOGETHER_SECS)
    assert edge.suspect
    assert not edge.failed(ANTHROPIC, 101.0)


def test_one_provider_alone_never_does() -> None:
    """However often one provider fails, it is that provider."""
    edge = Edge()
    assert not any(edge.failed(XAI, secs) for secs in range(100))


def test_failures_far_apart_are_two_outages() -> None:
    """A provider that has been down for a minute already is no witness against the way."""
    edge = Edge()
    edge.failed(XAI, 100.0)
    assert not edge.failed(OPENAI, 100.0 + TOGETHER_SECS + 0.1)


def test_an_answer_between_them_acquits() -> None:
    """If somebody behind the edge has answered since, the way is open."""
    edge = Edge()
    edge.failed(XAI, 100.0)
    assert not edge.answered(ANTHROPIC, 101.0)
    assert not edge.failed(OPENAI, 102.0)
    assert edge.failed(ANTHROPIC, 103.0), "these two began after the answer"


def test_any_answer_clears_it_and_it_may_be_suspected_again() -> None:
    """The first answer from behind the edge ends the suspicion; a new outage raises it anew."""
    edge = Edge()
    edge.failed(XAI, 100.0)
    edge.failed(OPENAI, 100.0)
    assert edge.answered(ANTHROPIC, 110.0)
    assert not edge.suspect
    assert not edge.answered(ANTHROPIC, 111.0), "it is cleared once"
    edge.answered(XAI, 112.0)
    edge.answered(OPENAI, 112.0)
    edge.failed(XAI, 200.0)
    assert edge.failed(OPENAI, 201.0)


def test_an_answer_to_a_question_from_before_proves_nothing() -> None:
    """Answers take seconds: what was asked before the way broke does not show that it is open again."""
    edge = Edge()
    edge.failed(XAI, 100.0)
    edge.failed(OPENAI, 101.0)
    assert not edge.answered(ANTHROPIC, sent_at=99.0)
    assert edge.suspect
    assert edge.answered(ANTHROPIC, sent_at=101.0)


@given(
    steps=st.lists(
        st.tuples(st.booleans(), st.sampled_from(ProviderName), st.floats(0, 40)), min_size=1, max_size=60
    )
)
def test_every_change_of_suspicion_is_said_once(steps: list[tuple[bool, ProviderName, float]]) -> None:
    """What is returned is exactly when the suspicion begins and ends, and it needs two providers."""
    edge, now, failing = Edge(), 0.0, set()
    for answers, provider, secs in steps:
        now += secs
        before = edge.suspect
        if answers:
            assert edge.answered(provider, now) == before
            assert not edge.suspect
            failing.clear()
        else:
            failing.add(provider)
            assert edge.failed(provider, now) == (edge.suspect and not before)
            assert not edge.suspect or before or len(failing) >= 2
