"""What is said in a chat, and what that means. Pure: who talks to the chat is :mod:`faces.telegram`.

Rules
  - Who is not on the list is not answered, only counted.
  - Reading is answered. What changes something is said back in words with two buttons, and done when who
    asked presses the right one: in the same chat, within ``CONFIRM_SECS``, once.
  - A button carries a token that nobody can guess, because all members of a group can see what it carries.
  - What is older than ``MESSAGE_SECS_MAX`` when it comes was meant for another moment: it is not obeyed,
    and that is said.
  - What is unclear is refused as a whole, with how it is said right.
  - Questions that wait are in memory alone. A restart forgets them, so nothing can be done twice.
  - There is always room for one more question: of too many of one user the oldest is forgotten.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from jurymast.domain.provider import ProviderName
from jurymast.domain.status import EmergencyMode
from jurymast.policy.demands import REASON_CHARS_MAX

CONFIRM_SECS: Final = 60.0
MESSAGE_SECS_MAX: Final = 120.0
QUESTIONS_MAX: Final = 4
"""Of one user, waiting for a button."""
LATE_AGAIN_SECS: Final = 60.0
LATE_CHATS_MAX: Final = 32
"""Chats that are told at once that something came too late; further ones are not."""
YES: Final = "yes"
NO: Final = "no"
GONE: Final = "This button is no longer valid. Nothing was changed."
HINT: Final = "Commands begin with /. What there is: /help"
LATE: Final = (
    f"What was sent more than {MESSAGE_SECS_MAX:g} s before it came here is not obeyed: nothing was changed. "
    "Send it again if it is still meant."
)


@dataclass(frozen=True, slots=True)
class Rules:
    """``name`` is the bot's own, for ``/halt@name``; ``minutes_max`` the longest demand with an end."""

    users: frozenset[int]
    name: str
    minutes_max: int


@dataclass(frozen=True, slots=True)
class Said:
    """A message. ``private`` is a chat of two; ``age_secs`` how long ago it was sent."""

    user: int
    chat: int
    text: str
    private: bool
    age_secs: float


@dataclass(frozen=True, slots=True)
class Pressed:
    """A button of a message of ours. ``query`` is what the answer refers to."""

    user: int
    chat: int
    message: int
    query: str
    data: str


@dataclass(frozen=True, slots=True)
class Question:
    """What waits for a button."""

    token: str
    user: int
    chat: int
    asked_at: datetime
    action: str
    form: Mapping[str, str]
    words: str


@dataclass(frozen=True, slots=True)
class Chats:
    """``ignored`` counts what strangers sent; ``late`` is when a chat was last told that it is late."""

    questions: tuple[Question, ...] = ()
    ignored: int = 0
    late: Mapping[int, datetime] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Say:
    """Say a text."""

    chat: int
    text: str


@dataclass(frozen=True, slots=True)
class Ask:
    """Say a text, with buttons that carry ``yes:token`` and ``no:token``."""

    chat: int
    text: str
    token: str


@dataclass(frozen=True, slots=True)
class Show:
    """Say how something stands; it is read first."""

    chat: int
    what: str
    of: str = ""


@dataclass(frozen=True, slots=True)
class Do:
    """Carry something out, and say what became of it."""

    chat: int
    action: str
    form: Mapping[str, str]
    words: str


@dataclass(frozen=True, slots=True)
class Note:
    """Answer a press."""

    query: str
    text: str


@dataclass(frozen=True, slots=True)
class TakeButtons:
    """Take the buttons of a message away."""

    chat: int
    message: int


Reply: TypeAlias = Say | Ask | Show | Do | Note | TakeButtons
Step: TypeAlias = tuple[Chats, tuple[Reply, ...]]


class Unclear(Exception):
    """A command is not complete, or says something that there is not."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A change, as a form for :mod:`faces.controls`, and in words."""

    form: Mapping[str, str]
    words: str


Reading: TypeAlias = Callable[[list[str], Rules], Wanted]


@dataclass(frozen=True, slots=True)
class Command:
    """``changes`` reads the words of a command that changes something; None is one that shows."""

    usage: str
    doc: str
    changes: Reading | None = None


