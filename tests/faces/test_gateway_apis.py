"""The gateway, asked by the vendors' own SDKs and by raw requests, over real sockets."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import anthropic
import openai
import pytest
from gateway_world import (
    ANTHROPIC,
    CALL,
    LOCAL,
    MODELS,
    OPENAI,
    TWO_CALLS,
    XAI,
    World,
    chat_reply,
    message_reply,
    says,
    silent,
    streams,
    streams_message,
    tool_calls,
    world,
)

from jurymast.domain.errors import ConfigError
from jurymast.domain.provider import ProviderName, Secret
from jurymast.domain.status import EmergencyMode
from jurymast.faces.gateway.asking import Api, BadAsk, read
from jurymast.faces.gateway.chat import ChatApi
from jurymast.faces.gateway.messages import MessagesApi
from jurymast.faces.gateway.responses import ResponsesApi
from jurymast.faces.gateway.server import GatewaySettings
from jurymast.faces.gateway.translation import CallsHeard

HELLO: list[Any] = [{"role": "user", "content": "hello"}]
SCHEMA = {
    "type": "object",
    "properties": {"probability_pct": {"type": "integer"}},
    "required": ["probability_pct"],
    "additionalProperties": False,
}
WANTED: Any = {"type": "json_schema", "json_schema": {"name": "f", "schema": SCHEMA, "strict": True}}
TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": "price_of",
            "description": "A price.",
            "parameters": {"type": "object", "properties": {"ticker": {"type": "string"}}},
        },
    }
]
ERROR = {"error": {"message": "down", "type": "server_error", "code": None}}


@asynccontextmanager
async def openai_at(place: World, key: str = "any") -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{place.url}/v1", api_key=key) as client:
        yield client


@asynccontextmanager
async def anthropic_at(place: World, key: str = "any") -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(base_url=place.url, api_key=key) as client:
        yield client


async def post(
    place: World, body: object, path: str = "/v1/chat/completions", **headers: str
) -> tuple[int, dict[str, Any], dict[str, str]]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with (
        aiohttp.ClientSession() as session,
        session.post(place.url + path, data=data, headers=headers) as reply,
    ):
        return reply.status, json.loads(await reply.read()), dict(reply.headers)


def _read(arguments: str) -> Any:
    return json.loads(arguments or "{}")


class TestChat:
    async def test_a_reply_is_the_vendors_own_to_the_byte(self) -> None:
        """What needs no translation is handed on as it came, whatever else is in it."""
        reply = chat_reply("hi") | {"something_new": {"of": [1, 2]}}
        async with world((XAI, says(reply))) as place:
            status, told, headers = await post(place, {"model": "jurymast", "messages": HELLO})
            assert (status, told) == (200, reply)
            assert headers["x-jurymast-route"] == "xai/grok-4.3"
            asked = place.vendors[XAI].asked[0]
        assert asked["model"] == "grok-4.3"
        assert asked["messages"] == HELLO

    async def test_the_next_provider_answers_when_the_first_is_down(self) -> None:
        """The SDK sees one answer, and the vendor that gave it."""
        async with (
            world((XAI, says(ERROR, 503)), (OPENAI, says(chat_reply("from the second")))) as place,
            openai_at(place) as client,
        ):
            answer = await client.chat.completions.with_raw_response.create(model="jurymast", messages=HELLO)
            assert answer.parse().choices[0].message.content == "from the second"
            assert answer.headers["x-jurymast-rung"] == "failover"
            assert answer.headers["x-jurymast-sends"] == "2"
            assert place.completed[0].route is not None
            assert [a.outcome for a in place.completed[0].attempts] == ["failed", "answered"]

    async def test_a_named_model_is_asked_first(self) -> None:
        """By its own name, an old name of it, or its provider's; one that nobody knows is refused by name."""
        async with (
            world((XAI, says(chat_reply("x"))), (OPENAI, says(chat_reply("o")))) as place,
            openai_at(place) as client,
        ):
            for name in ("gpt-6.1-terra", "openai", "gpt-6.1-terra-2026-09-01"):
                answer = await client.chat.completions.create(model=name, messages=HELLO)
                assert answer.choices[0].message.content == "o"
            with pytest.raises(openai.NotFoundError, match=r"did you mean gpt-6\.1-terra"):
                await client.chat.completions.create(model="gpt-6.1-tera", messages=HELLO)
            assert [model.id async for model in client.models.list()] == [
                "jurymast", "grok-4.3", "gpt-6.1-terra",
            ]  # fmt: skip

    async def test_another_format_answers_when_all_of_the_own_are_down(self) -> None:
        """A chat question told as messages: system, turns, limits and schema arrive."""
        answer = message_reply({"type": "text", "text": '{"probability_pct": 61}'})
        async with (
            world((OPENAI, says(ERROR, 500)), (ANTHROPIC, says(answer))) as place,
            openai_at(place) as client,
        ):
            told = await client.chat.completions.create(
                model="jurymast",
                messages=[
                    {"role": "system", "content": "be brief"},
                    {"role": "user", "content": "how likely"},
                    {"role": "assistant", "content": "what?"},
                    {"role": "user", "content": [{"type": "text", "text": "rain"}]},
                ],
                response_format=WANTED,
                max_completion_tokens=77,
                temperature=0.25,
                stop=["END"],
            )
            assert told.choices[0].message.content == '{"probability_pct": 61}'
            assert told.choices[0].finish_reason == "stop"
            assert told.usage is not None
            assert (told.usage.prompt_tokens, told.usage.completion_tokens) == (10, 5)
            asked = place.vendors[ANTHROPIC].asked[0]
        assert asked == {
            "model": "claude-sonnet-5-5",
            "max_tokens": 77,
            "system": "be brief",
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "how likely"}]},
                {"role": "assistant", "content": [{"type": "text", "text": "what?"}]},
                {"role": "user", "content": [{"type": "text", "text": "rain"}]},
            ],
            "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
            "stop_sequences": ["END"],
        }

    async def test_an_answer_of_another_schema_goes_to_the_next_provider(self) -> None:
        """Valid JSON that is not what was asked for is a failure of whoever sent it."""
        wrong, right = chat_reply('{"probability": 0.6}'), chat_reply('{"probability_pct": 60}')
        async with (
            world((XAI, says(wrong)), (OPENAI, says(right))) as place,
            openai_at(place) as client,
        ):
            for stream in (False, True):
                got: Any = await client.chat.completions.create(
                    model="jurymast", messages=HELLO, response_format=WANTED, stream=stream
                )
                if stream:
                    text = "".join([c.choices[0].delta.content or "" async for c in got if c.choices])
                else:
                    text = got.choices[0].message.content
                assert text == '{"probability_pct": 60}'
            detail = place.completed[0].attempts[0].detail
        assert "the answer has no 'probability_pct'" in detail

    async def test_tools_are_called_through_either_format(self) -> None:
        """A call of a tool is an answer; its result finds its way back, translated where it must be."""
        blocks = message_reply(
            {"type": "text", "text": "let me look"},
            {"type": "tool_use", "id": "tu_1", "name": "price_of", "input": {"ticker": "KX-1"}},
            stop="tool_use",
        )
        own = chat_reply(None, "tool_calls", tool_calls=tool_calls())
        async with (
            world((OPENAI, says(own)), (ANTHROPIC, says(blocks))) as place,
            openai_at(place) as client,
        ):
            for broken in (False, True):
                if broken:
                    place.vendors[OPENAI].behaviour = says(ERROR, 500)
                answer = await client.chat.completions.create(
                    model="jurymast",
                    messages=[
                        *HELLO,
                        {"role": "assistant", "content": None, "tool_calls": tool_calls()},  # type: ignore[typeddict-item] # a call as it came
                        {"role": "tool", "tool_call_id": "call_1", "content": "0.42"},
                    ],
                    tools=TOOLS,
                    tool_choice="required",
                )
                (call,) = answer.choices[0].message.tool_calls or []
                assert call.type == "function"
                assert json.loads(call.function.arguments) == json.loads(CALL["arguments"])
                assert answer.choices[0].finish_reason == "tool_calls"
            asked = place.vendors[ANTHROPIC].asked[0]
        assert asked["messages"][1:] == [
            {
                "role": "assistant",
                "content": [
                    {"type": "tool_use", "id": "call_1", "name": "price_of", "input": {"ticker": "KX-1"}}
                ],
            },
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "0.42"}],
            },
        ]
        assert asked["tool_choice"] == {"type": "any"}
        assert asked["tools"][0]["input_schema"] == TOOLS[0]["function"]["parameters"]

    async def test_a_cut_answer_and_a_refusal_are_answers_to_the_client(self) -> None:
        """It set the limit, and it can read why the answer ended."""
        async with world((XAI, says(chat_reply("half an", "length")))) as place, openai_at(place) as client:
            answer = await client.chat.completions.create(
                model="jurymast", messages=HELLO, max_completion_tokens=3
            )
            assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == (
                "half an", "length",
            )  # fmt: skip
            assert place.vendors[XAI].asked[0]["max_completion_tokens"] == 3
            place.vendors[XAI].behaviour = says(chat_reply(None, refusal="no"))
            answer = await client.chat.completions.create(model="jurymast", messages=HELLO)
            assert answer.choices[0].message.refusal == "no"
            assert len(place.vendors[XAI].asked) == 2

    async def test_fields_of_the_dialect_are_those_of_who_is_asked(self) -> None:
        """A local server hears max_tokens, OpenAI is asked not to keep the answer."""
        async with world((OPENAI, says(chat_reply())), (LOCAL, says(chat_reply()))) as place:
            body = {"model": "jurymast", "messages": HELLO, "max_tokens": 9, "seed": 4}
            assert (await post(place, body))[0] == 200
            place.vendors[OPENAI].behaviour = says(ERROR, 500)
            assert (await post(place, body))[0] == 200
            (openai_asked, _), (local_asked,) = (place.vendors[n].asked for n in (OPENAI, LOCAL))
        assert openai_asked == {
            "model": MODELS[OPENAI], "messages": HELLO, "max_completion_tokens": 9, "seed": 4, "store": False,
        }  # fmt: skip
        assert local_asked == {"model": MODELS[LOCAL], "messages": HELLO, "max_tokens": 9, "seed": 4}


