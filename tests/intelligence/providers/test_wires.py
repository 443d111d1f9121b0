"""The two wire formats without a network: what counts as an answer, and what it is taken to cost."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jurymast.domain.provider import AIRequest, Billing, Failure, FailureKind, Message, Usage
from jurymast.intelligence.providers.chat_wire import ChatWire, Dialect, _plain, _read
from jurymast.intelligence.providers.messages_wire import MessagesWire
from jurymast.intelligence.providers.wire import Completion, Wire

from .samples import (
    ASK,
    CHAT,
    CHAT_FINISH,
    CHAT_LATE_USAGE,
    CHAT_OPENING,
    CHAT_TEXT,
    CHAT_USAGE,
    DONE,
    MESSAGES,
    MESSAGES_DELTA,
    MESSAGES_START,
    MESSAGES_STOP,
    MESSAGES_TEXT,
    MESSAGES_THINKING,
    PING,
    SAMPLES,
    TEXT,
    Sample,
    chat_chunk,
    chat_reply,
    messages_reply,
)
from .server import sse

OPENAI = ChatWire(Dialect.OPENAI)
ANTHROPIC = MessagesWire()
USAGE = Usage(input=100, output=40, cached_input=60, reasoning=25, cache_written=10)


def wire_of(sample: Sample) -> Wire:
    return OPENAI if sample is CHAT else ANTHROPIC


def decode(wire: Wire, body: object) -> Completion | Failure:
    return wire.decode(body if isinstance(body, bytes) else json.dumps(body).encode())


def follow(wire: Wire, raw: bytes) -> Completion | Failure:
    decoder = wire.stream()
    for line in raw.split(b"\n"):
        decoder.feed(line)
    return decoder.result()


def kind_of(outcome: Completion | Failure) -> FailureKind:
    assert isinstance(outcome, Failure)
    return outcome.kind


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_whole_and_streamed_answer_are_the_same(sample: Sample) -> None:
    """An answer has the same text, model, usage and finish whether it came whole or in pieces."""
    whole = decode(wire_of(sample), sample.whole)
    finish = "stop" if sample is CHAT else "end_turn"
    assert whole == Completion(TEXT, "served-model", USAGE, finish)
    assert follow(wire_of(sample), sample.streamed) == whole


def request_body(wire: Wire, request: AIRequest = ASK, *, stream: bool = False) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(wire.encode(request, "m", stream=stream))
    return body


@pytest.mark.parametrize(
    ("dialect", "limit"),
    [
        (Dialect.XAI, "max_completion_tokens"),
        (Dialect.OPENAI, "max_completion_tokens"),
        (Dialect.LOCAL, "max_tokens"),
    ],
)
def test_dialects_name_the_limit_differently(dialect: Dialect, limit: str) -> None:
    """Local servers know the old name of the output limit, the vendors the new one."""
    body = request_body(ChatWire(dialect))
    assert body[limit] == ASK.max_output_tokens
    assert len({"max_tokens", "max_completion_tokens"} & set(body)) == 1
    assert body.get("store") is (False if dialect is Dialect.OPENAI else None)


@pytest.mark.parametrize("wire", [OPENAI, ANTHROPIC], ids=["chat", "messages"])
def test_no_sampling_parameter_is_sent(wire: Wire) -> None:
    """Current models refuse a temperature, so none is ever sent."""
    assert not {"temperature", "top_p", "top_k"} & set(request_body(wire, stream=True))


def test_system_prompt_is_lifted_out_for_anthropic() -> None:
    """Anthropic has no system turn: system messages become one field, the others stay in order."""
    turns = (Message("system", "a"), Message("user", "b"), Message("system", "c"), Message("assistant", "d"))
    body = request_body(ANTHROPIC, AIRequest(turns))
    assert body["system"] == "a\n\nc"
    assert [turn["content"] for turn in body["messages"]] == ["b", "d"]
    assert "output_config" not in body


CHAT_ROWS: list[tuple[dict[str, Any], FailureKind]] = [
    (chat_reply(finish="length"), FailureKind.TRUNCATED),
    (chat_reply("", finish="length"), FailureKind.TRUNCATED),
    (chat_reply(finish="content_filter"), FailureKind.CONTENT_FILTER),
    (
        chat_reply(None, choices=[{"message": {"refusal": "No."}, "finish_reason": "stop"}]),
        FailureKind.CONTENT_FILTER,
    ),
    (chat_reply(""), FailureKind.EMPTY),
    (chat_reply(" \n"), FailureKind.EMPTY),
    (chat_reply(None), FailureKind.EMPTY),
    (chat_reply(["not", "text"]), FailureKind.EMPTY),
    (chat_reply(choices=[]), FailureKind.EMPTY),
    (chat_reply(choices=None), FailureKind.EMPTY),
    (chat_reply(choices={}), FailureKind.EMPTY),
    (chat_reply(finish=None), FailureKind.MALFORMED),
    (chat_reply(finish="tool_calls"), FailureKind.MALFORMED),
    (chat_reply(finish=["stop"]), FailureKind.MALFORMED),
    ({"error": {"message": "broke", "type": "server_error"}}, FailureKind.SERVER_ERROR),
    ({"object": "error", "message": "broke", "code": 400}, FailureKind.BAD_REQUEST),
]
MESSAGES_ROWS: list[tuple[dict[str, Any], FailureKind]] = [
    (messages_reply(stop="max_tokens"), FailureKind.TRUNCATED),
    (messages_reply(stop="pause_turn"), FailureKind.TRUNCATED),
    (messages_reply(stop="model_context_window_exceeded"), FailureKind.CONTEXT_LENGTH),
    (messages_reply(stop="refusal"), FailureKind.CONTENT_FILTER),
    (messages_reply([]), FailureKind.EMPTY),
    (messages_reply("text"), FailureKind.EMPTY),
    (messages_reply([{"type": "thinking", "thinking": "hm"}]), FailureKind.EMPTY),
    (messages_reply([{"type": "text", "text": ""}]), FailureKind.EMPTY),
    (messages_reply(stop=None), FailureKind.MALFORMED),
    (messages_reply(stop="tool_use"), FailureKind.MALFORMED),
    (
        {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
        FailureKind.OVERLOADED,
    ),
]


@pytest.mark.parametrize(
    ("wire", "body", "kind"),
    [(OPENAI, *row) for row in CHAT_ROWS] + [(ANTHROPIC, *row) for row in MESSAGES_ROWS],
)
def test_reply_that_is_no_answer_is_a_failure(wire: Wire, body: dict[str, Any], kind: FailureKind) -> None:
    """A 200 without a good finish and text is a failure of its kind, billed when its usage says so."""
    outcome = decode(wire, body)
    assert isinstance(outcome, Failure)
    assert outcome.kind is kind
    assert outcome.usage == (USAGE if "usage" in body else None)
    assert outcome.billing is (Billing.BILLED if "usage" in body else Billing.UNKNOWN)


@pytest.mark.parametrize("wire", [OPENAI, ANTHROPIC], ids=["chat", "messages"])
@pytest.mark.parametrize("body", [b"", b'{"choices": [', b"[]", b"null", b"\xff", b"[" * 50_000])
def test_unreadable_body_is_malformed(wire: Wire, body: bytes) -> None:
    """Bytes that are no JSON object are MALFORMED, and may have been billed."""
    outcome = decode(wire, body)
    assert kind_of(outcome) is FailureKind.MALFORMED
    assert isinstance(outcome, Failure)
    assert outcome.billing is Billing.UNKNOWN


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_stream_cut_anywhere_before_its_end_is_no_answer(sample: Sample) -> None:
    """However late a stream ends too early, what came is never passed off as the answer."""
    lines = sample.streamed.split(b"\n")
    terminal = b'"finish_reason": "stop"' if sample is CHAT else b'"type": "message_stop"'
    end = next(number for number, line in enumerate(lines) if terminal in line)
    for kept in range(end):
        outcome = follow(wire_of(sample), b"\n".join(lines[:kept]))
        assert kind_of(outcome) is FailureKind.CUT
        assert isinstance(outcome, Failure)
        assert outcome.billing is Billing.UNKNOWN
    assert isinstance(follow(wire_of(sample), b"\n".join(lines[: end + 1])), Completion)


def test_stream_without_done_is_complete() -> None:
    """A chat stream that has its finish reason is complete even when the closing marker is missing."""
    outcome = follow(OPENAI, sse([CHAT_OPENING, *CHAT_TEXT, CHAT_FINISH, CHAT_LATE_USAGE]))
    assert outcome == Completion(TEXT, "served-model", USAGE, "stop")


def test_done_without_finish_reason_is_cut() -> None:
    """The closing marker alone does not make a stream complete."""
    assert kind_of(follow(OPENAI, sse([CHAT_OPENING, *CHAT_TEXT, DONE]))) is FailureKind.CUT


def test_stream_closed_without_a_choice_is_empty() -> None:
    """A stream that is closed in order but never said anything is an empty answer, and billed."""
    outcome = follow(OPENAI, sse([CHAT_LATE_USAGE, DONE]))
    assert kind_of(outcome) is FailureKind.EMPTY
    assert isinstance(outcome, Failure)
    assert outcome.billing is Billing.BILLED


def test_usage_in_the_finishing_chunk_counts() -> None:
    """Usage is found in a chunk of its own and in the one that finishes."""
    outcome = follow(OPENAI, sse([*CHAT_TEXT, chat_chunk({}, "stop", usage=CHAT_USAGE), DONE]))
    assert outcome == Completion(TEXT, "served-model", USAGE, "stop")


def test_usage_after_the_finish_ends_the_stream() -> None:
    """Once the answer and its usage are there nothing more is waited for, with or without the marker."""
    decoder = OPENAI.stream()
    seen = []
    for event in (CHAT_TEXT[0], CHAT_FINISH, CHAT_LATE_USAGE):
        decoder.feed(b"data: " + json.dumps(event).encode())
        seen.append((decoder.started, decoder.answered, decoder.closed))
    assert seen == [(True, False, False), (True, True, False), (True, True, True)]


def test_last_of_running_usages_counts() -> None:
    """A server that states usage with every chunk is believed on the last one."""
    running = chat_chunk({"content": TEXT}, usage={**CHAT_USAGE, "completion_tokens": 1, "total_tokens": 101})
    outcome = follow(OPENAI, sse([running, CHAT_FINISH, CHAT_LATE_USAGE, DONE]))
    assert outcome == Completion(TEXT, "served-model", USAGE, "stop")


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_error_event_in_a_stream_is_its_kind(sample: Sample) -> None:
    """An error after half an answer is the failure it names, with unknown cost, and ends the stream."""
    outcome = follow(wire_of(sample), sample.half + sample.error_event + sample.streamed)
    assert kind_of(outcome) is FailureKind.OVERLOADED
    assert isinstance(outcome, Failure)
    assert outcome.billing is Billing.UNKNOWN


def test_error_after_the_finish_takes_nothing_back() -> None:
    """A chat answer that is complete stays one when its server breaks while adding up the usage."""
    outcome = follow(OPENAI, sse([*CHAT_TEXT, CHAT_FINISH]) + CHAT.error_event)
    assert outcome == Completion(TEXT, "served-model", None, "stop")


def test_error_line_of_llama_cpp_is_understood() -> None:
    """llama.cpp's own way of saying error in a stream is no silence."""
    raw = b'error: {"code":503,"message":"Loading model","type":"unavailable_error"}\n'
    assert kind_of(follow(OPENAI, raw)) is FailureKind.OVERLOADED


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_broken_event_is_malformed(sample: Sample) -> None:
    """An event that is no JSON makes the stream MALFORMED."""
    assert kind_of(follow(wire_of(sample), sample.half + b'data: {"half\n')) is FailureKind.MALFORMED