def heard(state: Chats, said: Said, rules: Rules, now: datetime, token: str) -> Step:
    """A message came. ``token`` is fresh and unguessable, for the buttons if there will be any."""
    if said.user not in rules.users:
        return replace(state, ignored=state.ignored + 1), ()
    first, *words = said.text.split() or [""]
    name, at, address = first.removeprefix("/").casefold().partition("@")
    if at and address != rules.name.casefold():
        return state, ()  # for another bot of the group
    command = COMMANDS.get(name) if first.startswith("/") else None
    if command is None and not (said.private or (at and first.startswith("/"))):
        return state, ()  # people talk, or mean another bot
    if said.age_secs > MESSAGE_SECS_MAX:
        return _late(state, said.chat, now)
    if command is None:
        return state, (Say(said.chat, _unknown(name) if first.startswith("/") else HINT),)
    try:
        if command.changes is None:
            return state, (_shown(said.chat, name, words),)
        wanted = command.changes(words, rules)
    except Unclear as unclear:
        usage = f"/{name} {command.usage}".rstrip()
        return state, (Say(said.chat, f"{unclear}. Nothing was changed.\nSay: {usage}"),)
    form = dict(wanted.form)
    if form.get("reason") or name == "halt":
        form["reason"] = f"{form.get('reason', '')} {_by(said.user)}".strip()
    question = Question(token, said.user, said.chat, now, name, form, wanted.words)
    mine = [each for each in state.questions if each.user == said.user and _valid(each, now)]
    others = [each for each in state.questions if each.user != said.user and _valid(each, now)]
    kept = (*others, *mine[-QUESTIONS_MAX + 1 :], question)
    asked = Ask(said.chat, f"{wanted.words}\nConfirm within {CONFIRM_SECS:g} s?", token)
    return replace(state, questions=kept), (asked,)


def pressed(state: Chats, press: Pressed, rules: Rules, now: datetime) -> Step:
    """A button was pressed."""
    if press.user not in rules.users:
        return replace(state, ignored=state.ignored + 1), ()
    verb, _, token = press.data.partition(":")
    gone = TakeButtons(press.chat, press.message)
    question = next((q for q in state.questions if q.token == token and q.chat == press.chat), None)
    if question is None or verb not in {YES, NO}:
        return state, (Note(press.query, GONE), gone)
    if question.user != press.user:
        return state, (Note(press.query, "Only who asked can confirm or cancel it."),)
    rest = replace(state, questions=tuple(q for q in state.questions if q is not question))
    if not _valid(question, now):
        return rest, (Note(press.query, GONE), gone)
    if verb == NO:
        return rest, (Note(press.query, "Cancelled. Nothing was changed."), gone)
    done = Do(press.chat, question.action, question.form, question.words)
    return rest, (Note(press.query, "Confirmed."), gone, done)


def _valid(question: Question, now: datetime) -> bool:
    return timedelta() <= now - question.asked_at <= timedelta(seconds=CONFIRM_SECS)


def _late(state: Chats, chat: int, now: datetime) -> Step:
    recent = {c: at for c, at in state.late.items() if (now - at).total_seconds() < LATE_AGAIN_SECS}
    if chat in recent or len(recent) >= LATE_CHATS_MAX:
        return replace(state, late=recent), ()
    return replace(state, late={**recent, chat: now}), (Say(chat, LATE),)


def _shown(chat: int, name: str, words: list[str]) -> Reply:
    if name in {"help", "start"}:
        return Say(chat, help_text())
    _enough(words, 1 if name == "why" else 0)
    return Show(chat, name, *words)


def _unknown(name: str) -> str:
    close = difflib.get_close_matches(name, COMMANDS, n=1)
    meant = f" Did you mean /{close[0]}?" if close else ""
    return f"There is no /{name:.32}.{meant} What there is: /help"


def _by(user: int) -> str:
    return f"(by chat, user {user})"


def _halt(words: list[str], _: Rules) -> Wanted:
    return _demand("HALT: nothing is sent, all that rests is cancelled, positions are held", words)


def _pause(words: list[str], rules: Rules) -> Wanted:
    return _ending("PAUSE: no entries, our resting orders are cancelled, exits go on", words, rules)


def _reduce(words: list[str], rules: Rules) -> Wanted:
    what = "REDUCE: no entries, positions are sold by and by, a quarter of each at a cycle"
    return _ending(what, words, rules)


def _resume(words: list[str], _: Rules) -> Wanted:
    if not words:
        raise Unclear("it needs a reason")
    what = "RESUME: takes back halt, pause, reduce, flatten and modes, KILLED too; orders are allowed again"
    return _demand(what, words)


def _mode(words: list[str], rules: Rules) -> Wanted:
    mode = EmergencyMode(_choice(words, "mode", [each.value for each in EmergencyMode]))
    none = "MODE by hand is taken back: the evidence alone counts"
    what = f"MODE {mode.upper()} or safer" if mode.severity else none
    return _ending(what, words[1:], rules, mode=mode.value)