class TestStreams:
    async def test_free_text_is_passed_on_as_it_comes(self) -> None:
        """The first piece is there long before the last, and the usage only when it was asked for."""
        async with (
            world((XAI, streams("one ", "two ", "three", gap_secs=0.3))) as place,
            openai_at(place) as client,
        ):
            for usage in (False, True):
                options: Any = {"include_usage": True} if usage else openai.omit
                arrivals, text, used = list[float](), "", None
                got = await client.chat.completions.create(
                    model="jurymast", messages=HELLO, stream=True, stream_options=options
                )
                async for chunk in got:
                    if chunk.choices and chunk.choices[0].delta.content:
                        arrivals.append(time.monotonic())
                        text += chunk.choices[0].delta.content
                    used = chunk.usage or used
                assert text == "one two three"
                assert arrivals[-1] - arrivals[0] > 0.5
                assert (used is not None) is usage

    async def test_what_fails_before_its_first_word_is_nobodys_loss(self) -> None:
        """The client sees one stream, the second provider's; a stream without [DONE] gets one."""
        async with (
            world((XAI, says(ERROR, 502)), (OPENAI, streams("a", "b", done=False))) as place,
            aiohttp.ClientSession() as session,
        ):
            body = {"model": "jurymast", "messages": HELLO, "stream": True}
            async with session.post(f"{place.url}/v1/chat/completions", json=body) as reply:
                assert reply.content_type == "text/event-stream"
                assert reply.headers["x-jurymast-route"] == "openai/gpt-6.1-terra"
                lines = (await reply.text()).splitlines()
        assert lines[-2:] == ["data: [DONE]", ""]
        assert lines.count("data: [DONE]") == 1

    async def test_a_stream_that_breaks_off_ends_in_an_error(self) -> None:
        """Never as an answer: the SDK raises, there is no [DONE], and the journal says so."""
        async with (
            world((XAI, streams("the answer is ", end=False)), (OPENAI, streams("no"))) as place,
            openai_at(place) as client,
        ):
            got = await client.chat.completions.create(model="jurymast", messages=HELLO, stream=True)
            text = list[str]()

            async def read() -> None:
                async for chunk in got:
                    text.append(chunk.choices[0].delta.content or "")

            with pytest.raises(openai.APIError, match="xai"):
                await read()
            assert "".join(text) == "the answer is "
            assert place.completed[0].route is None
            assert place.vendors[OPENAI].asked == []

    async def test_a_stream_of_another_format_is_told_in_chunks(self) -> None:
        """Both ways, with the right ends."""
        async with (
            world((OPENAI, says(ERROR, 500)), (ANTHROPIC, streams_message("up ", "we go"))) as place,
            openai_at(place) as client,
            anthropic_at(place) as other,
        ):
            text, finish, model = "", None, ""
            async for chunk in await client.chat.completions.create(
                model="jurymast", messages=HELLO, stream=True
            ):
                text += chunk.choices[0].delta.content or ""
                finish, model = chunk.choices[0].finish_reason or finish, chunk.model
            assert (text, finish, model) == ("up we go", "stop", "claude-sonnet-5-5")
            async with other.messages.stream(model="jurymast", max_tokens=9, messages=HELLO) as stream:
                assert await stream.get_final_text() == "up we go"
        async with world((OPENAI, streams("down ", "again"))) as place, anthropic_at(place) as other:
            async with other.messages.stream(model="jurymast", max_tokens=9, messages=HELLO) as stream:
                assert await stream.get_final_text() == "down again"
                final = await stream.get_final_message()
            assert (final.stop_reason, final.usage.output_tokens, final.model) == ("end_turn", 5, "served")

    @pytest.mark.parametrize("text", [(), ("let me ", "look")], ids=["calls alone", "text before"])
    @pytest.mark.parametrize("answers", [OPENAI, ANTHROPIC])
    async def test_calls_of_tools_are_streamed_through_either_format(
        self, answers: ProviderName, text: tuple[str, ...]
    ) -> None:
        """All three APIs, as the SDKs put them together: text as it comes, each call with its arguments."""
        streamed = (
            streams(*text, finish="tool_calls", calls=TWO_CALLS)
            if answers is OPENAI
            else streams_message(*text, stop="tool_use", calls=TWO_CALLS)
        )
        expected = [("call_1", "price_of", {"ticker": "KX-1"}), ("call_2", "now", {})]
        async with (
            world((answers, streamed)) as place,
            openai_at(place) as client,
            anthropic_at(place) as other,
        ):
            async with client.chat.completions.stream(model="jurymast", messages=HELLO, tools=TOOLS) as chat:
                choice = (await chat.get_final_completion()).choices[0]
            calls = choice.message.tool_calls or []
            assert [(c.id, c.function.name, _read(c.function.arguments)) for c in calls] == expected
            assert (choice.message.content or "", choice.finish_reason) == ("".join(text), "tool_calls")
            tools: Any = [{"name": "price_of", "input_schema": {"type": "object"}}]
            async with other.messages.stream(
                model="jurymast", max_tokens=9, messages=HELLO, tools=tools
            ) as told:
                final = await told.get_final_message()
            uses = [block for block in final.content if block.type == "tool_use"]
            assert [(use.id, use.name, use.input) for use in uses] == expected
            assert final.stop_reason == "tool_use"
            assert "".join(b.text for b in final.content if b.type == "text") == "".join(text)
            function: Any = [{"type": "function", **TOOLS[0]["function"]}]
            async with client.responses.stream(model="jurymast", input="x", tools=function) as stream:
                response = await stream.get_final_response()
            items = [item for item in response.output if item.type == "function_call"]
            assert [(i.call_id, i.name, _read(i.arguments)) for i in items] == expected
            assert response.output_text == "".join(text)

    async def test_odd_calls_in_a_stream_break_nothing(self) -> None:
        """What makes no sense is passed over; what does is told."""
        heard = CallsHeard()
        for line in (
            b'data: {"choices": [{"delta": {"tool_calls": [7]}}]}',
            b'data: {"choices": 5, "tool_calls": 1}',
            b'data: ["tool_calls"]',
            b'data: {"tool_calls"',
            b'data: {"choices": [{"delta": {"tool_calls": [{"index": null, "id": 3}]}}]}',
            b'data: {"type": "content_block_delta", "delta": {"type": "input_json_delta"}, "index": "x"}',
            b'data: {"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"arguments": 4}}]}}]}',
            b'data: {"choices": [{"delta": {"tool_calls": [{"index": 1, "id": "a"}]}}]}',
        ):
            heard.hear(line)
        assert [call["id"] for call in heard.all() if call["id"]] == ["a"]

    async def test_a_silent_stream_is_given_up_for_the_next(self) -> None:
        """Nothing was said yet, so another may answer."""
        async with (
            world((XAI, silent), (OPENAI, streams("here"))) as place,
            openai_at(place) as client,
        ):
            got = await client.chat.completions.create(model="jurymast", messages=HELLO, stream=True)
            assert "".join([c.choices[0].delta.content or "" async for c in got]) == "here"

    async def test_a_stream_that_says_nothing_is_no_answer(self) -> None:
        """The next provider is asked. A server that does not stream is told as a stream all the same."""
        async with (
            world((XAI, streams()), (OPENAI, says(chat_reply("not streamed")))) as place,
            openai_at(place) as client,
            anthropic_at(place) as other,
        ):
            got = await client.chat.completions.create(model="jurymast", messages=HELLO, stream=True)
            assert "".join([c.choices[0].delta.content or "" async for c in got]) == "not streamed"
            assert place.completed[0].attempts[0].failure == "empty"
            async with other.messages.stream(model="openai", max_tokens=9, messages=HELLO) as stream:
                assert await stream.get_final_text() == "not streamed"

    async def test_an_end_without_words_that_is_an_answer_is_passed_on(self) -> None:
        """The vendor's filter: the client reads it in the finish reason, and nobody else is asked."""
        async with (
            world((XAI, streams(finish="content_filter")), (OPENAI, streams("no"))) as place,
            openai_at(place) as client,
        ):
            got = await client.chat.completions.create(model="jurymast", messages=HELLO, stream=True)
            ends = [chunk.choices[0].finish_reason async for chunk in got if chunk.choices]
            assert ends[-1] == "content_filter"
            assert place.vendors[OPENAI].asked == []

    async def test_a_client_that_leaves_ends_what_was_asked_for_it(self) -> None:
        """The vendor's connection is closed, the attempt is on record."""
        for stream in (False, True):
            async with world((XAI, silent)) as place, aiohttp.ClientSession() as session:
                body = {"model": "jurymast", "messages": HELLO, "stream": stream}
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.3):
                        await session.post(f"{place.url}/v1/chat/completions", json=body)
                async with asyncio.timeout(5.0):
                    await place.vendors[XAI].left.wait()
                assert place.client.fallback_manager.providers.purse.day.held == 0