@pytest.mark.parametrize(
    ("events", "kind"),
    [
        ([*CHAT_TEXT, chat_chunk({}, "length")], FailureKind.TRUNCATED),
        ([CHAT_OPENING, CHAT_FINISH], FailureKind.EMPTY),
        ([chat_chunk({"refusal": "I can't"}), CHAT_FINISH], FailureKind.CONTENT_FILTER),
        ([*CHAT_TEXT, chat_chunk({}, "content_filter")], FailureKind.CONTENT_FILTER),
    ],
)
def test_streamed_finish_is_judged_like_a_whole_one(events: list[object], kind: FailureKind) -> None:
    """The finish reason of a stream decides as that of a whole reply does."""
    assert kind_of(follow(OPENAI, sse(events))) is kind


@pytest.mark.parametrize(
    ("stop", "kind"),
    [("max_tokens", FailureKind.TRUNCATED), ("refusal", FailureKind.CONTENT_FILTER)],
)
def test_streamed_stop_reason_is_judged_like_a_whole_one(stop: str, kind: FailureKind) -> None:
    """The stop reason of a streamed message decides, and its usage is billed."""
    delta = {**MESSAGES_DELTA, "delta": {"stop_reason": stop}}
    outcome = follow(ANTHROPIC, sse([MESSAGES_START, *MESSAGES_TEXT, delta, MESSAGES_STOP]))
    assert kind_of(outcome) is kind
    assert isinstance(outcome, Failure)
    assert outcome.usage == USAGE