def _isolate(words: list[str], rules: Rules) -> Wanted:
    name = _provider(words)
    return _ending(f"ISOLATE {name}: it is asked no more", words[1:], rules, provider=name)


def _restore(words: list[str], _: Rules) -> Wanted:
    name = _provider(words)
    _enough(words, 1)
    return Wanted({"provider": name}, f"RESTORE {name}: it is asked again when it proves well.")


def _failover(words: list[str], _: Rules) -> Wanted:
    source, target = _provider(words), _provider(words[1:])
    _enough(words, 2)
    if source == target:
        raise Unclear("from and to are the same provider")
    form = {"provider": source, "target": target}
    return Wanted(form, f"FAILOVER: {target} is asked before {source}.")


def _acknowledge(words: list[str], _: Rules) -> Wanted:
    if not words:
        raise Unclear("it needs the id of an alert, or all")
    _enough(words, 1)
    (wanted,) = words
    form = {"id": "" if wanted == "all" else wanted}
    return Wanted(form, f"ACKNOWLEDGE {wanted:.64}: no reminders, nobody else is called.")


def _demand(what: str, words: Sequence[str], **form: str) -> Wanted:
    """A demand with a reason, if there is one."""
    reason = " ".join(words)
    room = REASON_CHARS_MAX - len(_by(2**53)) - 1
    if len(reason) > room:
        raise Unclear(f"the reason is longer than {room} characters")
    told = f"Reason: {reason}" if reason else "No reason is given."
    return Wanted({**form, "reason": reason} if reason else form, f"{what}.\n{told}")


def _ending(what: str, words: list[str], rules: Rules, **form: str) -> Wanted:
    """A demand with an end, if the first word is a number; what only looks like one is refused."""
    if not words or not re.match(r"[+-]?\d", words[0]):
        return _demand(f"{what}; until it is taken back", words, **form)
    first, *reason = words
    if not re.fullmatch(r"[0-9]{1,9}", first) or not 1 <= int(first) <= rules.minutes_max:
        raise Unclear(f"{first:.16} is no number of minutes from 1 to {rules.minutes_max}")
    minutes = str(int(first))
    return _demand(f"{what}; for {minutes} minutes", reason, **form, minutes=minutes)


def _provider(words: list[str]) -> str:
    return _choice(words, "provider", [each.value for each in ProviderName])


def _choice(words: list[str], what: str, known: list[str]) -> str:
    given = words[0].casefold() if words else ""
    if given not in known:
        said = f"there is no {what} {given:.32}" if given else f"it needs a {what}"
        raise Unclear(f"{said}; known: {', '.join(known)}")
    return given


def _enough(words: Sequence[str], count: int) -> None:
    if len(words) > count:
        raise Unclear(f"there is more than it takes, from {words[count]:.32} on")


COMMANDS: Final[Mapping[str, Command]] = {
    "status": Command("", "mode, trading, money, what is demanded by hand"),
    "providers": Command("", "who is well"),
    "spend": Command("", "AI money today, and what is left"),
    "positions": Command("", "what is held"),
    "alerts": Command("", "open troubles"),
    "why": Command("[TICKER]", "why a market was traded or not, or the last one"),
    "ack": Command("ID | all", "take an alert on", _acknowledge),
    "halt": Command("[REASON]", "send nothing, cancel everything that rests", _halt),
    "pause": Command("[MINUTES] [REASON]", "no entries", _pause),
    "reduce": Command("[MINUTES] [REASON]", "no entries, positions are worked down", _reduce),
    "resume": Command("REASON", "take all that back", _resume),
    "mode": Command("NAME [MINUTES] [REASON]", "this mode or a safer one", _mode),
    "isolate": Command("PROVIDER [MINUTES] [REASON]", "do not ask it", _isolate),
    "restore": Command("PROVIDER", "ask it again", _restore),
    "failover": Command("FROM TO", "ask TO before FROM", _failover),
    "help": Command("", "this"),
    "start": Command("", "the same"),
}
"""The command line's own, as far as they fit a phone. What is riskier than the evidence is not among them."""


def help_text() -> str:
    """Every command, a line each."""
    rows = [f"/{name} {each.usage}".rstrip() + f": {each.doc}" for name, each in COMMANDS.items()]
    return "\n".join([*rows[:-1], "What changes something is done after a second question."])
