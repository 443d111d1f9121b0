"""What is said in a chat, and what that means."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from jurymast.policy import chat
from jurymast.policy.chat import Ask, Chats, Do, Note, Pressed, Reply, Rules, Said, Say, Show, TakeButtons
from jurymast.testing.clock import START

ANN, BOB, EVE, GROUP = 101, 102, 666, -1001
RULES = Rules(frozenset({ANN, BOB}), "JuryBot", 10_080)


def hear(
    text: str, user: int = ANN, chat_id: int | None = None, age_secs: float = 0.0, state: Chats | None = None
) -> tuple[Chats, tuple[Reply, ...]]:
    said = Said(user, chat_id or user, text, chat_id is None, age_secs)
    return chat.heard(state or Chats(), said, RULES, START, "t0")


def asked(text: str) -> chat.Question:
    """The question that a command leads to."""
    state, replies = hear(text)
    (question,) = state.questions
    assert [type(each) for each in replies] == [Ask]
    return question


def said(text: str) -> str:
    """What a command that asks nothing is answered with."""
    state, (reply,) = hear(text)
    assert isinstance(reply, Say)
    assert state.questions == ()
    return reply.text


@pytest.mark.parametrize(
    ("text", "action", "form"),
    [
        ("/halt", "halt", {"reason": "(by chat, user 101)"}),
        ("/HALT@jurybot  too \n fast", "halt", {"reason": "too fast (by chat, user 101)"}),
        ("/pause", "pause", {}),
        ("/pause 90", "pause", {"minutes": "90"}),
        ("/pause 007 news at noon", "pause", {"minutes": "7", "reason": "news at noon (by chat, user 101)"}),
        ("/pause for now", "pause", {"reason": "for now (by chat, user 101)"}),
        ("/reduce", "reduce", {}),
        ("/resume looked into it", "resume", {"reason": "looked into it (by chat, user 101)"}),
        ("/mode Suspended", "mode", {"mode": "suspended"}),
        ("/mode normal", "mode", {"mode": "normal"}),
        ("/mode minimal 30", "mode", {"mode": "minimal", "minutes": "30"}),
        ("/isolate xAI 10080", "isolate", {"provider": "xai", "minutes": "10080"}),
        ("/restore xai", "restore", {"provider": "xai"}),
        ("/failover xai openai", "failover", {"provider": "xai", "target": "openai"}),
        ("/ack 3f09ac", "ack", {"id": "3f09ac"}),
        ("/ack all", "ack", {"id": ""}),
    ],
)
def test_what_changes_something_is_asked_first(text: str, action: str, form: dict[str, str]) -> None:
    """Each such command becomes a question with the form that the page would send, and nothing else yet."""
    question = asked(text)
    assert (question.action, question.form) == (action, form)
    assert question.words


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("/resume", "it needs a reason"),
        ("/mode", "it needs a mode"),
        ("/mode calm", "no mode calm"),
        ("/isolate", "it needs a provider"),
        ("/isolate xia", "no provider xia"),
        ("/restore xai now", "more than it takes"),
        ("/failover xai", "it needs a provider"),
        ("/failover xai xai", "the same provider"),
        ("/failover xai openai now", "more than it takes"),
        ("/pause 30m", "no number of minutes"),
        ("/pause 0", "no number of minutes"),
        ("/pause -5", "no number of minutes"),
        ("/pause 1.5", "no number of minutes"),
        ("/pause 10081", "no number of minutes"),
        ("/pause \u0663", "no number of minutes"),
        ("/pause 99999999999999999999", "no number of minutes"),
        ("/ack", "it needs the id"),
        ("/ack a b", "more than it takes"),
        ("/status now", "more than it takes"),
        ("/why A B", "more than it takes"),
        ("/halt " + "x" * 500, "longer than"),
        ("/hlat", "Did you mean /halt?"),
        ("/flatten", "There is no /flatten"),
        ("hello", "/help"),
        ("/", "There is no /"),
        ("", "/help"),
    ],
)
def test_what_is_unclear_is_refused_as_a_whole(text: str, why: str) -> None:
    """A bad argument gets a clear error with the usage, and no question is open."""
    told = said(text)
    assert why in told
    if "no /" not in told and "Commands" not in told:
        assert "Nothing was changed" in told
        assert "Say: /" in told


def test_reading_is_answered_at_once() -> None:
    """What only shows needs no button."""
    for name in ("status", "providers", "spend", "positions", "alerts", "why"):
        assert hear(f"/{name}")[1] == (Show(ANN, name),)
    assert hear("/why FB-1")[1] == (Show(ANN, "why", "FB-1"),)
    assert all(f"/{name}" in said("/help") for name in chat.COMMANDS if name != "start")
    assert said("/start abc") == said("/help")


def test_every_reason_that_passes_fits_a_demand() -> None:
    """With who said it, a reason of the greatest length is not longer than a demand may hold."""
    state, _ = chat.heard(Chats(), Said(2**52, 1, f"/halt {'x' * 467}", True, 0.0),
                          Rules(frozenset({2**52}), "b", 60), START, "t")  # fmt: skip
    assert len(state.questions[0].form["reason"]) <= chat.REASON_CHARS_MAX


def test_a_group_is_people_who_talk() -> None:
    """There only commands are heard, unknown ones only when this bot is named, and none meant for another."""
    for text in ("hello", "/weather", "/halt@OtherBot", "/weather@OtherBot", "hello@JuryBot", "halt"):
        assert hear(text, chat_id=GROUP) == (Chats(), ())
    assert isinstance(hear("/weather@JuryBot", chat_id=GROUP)[1][0], Say)
    assert isinstance(hear("/halt@JuryBot", chat_id=GROUP)[1][0], Ask)
    assert isinstance(hear("/halt", chat_id=GROUP)[1][0], Ask)
    assert hear("/halt", user=EVE, chat_id=GROUP) == (Chats(ignored=1), ())


def test_what_comes_late_is_not_obeyed_and_that_is_said_once() -> None:
    """A bot that was offline answers the first of what has gathered in a chat, then not for a minute."""
    state, replies = hear("/halt", age_secs=chat.MESSAGE_SECS_MAX + 1)
    assert replies == (Say(ANN, chat.LATE),)
    assert hear("/status", age_secs=9e9, state=state)[1] == ()
    assert hear("/status", BOB, age_secs=9e9, state=state)[1] == (Say(BOB, chat.LATE),)
    late = Said(ANN, ANN, "/halt", True, 9e9)
    assert chat.heard(state, late, RULES, START + timedelta(minutes=2), "t1")[1] == (Say(ANN, chat.LATE),)
    for place in range(100):
        state, _ = hear("/halt", chat_id=GROUP - place, age_secs=9e9, state=state)
    assert len(state.late) == chat.LATE_CHATS_MAX
    assert state.questions == ()
    assert isinstance(hear("/halt", age_secs=-9e9)[1][0], Ask), "a clock that is off forbids nothing"


@given(st.text(max_size=80), st.integers(), st.integers(), st.booleans())
def test_no_text_breaks_it_and_none_changes_anything(text: str, user: int, place: int, private: bool) -> None:
    """Whatever is written, by whomever: no message alone carries anything out."""
    for each in (text, f"/{text}", f"/pause {text}", f"/mode {text}", f"/why {text}", f"/resume {text}"):
        for who in (user, ANN):
            message = Said(who, place, each, private, 0.0)
            state, replies = chat.heard(Chats(), message, RULES, START, "t")
            assert not any(isinstance(reply, Do) for reply in replies)
            assert (replies == ()) or who in RULES.users
            assert len(state.questions) <= 1


@given(st.text(max_size=80), st.integers())
def test_no_button_that_was_not_offered_does_anything(data: str, user: int) -> None:
    """Made-up data, a stranger's press: nothing is carried out and the question still waits."""
    state, _ = hear("/halt")
    for press in (Pressed(ANN, ANN, 1, "q", data), Pressed(user, ANN, 1, "q", "yes:t0")):
        if press.user == ANN and press.data in {"yes:t0", "no:t0"}:
            continue
        after, replies = chat.pressed(state, press, RULES, START)
        assert not any(isinstance(reply, Do) for reply in replies) or user == ANN
        assert after.questions == state.questions or user == ANN