class TestMessages:
    async def test_the_sdk_gets_the_vendors_own_reply(self) -> None:
        """Thinking and all; the key may come either way."""
        blocks = (
            {"type": "thinking", "thinking": "hm", "signature": "s"},
            {"type": "text", "text": "yes"},
        )
        async with world((ANTHROPIC, says(message_reply(*blocks)))) as place, anthropic_at(place) as client:
            answer = await client.messages.create(
                model="jurymast", max_tokens=50, messages=HELLO, system="be kind"
            )
            assert [block.type for block in answer.content] == ["thinking", "text"]
            assert place.vendors[ANTHROPIC].asked[0]["system"] == "be kind"
            listed = await client.models.list()
            assert listed.data[1].id == "claude-sonnet-5-5"

    async def test_a_question_told_as_chat(self) -> None:
        """Tools, their results, the schema and the end of the answer, in the other's words and back."""
        reply = chat_reply("look", "tool_calls", tool_calls=tool_calls())
        async with (
            world((ANTHROPIC, says({"type": "error", "error": {"type": "api_error"}}, 500)),
                  (OPENAI, says(reply))) as place,
            anthropic_at(place) as client,
        ):  # fmt: skip
            turns: Any = [
                *HELLO,
                {
                    "role": "assistant",
                    "content": [{"type": "tool_use", "id": "t1", "name": "price_of", "input": {"a": 1}}],
                },
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": "t1", "content": "0.4"},
                        {"type": "text", "text": "so?"},
                    ],
                },
            ]
            tools: Any = [{"name": "price_of", "description": "d", "input_schema": {"type": "object"}}]
            answer = await client.messages.create(
                model="jurymast",
                max_tokens=9,
                system=[{"type": "text", "text": "be brief"}],
                messages=turns,
                tools=tools,
                tool_choice={"type": "tool", "name": "price_of"},
                stop_sequences=["END"],
            )
            assert answer.stop_reason == "tool_use"
            assert [block.type for block in answer.content] == ["text", "tool_use"]
            asked = place.vendors[OPENAI].asked[0]
        assert asked["messages"] == [
            {"role": "system", "content": "be brief"},
            *HELLO,
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "t1",
                        "type": "function",
                        "function": {"name": "price_of", "arguments": '{"a":1}'},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": "t1", "content": "0.4"},
            {"role": "user", "content": "so?"},
        ]
        assert asked["tool_choice"] == {"type": "function", "function": {"name": "price_of"}}
        assert (asked["stop"], asked["max_completion_tokens"]) == (["END"], 9)

    async def test_a_held_answer_is_told_as_a_stream(self) -> None:
        """An answer with a schema comes at once and whole, from either format."""
        for behaviour in (
            (ANTHROPIC, says(message_reply({"type": "text", "text": '{"probability_pct": 7}'}))),
            (OPENAI, says(chat_reply('{"probability_pct": 7}'))),
        ):
            async with world(behaviour) as place, anthropic_at(place) as client:
                wanted: Any = {"format": {"type": "json_schema", "schema": SCHEMA}}
                async with client.messages.stream(
                    model="jurymast", max_tokens=9, messages=HELLO, output_config=wanted
                ) as stream:
                    assert await stream.get_final_text() == '{"probability_pct": 7}'