def test_pings_and_comments_are_no_tokens() -> None:
    """Keep-alives prove the socket, not progress; thinking is progress."""
    decoder = ANTHROPIC.stream()
    for line in (b": comment", b"event: ping", b"", *sse([PING, MESSAGES_START]).split(b"\n")):
        decoder.feed(line)
    assert not decoder.started
    decoder.feed(sse([MESSAGES_THINKING]).split(b"\n")[0])
    assert decoder.started
    chat = OPENAI.stream()
    chat.feed(b"data: " + json.dumps(CHAT_OPENING).encode())
    assert not chat.started
    chat.feed(b"data: " + json.dumps(chat_chunk({"reasoning_content": "hm"})).encode())
    assert chat.started
    assert not chat.answered


def test_reasoning_that_xai_leaves_out_is_counted() -> None:
    """xAI's completion tokens exclude reasoning, its total does not: output is total less prompt."""
    usage = {
        "prompt_tokens": 10_120,
        "completion_tokens": 1_499,
        "total_tokens": 14_428,
        "completion_tokens_details": {"reasoning_tokens": 2_809},
    }
    outcome = decode(ChatWire(Dialect.XAI), chat_reply(usage=usage))
    assert isinstance(outcome, Completion)
    assert outcome.usage == Usage(input=10_120, output=4_308, reasoning=2_809)


