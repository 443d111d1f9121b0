"""Holds in bulk: never more given out than was taken, settled once, and bounded near a limit."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jurymast.policy.lease import (
    BUSY_REQUESTS,
    BUSY_SECS,
    LEASE_LEAST,
    LEASE_SECS,
    LEASE_SHARE,
    LEASE_TIMES,
    Bill,
    Leases,
    size,
)
from jurymast.policy.ledger import Hold, Payer
from jurymast.testing.clock import START

XAI = Payer("xai", "grok-4.3")


def bulk(serial: int, amount: int, payer: Payer = XAI) -> Hold:
    return Hold(serial, payer, amount, START)


@given(worst=st.integers(1, 10**6), left=st.integers(-(10**6), 10**12))
def test_a_lease_is_small_beside_what_is_left(worst: int, left: int) -> None:
    """At most its share and so many worst cases; where that is too little, a request asks for itself."""
    amount = size(worst, left)
    assert amount == worst or worst * LEASE_LEAST <= amount <= min(worst * LEASE_TIMES, left * LEASE_SHARE)


def test_only_those_who_come_close_together_are_busy() -> None:
    """One decision a minute never is; a burst is, and is not any more when it is over."""
    leases = Leases()
    assert not any(leases.busy(XAI, now=60.0 * minute) for minute in range(100))
    step = BUSY_SECS / BUSY_REQUESTS / 2
    burst = [leases.busy(XAI, now=10_000.0 + step * number) for number in range(BUSY_REQUESTS + 4)]
    assert burst == [False] * (BUSY_REQUESTS - 1) + [True] * 5
    assert not leases.busy(XAI, now=20_000.0)
    assert not leases.busy(Payer("openai"), now=20_000.0)


@given(st.data())
def test_what_is_given_out_was_taken_before(data: st.DataObject) -> None:
    """Whatever is asked, settled and let expire: held and spent never pass the holds of the file, every lease
    is settled once, and in the end the bills are the requests' own."""
    leases, now, serial = Leases(), 0.0, 0
    taken: dict[int, int] = {}
    settled: dict[int, Bill] = {}
    under_way: dict[int, Hold] = {}
    costs = 0

    def book(*over: Bill | None) -> None:
        for each in over:
            if each is not None:
                assert each.hold.serial not in settled
                settled[each.hold.serial] = each

    for _ in range(data.draw(st.integers(1, 60))):
        now += data.draw(st.sampled_from([0.0, 0.01, 0.3, LEASE_SECS]))
        match data.draw(st.sampled_from(["ask", "ask", "settle", "expire"])):
            case "ask":
                worst = data.draw(st.integers(1, 100))
                hold = leases.take(XAI, worst, now)
                if hold is None:
                    serial += 1
                    taken[serial] = data.draw(st.integers(worst, 400))
                    hold, before = leases.begin(bulk(serial, taken[serial]), worst, now)
                    book(before)
                assert hold.serial < 0
                assert hold.worst == worst
                under_way[hold.serial] = hold
            case "settle" if under_way:
                hold = under_way.pop(data.draw(st.sampled_from(sorted(under_way))))
                cost = data.draw(st.integers(0, hold.worst))
                uncertain = data.draw(st.integers(0, hold.worst - cost))
                costs += cost + uncertain
                book(leases.settle(hold, cost, uncertain, now))
            case "expire":
                book(*leases.expired(now))
        open_holds = sum(amount for number, amount in taken.items() if number not in settled)
        booked = sum(each.cost + each.uncertain for each in settled.values())
        assert open_holds + booked >= costs + sum(hold.worst for hold in under_way.values())
    book(*leases.close())
    assert set(settled) == set(taken)
    kept = sum(hold.worst for hold in under_way.values())
    assert sum(each.cost + each.uncertain for each in settled.values()) == costs + kept


def test_a_payer_pays_for_himself() -> None:
    """Nobody is held out of somebody else's lease, and an old one gives nothing more."""
    leases = Leases()
    leases.begin(bulk(1, 1_000), 100, 0.0)
    assert leases.take(Payer("openai"), 100, 0.1) is None
    assert leases.take(XAI, 901, 0.1) is None
    assert leases.take(XAI, 900, 0.1) is not None
    assert leases.take(XAI, 1, 0.1) is None
    leases.begin(bulk(2, 1_000), 100, 0.2)
    assert leases.take(XAI, 100, 0.2 + LEASE_SECS) is None