class TestResponses:
    async def test_text_from_either_format(self) -> None:
        """Instructions, turns and limits arrive; text, model, usage and end come back."""
        for behaviour, model in (
            ((OPENAI, says(chat_reply("yes"))), "served"),
            ((ANTHROPIC, says(message_reply({"type": "text", "text": "yes"}))), "claude-sonnet-5-5"),
        ):
            async with world(behaviour) as place, openai_at(place) as client:
                answer = await client.responses.create(
                    model="jurymast",
                    instructions="be brief",
                    input=[
                        {"role": "user", "content": [{"type": "input_text", "text": "rain?"}]},
                        {"role": "assistant", "content": "where?"},
                        {"role": "user", "content": "here"},
                    ],
                    max_output_tokens=44,
                )
                assert (answer.output_text, answer.status, answer.model) == ("yes", "completed", model)
                assert answer.usage is not None
                assert (answer.usage.input_tokens, answer.usage.output_tokens) == (10, 5)
                (asked,) = place.vendors[behaviour[0]].asked
                assert 44 in {asked.get("max_completion_tokens"), asked.get("max_tokens")}
                texts = json.dumps(asked)
                assert texts.index("be brief") != texts.index("rain?")
                assert len([m for m in asked["messages"] if m["role"] != "system"]) == 3

    async def test_functions_and_schemas(self) -> None:
        """A call comes back as an item, its output finds its way; what does not conform goes to the next."""
        wrong = says(chat_reply('{"probability": 1}'))
        async with (
            world((XAI, wrong), (OPENAI, says(chat_reply('{"probability_pct": 9}')))) as place,
            openai_at(place) as client,
        ):
            text: Any = {"format": {"type": "json_schema", "name": "f", "schema": SCHEMA, "strict": True}}
            answer = await client.responses.create(model="jurymast", input="x", text=text)
            assert json.loads(answer.output_text) == {"probability_pct": 9}
            calls = chat_reply(None, "tool_calls", tool_calls=tool_calls())
            place.vendors[XAI].behaviour = place.vendors[OPENAI].behaviour = says(calls)
            tools: Any = [{"type": "function", "name": "price_of", "parameters": {"type": "object"}}]
            called = await client.responses.create(model="openai", input="x", tools=tools)
            (call,) = called.output
            assert call.type == "function_call"
            assert (call.call_id, call.name) == ("call_1", "price_of")
            items: Any = [
                {"role": "user", "content": "x"},
                {"type": "function_call", "call_id": "call_1", "name": "price_of", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "call_1", "output": "0.4"},
            ]
            await client.responses.create(model="openai", input=items, tools=tools)
            asked = place.vendors[OPENAI].asked[-1]["messages"]
        assert asked[1]["tool_calls"][0]["id"] == "call_1"
        assert asked[2] == {"role": "tool", "tool_call_id": "call_1", "content": "0.4"}

    async def test_streams(self) -> None:
        """Live text, a held answer with a schema, and one that breaks off, as the SDK reads them."""
        async with world((XAI, streams("one ", "two"))) as place, openai_at(place) as client:
            async with client.responses.stream(model="jurymast", input="x") as stream:
                kinds = [event.type async for event in stream]
                final = await stream.get_final_response()
            assert (final.output_text, final.model) == ("one two", "served")
            assert kinds.count("response.output_text.delta") == 2
            place.vendors[XAI].behaviour = says(chat_reply('{"probability_pct": 9}'))
            text: Any = {"format": {"type": "json_schema", "name": "f", "schema": SCHEMA, "strict": True}}
            async with client.responses.stream(model="jurymast", input="x", text=text) as stream:
                final = await stream.get_final_response()
            assert json.loads(final.output_text) == {"probability_pct": 9}
            place.vendors[XAI].behaviour = streams("half", end=False)
            got = await client.responses.create(model="jurymast", input="x", stream=True)

            async def read() -> list[str]:
                return [event.type async for event in got]

            with pytest.raises(openai.APIError, match="xai"):
                await read()

    @pytest.mark.parametrize(
        ("more", "field"),
        [
            ({"previous_response_id": "resp_1"}, "previous_response_id"),
            ({"input": []}, "input"),
            ({"input": [{"type": "web_search_call"}]}, "input"),
            ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "messages"),
            ({"tools": [{"type": "web_search"}]}, "tools"),
            ({"text": {"format": {"type": "grammar"}}}, "text"),
            ({"background": True}, "background"),
        ],
    )
    async def test_what_is_not_simple_is_refused_by_name(self, more: dict[str, Any], field: str) -> None:
        """And nobody is asked."""
        async with world((XAI, says(chat_reply()))) as place:
            status, told, _ = await post(place, {"model": "jurymast", "input": "x", **more}, "/v1/responses")
            assert (status, told["error"]["param"]) == (400, field)
            assert place.vendors[XAI].asked == []