def test_bill_of_xai_is_read_in_ticks_and_rounded_up() -> None:
    """A reply that states its cost is believed: ten thousand ticks are a micro-dollar."""
    usage = {**CHAT_USAGE, "cost_in_usd_ticks": 37_756_001}
    outcome = decode(ChatWire(Dialect.XAI), chat_reply(usage=usage))
    assert isinstance(outcome, Completion)
    assert outcome.billed == 3_776


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        [],
        {"prompt_tokens": 1},
        {**CHAT_USAGE, "prompt_tokens": -1},
        {**CHAT_USAGE, "prompt_tokens": "9"},
    ],
    ids=str,
)
def test_unusable_usage_is_no_usage(usage: object) -> None:
    """Usage with missing or absurd numbers is unknown, never zero tokens."""
    outcome = decode(OPENAI, chat_reply(usage=usage))
    assert isinstance(outcome, Completion)
    assert outcome.usage is None


def test_unknown_extras_are_ignored() -> None:
    """Fields a vendor adds tomorrow change nothing."""
    assert isinstance(decode(OPENAI, chat_reply(new={"deep": [1]}, choices2=[])), Completion)
    assert isinstance(decode(ANTHROPIC, messages_reply(container=None, context_management={})), Completion)
    assert isinstance(follow(ANTHROPIC, sse([{"type": "brand_new", "x": 1}]) + MESSAGES.streamed), Completion)


_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=5,
)


@given(st.data())
def test_no_shape_of_reply_crashes_a_wire(data: st.DataObject) -> None:
    """Any field of a reply may be anything: the outcome is an answer or a failure, never an exception."""
    for sample in SAMPLES:
        body = dict(sample.whole)
        for field in data.draw(st.lists(st.sampled_from(sorted(body)), max_size=3)):
            body[field] = data.draw(_values)
        assert isinstance(decode(wire_of(sample), body), Completion | Failure)


@given(st.data())
def test_the_short_way_of_reading_a_reply_and_the_long_one_agree(data: st.DataObject) -> None:
    """Whatever is odd about a reply, at any depth: what the short way takes, it reads like the long one."""
    usage = {
        **CHAT_USAGE,
        "prompt_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 2},
        "completion_tokens_details": {"reasoning_tokens": 4},
        "cost_in_usd_ticks": 12_345,
    }
    body = {**json.loads(json.dumps(chat_reply(usage=usage))), "error": None}
    odd = _values | st.sampled_from(
        ["stop", "length", "", " ", "chat.completion", "error", 7, 0, 10**30, 0.5]
    )
    for _ in range(data.draw(st.integers(0, 3))):
        place: Any = body
        while isinstance(place, dict | list) and place:
            keys = sorted(place) if isinstance(place, dict) else range(len(place))
            key = data.draw(st.sampled_from(keys))
            if isinstance(place[key], dict | list) and place[key] and data.draw(st.integers(0, 3)):
                place = place[key]
            elif isinstance(place, dict) and data.draw(st.booleans()):
                del place[key]
                break
            else:
                place[key] = data.draw(odd)
                break
    raw = json.dumps(body).encode()
    plain = _plain(raw)
    assert plain is None or plain == _read(raw, verbatim=False)
    assert OPENAI.decode(raw) == _read(raw, verbatim=False)


def test_what_real_servers_send_is_read_the_short_way() -> None:
    """Else it would be of no use."""
    for extra in ({}, {"refusal": None}, {"refusal": "", "tool_calls": [], "annotations": []}):
        reply = chat_reply(usage=CHAT_USAGE)
        reply["choices"][0]["message"] |= extra
        assert _plain(json.dumps(reply).encode()) is not None


@given(
    st.lists(
        st.dictionaries(st.sampled_from(["type", "choices", "delta", "message", "usage", "error"]), _values)
    )
)
def test_no_shape_of_event_crashes_a_stream(events: list[dict[str, object]]) -> None:
    """Any event may come at any time without breaking the reader."""
    for wire in (OPENAI, ANTHROPIC):
        assert isinstance(follow(wire, sse(events)), Completion | Failure)
