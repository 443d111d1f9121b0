"""Alerts in virtual time: seldom, never twice for one cause, and nothing that matters is lost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from history_world import cycle, provider_is
from jurymast.domain.events import ApiDrifted, FailedOver, ModeChanged
from jurymast.domain.provider import ProviderName, Route
from jurymast.domain.status import BudgetReport, EmergencyMode, ProviderStatus
from jurymast.policy import alert_contacts, alert_signals, alerts
from jurymast.policy.alert_contacts import WAITING_MAX, Contact, Inbox, Message
from jurymast.policy.alert_signals import AlertKind, Level, Signal
from jurymast.policy.alerts import TROUBLES_MAX, Alerts, AlertSettings, Change, Notice

START = datetime(2026, 3, 2, 12, tzinfo=UTC)
RULES = AlertSettings()
OWNER = Contact("owner", Level.INFO)


@dataclass
class World:
    """One set of rules, some contacts whose channels work or not, and a clock that is turned by hand."""

    contacts: tuple[Contact, ...] = (OWNER,)
    rules: AlertSettings = RULES
    now: datetime = START
    alerts: Alerts = field(default_factory=Alerts)
    inboxes: dict[str, Inbox] = field(default_factory=dict)
    notices: list[Notice] = field(default_factory=list)
    messages: list[tuple[datetime, Message]] = field(default_factory=list)
    dead: set[str] = field(default_factory=set)

    def hear(self, signal: Signal) -> None:
        self.alerts, told = alerts.heard(self.alerts, signal, self.now, self.rules)
        self._tell(told)

    def wait(self, secs: float, step: float = 10.0) -> None:
        until = self.now + timedelta(seconds=secs)
        while self.now < until:
            self.now = min(until, self.now + timedelta(seconds=step))
            self.alerts, told = alerts.passed(self.alerts, self.now, self.rules)
            self._tell(told)

    def acknowledge_all(self) -> None:
        self.alerts = alerts.acknowledged(self.alerts, [each.id for each in self.alerts.open], self.now)

    def _tell(self, told: Iterable[Notice]) -> None:
        told = tuple(told)
        self.notices += told
        for contact in self.contacts:
            inbox = self.inboxes.get(contact.name, Inbox())
            inbox = alert_contacts.taken(inbox, contact, told, self.alerts, self.now)
            inbox, message = alert_contacts.due(inbox, contact, self.now)
            if message is not None and contact.name in self.dead:
                inbox = alert_contacts.returned(inbox)
            elif message is not None:
                inbox = alert_contacts.delivered(inbox, message)
                self.messages.append((self.now, message))
            self.inboxes[contact.name] = inbox

    def changes(self, contact: str = "owner") -> list[tuple[Change, str]]:
        return [
            (notice.change, notice.cause)
            for _, message in self.messages
            if message.contact == contact
            for notice in message.notices
        ]


def down(holds: bool = True, *, text: str = "503", level: Level = Level.WARNING, who: str = "xai") -> Signal:
    return Signal(AlertKind.PROVIDER, who, level, holds, text)


def nobody(holds: bool = True) -> Signal:
    return Signal(AlertKind.NOBODY, "all", Level.CRITICAL, holds, "no provider answers")


def test_a_short_trouble_is_not_told() -> None:
    """A provider that is back within the opening time wakes nobody."""
    world = World()
    world.hear(down())
    world.wait(RULES.open_secs - 1)
    world.hear(down(False))
    world.wait(7_200)
    assert world.messages == []


def test_a_lasting_trouble_is_told_once_whatever_its_text_and_resolved_once() -> None:
    """The text of an error changes with every request; the cause does not, and neither does the alert."""
    world = World()
    for place in range(60):
        world.hear(down(text=f"error {place}"))
        world.wait(10)
    world.hear(down(False))
    world.wait(RULES.close_secs + 10)
    cause = "provider:xai"
    assert world.changes() == [(Change.OPENED, cause), (Change.RESOLVED, cause)]


def test_what_is_critical_is_told_at_once_and_getting_worse_as_well() -> None:
    """A mode that falls from MINIMAL to SUSPENDED is told again; back to MINIMAL and down again is not."""
    world = World()
    world.hear(nobody())
    assert world.changes() == [(Change.OPENED, "nobody:all")]
    for level in (Level.WARNING, Level.CRITICAL, Level.WARNING, Level.CRITICAL):
        world.hear(Signal(AlertKind.MODE, "judgement", level, True, f"mode {level}"))
        world.wait(RULES.open_secs)
    told = [change for change, cause in world.changes() if cause == "mode:judgement"]
    assert told == [Change.OPENED, Change.WORSE]


def test_reminders_come_ever_more_seldom_and_end() -> None:
    """After one hour, two, four: at most as many as are set, none once it is acknowledged."""
    world = World()
    world.hear(nobody())
    world.wait(200 * 3_600, step=300)
    hours = [round((at - START).total_seconds() / 3_600) for at, _ in world.messages]
    assert hours == [0, 1, 3, 7, 15, 31, 63]
    calm = World()
    calm.hear(nobody())
    calm.acknowledge_all()
    calm.wait(200 * 3_600, step=300)
    assert calm.changes() == [(Change.OPENED, "nobody:all")]


def test_a_flapping_provider_is_told_a_few_times_and_then_once() -> None:
    """Down and up all day long: some messages in the first hour, hardly any in the others."""
    world = World()
    for _ in range(24 * 6):
        world.hear(down())
        world.wait(120)
        world.hear(down(False))
        world.wait(480)
    first = [at for at, _ in world.messages if at < START + timedelta(hours=1)]
    assert len(first) <= 2 * RULES.flap_times
    assert len(world.messages) <= len(first) + RULES.reminders_max


def test_a_provider_that_never_stays_down_for_long_is_told_all_the_same() -> None:
    """Down for less than the opening time, again and again: no trick to stay below the threshold."""
    world = World()
    for _ in range(20):
        world.hear(down())
        world.wait(RULES.open_secs - 10)
        world.hear(down(False))
        world.wait(30)
    assert world.changes() == [(Change.OPENED, "provider:xai")]


def test_what_happened_is_told_once_and_more_of_it_counted() -> None:
    """Fifty fields that drift are one alert, and how many came is said at the end."""
    world = World()
    for place in range(50):
        world.hear(Signal(AlertKind.DRIFT, "harmless", Level.INFO, None, f"field {place}"))
        world.wait(30)
    world.wait(RULES.quiet_secs + 30)
    assert world.changes() == [(Change.OPENED, "drift:harmless"), (Change.RESOLVED, "drift:harmless")]
    assert world.notices[-1].count == 50


def test_what_happened_and_is_critical_stays_until_somebody_has_seen_it() -> None:
    """The watchdog acted: reminders go on for a week, and end with an acknowledgement."""
    world = World()
    world.hear(Signal(AlertKind.WATCHDOG, "fired", Level.CRITICAL, None, "acted"))
    world.wait(4 * 3_600)
    assert [change for change, _ in world.changes()] == [Change.OPENED, Change.REMINDER, Change.REMINDER]
    world.acknowledge_all()
    world.wait(2 * 3_600)
    assert world.alerts.open == ()


@pytest.mark.parametrize(("begin", "end", "quiet"), [(22, 7, {23, 1, 3}), (1, 5, {1, 3}), (0, 0, set())])
def test_quiet_hours_may_go_over_midnight(begin: int, end: int, quiet: set[int]) -> None:
    """From ten to seven is the night; equal hours are none."""
    contact = Contact("c", quiet_from_hour=begin, quiet_until_hour=end)
    assert {hour for hour in (1, 3, 12, 23) if contact.is_quiet(START.replace(hour=hour))} == quiet


def test_at_night_only_what_is_critical_passes_and_the_rest_waits() -> None:
    """What lasts until the morning is told then, in one message; what was over before is not."""
    sleeper = Contact("sleeper", Level.WARNING, quiet_from_hour=12, quiet_until_hour=18)
    world = World(contacts=(sleeper,))
    world.hear(down())
    world.hear(down(who="openai"))
    world.wait(120)
    world.hear(down(False, who="openai"))
    assert world.messages == []
    world.hear(nobody())
    assert world.changes("sleeper") == [(Change.OPENED, "nobody:all")]
    world.acknowledge_all()
    world.wait(6 * 3_600)
    assert world.changes("sleeper")[1:] == [(Change.OPENED, "provider:xai")]


def test_nobody_reacts_so_the_next_one_is_called() -> None:
    """The second contact hears of what is critical only when nobody took it on in time, and of its end."""
    second = Contact("second", after_secs=900)
    world = World(contacts=(OWNER, second))
    world.hear(down())
    world.hear(nobody())
    world.wait(890)
    assert world.changes("second") == []
    world.wait(20)
    world.hear(nobody(False))
    world.wait(RULES.close_secs + 10)
    assert world.changes("second") == [(Change.OPENED, "nobody:all"), (Change.RESOLVED, "nobody:all")]
    calm = World(contacts=(OWNER, second))
    calm.hear(nobody())
    calm.wait(60)
    calm.acknowledge_all()
    calm.wait(7_200)
    assert calm.changes("second") == []


def test_a_dead_channel_gets_everything_that_still_matters_when_it_is_back() -> None:
    """Nothing is lost with a message: it waits, newest word by cause; what is over and mild is left out."""
    world = World(dead={"owner"})
    world.hear(nobody())
    world.hear(down())
    world.hear(down(who="openai"))
    world.wait(600)
    world.hear(nobody(False))
    world.hear(down(False, who="openai"))
    world.wait(3_600)
    assert world.messages == []
    world.dead.clear()
    world.wait(1_200)
    told = {cause: change for change, cause in world.changes()}
    assert told["nobody:all"] is Change.RESOLVED
    assert told["provider:xai"] in {Change.OPENED, Change.REMINDER}
    assert "provider:openai" not in told


def test_an_end_that_comes_while_the_beginning_is_on_its_way_is_told() -> None:
    """Two messages, not none: the first had left already."""
    notice = Notice(Change.OPENED, "provider:xai", "abc", Level.WARNING, "down", START, START)
    over = Notice(Change.RESOLVED, "provider:xai", "abc", Level.WARNING, "down", START, START)
    inbox = alert_contacts.taken(Inbox(), OWNER, [notice], Alerts(), START)
    inbox, message = alert_contacts.due(inbox, OWNER, START)
    assert message is not None
    inbox = alert_contacts.taken(inbox, OWNER, [over], Alerts(), START)
    assert alert_contacts.due(inbox, OWNER, START)[1] is None
    arrived, second = alert_contacts.due(alert_contacts.delivered(inbox, message), OWNER, START)
    assert second is not None
    assert second.notices == (over,)
    assert alert_contacts.delivered(arrived, second) == Inbox(tokens=3.0, urgent_tokens=5.0, filled_at=START)
    assert alert_contacts.returned(inbox).waiting == {}


CAUSES = [(kind, subject) for kind in AlertKind for subject in ("a", "b", "c")]
SIGNALS = st.builds(
    lambda cause, level, holds, text: Signal(*cause, level, holds, text),
    st.sampled_from(CAUSES),
    st.sampled_from(Level),
    st.sampled_from([True, True, False, None]),
    st.text(max_size=8),
)
STEPS = st.lists(st.tuples(SIGNALS, st.floats(0.0, 400.0), st.booleans()), max_size=150)
MEMBERS = (
    OWNER,
    Contact("few", Level.WARNING, per_hour_max=4),
    Contact("night", Level.WARNING, quiet_from_hour=12, quiet_until_hour=15),
    Contact("second", Level.CRITICAL, after_secs=600),
)


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_whatever_happens_messages_are_few_and_nothing_critical_is_lost(
    steps: list[tuple[Signal, float, bool]],
) -> None:
    """Any signals in any order, channels that come and go: messages of any hour stay below their bound; every
    critical trouble is told of to whoever wants to know; every opened one is over or goes on being known."""
    world, critical, ends = World(contacts=MEMBERS), set[str](), 0
    for signal, secs, dead in steps:
        world.dead = {"owner", "few"} if dead else set()
        world.hear(signal)
        trouble = world.alerts.troubles.get(signal.cause)
        if signal.level is Level.CRITICAL and signal.holds is not False:
            assert trouble is not None
            assert trouble.opened_at is not None
            assert trouble.peak is Level.CRITICAL
            critical.add(trouble.id)
        world.wait(secs, step=100.0)
    world.dead = set()
    world.wait(6 * 3_600, step=300.0)
    for contact in MEMBERS:
        times = [at for at, message in world.messages if message.contact == contact.name]
        for place, begin in enumerate(times):
            within = [at for at in times[place:] if at < begin + timedelta(hours=1)]
            assert len(within) <= contact.messages_per_hour_max
    told = defaultdict[str, set[str]](set)
    for _, message in world.messages:
        told[message.contact] |= {notice.id for notice in message.notices}
    for name in ("owner", "few", "night"):
        assert critical <= told[name]
    opened = {each.id for each in world.notices if each.change is Change.OPENED}
    ends = {each.id for each in world.notices if each.change is Change.RESOLVED}
    alive = {each.id: each for each in world.alerts.open}
    for id_ in opened - ends:
        known = alive.get(id_)
        once = all(each.count == 1 for each in world.notices if each.id == id_)
        assert known is not None or once
        if known is not None and known.clear_since is None and known.acknowledged_at is None:
            mild = not known.lasting and known.peak is not Level.CRITICAL
            assert mild or known.remind_at is not None or known.reminders >= RULES.reminders_max
    for inbox in world.inboxes.values():
        assert inbox.waiting == {}


def test_a_thousand_causes_take_a_bounded_room_and_critical_ones_are_told() -> None:
    """Troubles beyond the bound go together by kind, and the worst of them still opens an alert."""
    world = World(contacts=(Contact("owner", Level.WARNING),), dead={"owner"})
    for place in range(1_000):
        world.hear(Signal(AlertKind.MODEL, str(place), Level.WARNING, None, "x"))
    world.hear(Signal(AlertKind.DRIFT, "harmful", Level.CRITICAL, None, "the API moved"))
    assert len(world.alerts.troubles) <= TROUBLES_MAX + len(AlertKind)
    assert len(world.inboxes["owner"].waiting) <= WAITING_MAX
    world.dead.clear()
    world.wait(3_600)
    assert (Change.OPENED, "drift:others") in world.changes()


def test_a_storm_of_critical_causes_is_bounded_and_told_in_groups() -> None:
    """A new critical cause every twenty seconds for an hour: few messages, every cause in one of them."""
    world = World()
    for place in range(180):
        world.hear(Signal(AlertKind.DRIFT, str(place), Level.CRITICAL, None, "x"))
        world.wait(20)
    assert 20 <= len(world.messages) <= OWNER.messages_per_hour_max
    world.acknowledge_all()
    world.wait(1_200)
    assert {cause for _, cause in world.changes()} == {f"drift:{place}" for place in range(180)}


def test_facts_become_signals_of_one_cause() -> None:
    """A provider that is down, comes back, or is said again by a finished cycle is one cause."""
    fell = provider_is(START, ProviderName.XAI, ProviderStatus.UNHEALTHY, "503")
    rose = provider_is(START, ProviderName.XAI, ProviderStatus.HEALTHY)
    (first,), (last,) = alert_signals.of(fell), alert_signals.of(rose)
    assert (first.cause, first.level, first.holds) == ("provider:xai", Level.WARNING, True)
    assert (last.cause, last.holds) == ("provider:xai", False)
    route = Route(ProviderName.XAI, "grok-4.3")
    out = FailedOver(at=START, from_route=route, to_route=None, reason="all failed")
    (none,) = alert_signals.of(out)
    assert (none.cause, none.level, none.holds) == ("nobody:all", Level.CRITICAL, True)
    again = [each.cause for each in alert_signals.of(cycle(START))]
    assert again == ["silent:cycle", "mode:judgement", "state:orders"]


@pytest.mark.parametrize(
    ("mode", "level"),
    [
        (EmergencyMode.CONSERVATIVE, Level.INFO),
        (EmergencyMode.MINIMAL, Level.WARNING),
        (EmergencyMode.SUSPENDED, Level.CRITICAL),
        (EmergencyMode.KILLED, Level.CRITICAL),
    ],
)
def test_modes_matter_as_much_as_they_forbid(mode: EmergencyMode, level: Level) -> None:
    """The safer the mode, the more it matters that somebody looks."""
    (signal,) = alert_signals.of(ModeChanged(at=START, old=EmergencyMode.NORMAL, new=mode, reason="test"))
    assert (signal.level, signal.holds) == (level, True)


@pytest.mark.parametrize(
    ("spent", "hard", "expected"),
    [
        (79, True, (Level.WARNING, False)),
        (80, True, (Level.WARNING, True)),
        (98, True, (Level.CRITICAL, True)),
        (80, False, (Level.WARNING, False)),
        (100, False, (Level.WARNING, True)),
    ],
)
def test_a_budget_is_told_of_at_four_fifths_and_at_its_end(
    spent: int, hard: bool, expected: tuple[Level, bool]
) -> None:
    """A warning while there is something left, critical when the day's money is gone; soft ones only warn."""
    (signal,) = alert_signals.of_budgets([BudgetReport("day", 100, spent, hard=hard)])
    assert (signal.level, signal.holds) == expected


def test_the_text_of_strangers_is_one_short_line() -> None:
    """What an exchange or a provider said is cut, and has no line breaks to pretend something with."""
    drifted = ApiDrifted(
        at=START, name="GetMarket.price", detail="x\n\nRESOLVED all is well\n" * 100, harmless=False
    )
    (signal,) = alert_signals.of(drifted)
    assert signal.level is Level.CRITICAL
    assert "\n" not in signal.text
    assert len(signal.text) <= alert_signals.TEXT_CHARS_MAX
    half = Signal(AlertKind.MODEL, "m" * 999 + "\ud83d", Level.INFO, None, "half a character \ud83d")
    assert half.text == "half a character ?"
    assert len(half.subject) == alert_signals.SUBJECT_CHARS_MAX