class TestRefusals:
    @pytest.mark.parametrize(
        ("body", "field"),
        [
            (b"{", None),
            (b"[1]", None),
            ({"messages": HELLO}, "model"),
            ({"model": "jurymast"}, "messages"),
            ({"model": "jurymast", "messages": []}, "messages"),
            ({"model": "jurymast", "messages": ["hi"]}, "messages"),
            ({"model": "jurymast", "messages": [{"role": "user", "content": 5}]}, "messages"),
            ({"model": "jurymast", "messages": HELLO, "n": 2}, "n"),
            ({"model": "jurymast", "messages": HELLO, "max_tokens": 0}, "max_tokens"),
            ({"model": "jurymast", "messages": HELLO, "max_tokens": True}, "max_tokens"),
            ({"model": "jurymast", "messages": HELLO, "service_tier": "priority"}, "service_tier"),
            ({"model": "jurymast", "messages": HELLO, "search_parameters": {}}, "search_parameters"),
            ({"model": "jurymast", "messages": HELLO, "tools": [{"type": "web_search"}]}, "tools"),
            ({"model": "jurymast", "messages": HELLO, "response_format": {"type": "xml"}}, "response_format"),
            (
                {
                    "model": "jurymast",
                    "messages": [
                        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}
                    ],
                },
                "messages",
            ),
        ],
    )
    async def test_a_bad_question_is_told_what_is_wrong_and_sent_to_nobody(
        self, body: object, field: str | None
    ) -> None:
        """Above all what could cost more than can be held for it."""
        async with world((XAI, says(chat_reply()))) as place:
            status, told, headers = await post(place, body)
            assert status in {400, 404}
            assert told["error"]["param"] == field
            assert told["error"]["message"]
            assert headers["x-should-retry"] == "false"
            assert place.vendors[XAI].asked == []

    async def test_the_sdk_does_not_ask_again_when_all_are_down(self) -> None:
        """Every cause is told, and each provider was asked once or not at all."""
        async with (
            world((XAI, says(ERROR, 500)), (OPENAI, says(ERROR, 500))) as place,
            openai_at(place) as client,
            anthropic_at(place) as other,
        ):
            with pytest.raises(openai.InternalServerError) as caught:
                await client.chat.completions.create(model="jurymast", messages=HELLO)
            assert caught.value.status_code == 503
            assert "xai/grok-4.3" in str(caught.value)
            assert "openai/gpt-6.1-terra" in str(caught.value)
            assert len(place.completed) == 1
            with pytest.raises(anthropic.InternalServerError):
                await other.messages.create(model="jurymast", max_tokens=5, messages=HELLO)
            assert len(place.completed) == 2

    async def test_a_question_that_vendors_call_bad_is_the_clients_to_mend(self) -> None:
        """It is not offered to everybody, and the client hears the vendor's words."""
        bad = {"error": {"message": "tool name too long", "type": "invalid_request_error", "code": None}}
        names = (XAI, OPENAI, LOCAL)
        async with world(*((name, says(bad, 400)) for name in names)) as place, openai_at(place) as client:
            with pytest.raises(openai.BadRequestError, match="tool name too long"):
                await client.chat.completions.create(model="jurymast", messages=HELLO)
            assert sum(len(vendor.asked) for vendor in place.vendors.values()) == 2

    async def test_what_the_only_format_can_t_carry_is_refused_with_its_name(self) -> None:
        """Probabilities of tokens have no translation; nobody of its own format is configured."""
        async with world((ANTHROPIC, says(message_reply()))) as place:
            body = {"model": "jurymast", "messages": HELLO, "logprobs": True}
            status, told, _ = await post(place, body)
            assert status == 400
            assert "can't carry logprobs" in told["error"]["message"]
            assert place.vendors[ANTHROPIC].asked == []

    async def test_a_killed_judgement_asks_nobody(self) -> None:
        """Until a person says so nothing leaves the house, for no client."""
        async with world((XAI, says(chat_reply()))) as place:
            place.client.fallback_manager.enable_emergency_mode("stop it", mode=EmergencyMode.KILLED)
            status, told, _ = await post(place, {"model": "jurymast", "messages": HELLO})
            assert (status, told["error"]["code"]) == (503, "emergency_mode")
            assert place.vendors[XAI].asked == []

    async def test_a_question_waits_no_longer_than_its_deadline(self) -> None:
        """The operator's, or the SDK's own, whichever is shorter."""
        settings = GatewaySettings(port=0, deadline_secs=0.5)
        async with world((XAI, silent), settings=settings) as place, aiohttp.ClientSession() as session:
            for headers, most in (({}, 1.5), ({"x-stainless-timeout": "0.2"}, 0.45)):
                started = time.monotonic()
                async with session.post(
                    f"{place.url}/v1/chat/completions",
                    json={"model": "jurymast", "messages": HELLO},
                    headers=headers,
                ) as reply:
                    assert reply.status == 503
                assert time.monotonic() - started < most + 2.0
            secs = [event.secs for event in place.completed]
        assert secs[1] < secs[0]