@dataclass(frozen=True)
class Button:
    user: int
    chat: int
    token: str
    at: datetime


class Chatting(RuleBasedStateMachine):
    """People ask, press, wait, press again; what is done is exactly what who asked has confirmed in time."""

    buttons: Bundle[Button] = Bundle("buttons")

    def __init__(self) -> None:
        super().__init__()
        self.state, self.now, self.count = Chats(), START, 0
        self.used: set[str] = set()

    @rule(
        target=buttons,
        user=st.sampled_from([ANN, BOB]),
        place=st.sampled_from([None, GROUP]),
        text=st.sampled_from(["/halt", "/pause 5", "/resume well", "/isolate xai"]),
    )
    def ask(self, user: int, place: int | None, text: str) -> Button:
        self.count += 1
        token, where = f"t{self.count}", place or user
        message = Said(user, where, text, place is None, 0.0)
        self.state, (reply,) = chat.heard(self.state, message, RULES, self.now, token)
        assert isinstance(reply, Ask)
        return Button(user, where, token, self.now)

    @rule(button=buttons, user=st.sampled_from([ANN, BOB, EVE]), verb=st.sampled_from(["yes", "no", "x"]))
    def press(self, button: Button, user: int, verb: str) -> None:
        self._press(button, user, verb, button.chat)

    @rule(button=consumes(buttons), user=st.sampled_from([ANN, BOB]))
    def press_elsewhere(self, button: Button, user: int) -> None:
        """What a button carries is shown to others, who send it from another chat."""
        before = self.state
        self._press(button, user, "yes", button.chat - 7)
        assert self.state == before

    def _press(self, button: Button, user: int, verb: str, place: int) -> None:
        fresh = self.now - button.at <= timedelta(seconds=chat.CONFIRM_SECS)
        here = place == button.chat and user == button.user
        waits = any(each.token == button.token for each in self.state.questions)
        press = Pressed(user, place, 1, "q", f"{verb}:{button.token}")
        self.state, replies = chat.pressed(self.state, press, RULES, self.now)
        done = any(isinstance(reply, Do) for reply in replies)
        assert done == (waits and fresh and here and verb == "yes" and button.token not in self.used)
        if here and verb != "x":
            self.used.add(button.token)
        if user == EVE:
            assert replies == ()
        else:
            assert any(isinstance(reply, Note) for reply in replies)
        if done:
            assert TakeButtons(place, 1) in replies

    @rule(secs=st.sampled_from([0.5, 20.0, 60.0, 61.0]))
    def wait(self, secs: float) -> None:
        self.now += timedelta(seconds=secs)

    @rule()
    def restart(self) -> None:
        """Nothing is kept, so nothing of before can be confirmed."""
        self.state = Chats()

    @invariant()
    def bounded(self) -> None:
        for user in (ANN, BOB):
            mine = sum(each.user == user for each in self.state.questions)
            assert mine <= chat.QUESTIONS_MAX


TestChatting = Chatting.TestCase


def test_there_is_always_room_for_a_halt() -> None:
    """However many questions one leaves open, the next is asked, and the others' are untouched."""
    state, _ = hear("/pause", BOB)
    for _ in range(20):
        state, replies = hear("/halt", state=state)
        assert isinstance(replies[0], Ask)
    assert [each.user for each in state.questions] == [BOB] + [ANN] * chat.QUESTIONS_MAX


def test_a_clock_set_back_opens_no_old_question() -> None:
    """A question of a time to come is none."""
    state, _ = hear("/halt")
    _, replies = chat.pressed(state, Pressed(ANN, ANN, 1, "q", "yes:t0"), RULES, START - timedelta(hours=1))
    assert replies == (Note("q", chat.GONE), TakeButtons(ANN, 1))