KEYS = {"alpha": Secret("key-of-alpha"), "beta": Secret("key-of-beta")}


WORDS = (
    "user assistant tool text function json_schema auto tool_use tool_result input_text function_call "
    "function_call_output message"
)
ATOMS = (None, True, 0, -1, 3.5, 10**30, "", "x", "\ud800", *WORDS.split(" "))
FIELDS = (
    "messages role content type text tools function name parameters tool_choice tool_calls id arguments "
    "response_format json_schema schema stop stream_options n system input_schema output_config format input "
    "reasoning output stop_sequences"
)
NAMES = tuple(FIELDS.split(" "))
READERS = [ChatApi(), MessagesApi(), ResponsesApi()]


@pytest.mark.parametrize("api", READERS, ids=lambda api: type(api).__name__)
def test_whatever_is_asked_is_read_or_refused(api: Api) -> None:
    """Five thousand questions that went wrong somewhere, seeded: no other end than those two."""
    dice = random.Random(7)

    def made(depth: int) -> Any:
        if depth == 0 or dice.random() < 0.35:
            return dice.choice(ATOMS)
        if dice.random() < 0.4:
            return [made(depth - 1) for _ in range(dice.randrange(3))]
        return {dice.choice(NAMES): made(depth - 1) for _ in range(dice.randrange(5))}

    refused = 0
    for _ in range(5_000):
        message = {"role": "user", "content": "x"}
        asked: dict[str, Any] = {"model": "m", "max_tokens": 5, "messages": [message]}
        if isinstance(api, ResponsesApi):
            asked = {"model": "m", "input": [message]}
        for _ in range(dice.randrange(1, 4)):
            (asked if dice.random() < 0.5 else message)[dice.choice(NAMES)] = made(4)
        try:
            assert read(api, json.dumps(asked).encode()).bodies
        except BadAsk:
            refused += 1
    assert 1_000 < refused < 5_000


@pytest.mark.parametrize(
    "message",
    [
        {"content": None, "tool_calls": ["price_of"]},
        {"content": None, "tool_calls": "price_of"},
        {"content": "x", "tool_calls": [{"id": "1", "function": {"name": "f"}}]},
        {"content": "x", "tool_calls": [{"id": "1", "function": {"arguments": "{}"}}]},
        {"content": [{"type": "text", "text": "x"}]},
    ],
)
async def test_a_reply_that_no_client_could_read_goes_to_the_next(message: dict[str, Any]) -> None:
    """A vendor's misshapen call of a tool is its failure, whoever asked and however."""
    bad = chat_reply(finish="tool_calls" if "tool_calls" in message else "stop", **message)
    async with (
        world((XAI, says(bad)), (OPENAI, says(chat_reply("fine")))) as place,
        openai_at(place) as client,
        anthropic_at(place) as other,
    ):
        answer = await client.chat.completions.create(model="xai", messages=HELLO)
        assert answer.choices[0].message.content == "fine"
        told = await other.messages.create(model="xai", max_tokens=9, messages=HELLO)
        assert told.content[0].type == "text"
        assert "malformed" in place.completed[0].attempts[0].detail


class TestClients:
    async def test_each_client_has_its_key_and_its_budget(self) -> None:
        """One that has spent its own is refused; the other goes on, and the journal knows who paid."""
        settings = GatewaySettings(port=0, keys=KEYS)
        async with world(
            (OPENAI, says(chat_reply())), settings=settings, caps={"alpha": 0, "beta": 10_000_000}
        ) as place:
            for key in ("wrong", ""):
                async with openai_at(place, key or "none") as client:
                    with pytest.raises(openai.AuthenticationError):
                        await client.chat.completions.create(model="jurymast", messages=HELLO)
                    with pytest.raises(openai.AuthenticationError):
                        await client.models.list()
            async with openai_at(place, "key-of-alpha") as client:
                with pytest.raises(openai.RateLimitError, match="alpha"):
                    await client.chat.completions.create(model="jurymast", messages=HELLO)
            assert place.vendors[OPENAI].asked == []
            async with anthropic_at(place, "key-of-beta") as other:
                await other.messages.create(model="jurymast", max_tokens=50, messages=HELLO)
            assert [event.asker for event in place.completed] == ["alpha", "beta"]

    async def test_pages_of_other_sites_can_t_spend_money(self) -> None:
        """A browser that is led to this machine's own address says where it comes from."""
        body = {"model": "jurymast", "messages": HELLO}
        async with world((XAI, says(chat_reply()))) as place:
            for headers in (
                {"Origin": "https://evil.example"},
                {"Sec-Fetch-Site": "cross-site"},
                {"Host": "evil.example"},
            ):
                assert (await post(place, body, **headers))[0] == 401
            assert place.vendors[XAI].asked == []

    def test_no_open_door_to_strangers(self) -> None:
        """Elsewhere than on this machine keys are demanded, and an unset one is no key."""
        with pytest.raises(ConfigError, match="without a key"):
            GatewaySettings(host="0.0.0.0")
        with pytest.raises(ConfigError, match="is empty"):
            GatewaySettings(keys={"alpha": Secret()})

    async def test_health_tells_balancers_whether_anybody_answers(self) -> None:
        """200 while somebody is believed to, 503 when all are out; being alive is another question."""
        async with (
            world((XAI, says(ERROR, 401)), (OPENAI, says(ERROR, 401))) as place,
            aiohttp.ClientSession() as session,
        ):
            async with session.get(f"{place.url}/health") as reply:
                assert reply.status == 200
            await post(place, {"model": "jurymast", "messages": HELLO})
            async with session.get(f"{place.url}/health") as reply:
                told = await reply.json()
                assert (reply.status, told["providers"]["xai"]) == (503, "unhealthy")
            async with session.get(f"{place.url}/health/live") as reply:
                assert reply.status == 200
