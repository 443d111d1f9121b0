"""The vendors' own SDKs against the same server: they must send what we send and read what we read."""

from __future__ import annotations

from typing import Any

import anthropic
import openai
import pytest

from jurymast.domain.provider import ProviderName, Usage
from jurymast.intelligence.providers.transport import AiohttpTransport

from .samples import ASK, CHAT, CHAT_USAGE, MESSAGES, MODELS, SCHEMA, ask, chat_reply, provider
from .server import WireServer, plain, stream

KEY = "sekrit"
OPENAI_LIKE = (ProviderName.XAI, ProviderName.OPENAI, ProviderName.LOCAL)
WITH_USAGE = {"stream_options": {"include_usage": True}}


def openai_client(server: WireServer) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(api_key=KEY, base_url=server.url, max_retries=0, timeout=5.0)


def anthropic_client(server: WireServer) -> anthropic.AsyncAnthropic:
    base_url = server.url.removesuffix("/v1")
    return anthropic.AsyncAnthropic(api_key=KEY, base_url=base_url, max_retries=0, timeout=5.0)


def chat_parameters(name: ProviderName) -> dict[str, Any]:
    """Our request in the words of the openai SDK."""
    limit = "max_tokens" if name is ProviderName.LOCAL else "max_completion_tokens"
    stored = {"store": False} if name is ProviderName.OPENAI else {}
    schema = {"name": ASK.schema_name, "schema": SCHEMA, "strict": True}
    return {
        "model": MODELS[name],
        "messages": [{"role": turn.role, "content": turn.content} for turn in ASK.messages],
        "response_format": {"type": "json_schema", "json_schema": schema},
        limit: ASK.max_output_tokens,
        **stored,
    }


def message_parameters() -> dict[str, Any]:
    """Our request in the words of the anthropic SDK."""
    system, user = ASK.messages
    return {
        "model": MODELS[ProviderName.ANTHROPIC],
        "system": system.content,
        "messages": [{"role": "user", "content": user.content}],
        "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
        "max_tokens": ASK.max_output_tokens,
    }


def chat_usage(usage: Any) -> Usage:
    return Usage(
        input=usage.prompt_tokens,
        output=usage.total_tokens - usage.prompt_tokens,
        cached_input=usage.prompt_tokens_details.cached_tokens,
        reasoning=usage.completion_tokens_details.reasoning_tokens,
        cache_written=usage.prompt_tokens_details.cache_write_tokens,
    )


def message_usage(usage: Any) -> Usage:
    cached = usage.cache_read_input_tokens
    return Usage(
        input=usage.input_tokens + cached + usage.cache_creation_input_tokens,
        output=usage.output_tokens,
        cached_input=cached,
        reasoning=usage.output_tokens_details.thinking_tokens,
        cache_written=usage.cache_creation_input_tokens,
    )


def assert_same_request(server: WireServer) -> None:
    theirs, ours = server.received
    assert ours.json == theirs.json
    assert (ours.method, ours.path) == (theirs.method, theirs.path)
    for header in ("authorization", "anthropic-version", "content-type"):
        assert ours.headers.get(header) == theirs.headers.get(header)


@pytest.mark.parametrize("name", OPENAI_LIKE)
async def test_whole_chat_is_that_of_the_sdk(
    server: WireServer, transport: AiohttpTransport, name: ProviderName
) -> None:
    """For the same question the openai SDK sends the same body and reads the same answer."""
    server.behaviour = plain(CHAT.whole)
    async with openai_client(server) as client:
        theirs = await client.chat.completions.create(**chat_parameters(name))
    ours = await ask(provider(name, server.url, transport, stream=False))
    assert_same_request(server)
    assert ours.content == theirs.choices[0].message.content
    assert ours.finish_reason == theirs.choices[0].finish_reason
    assert ours.served_model == theirs.model
    assert ours.usage == chat_usage(theirs.usage)


@pytest.mark.parametrize("name", OPENAI_LIKE)
async def test_streamed_chat_is_that_of_the_sdk(
    server: WireServer, transport: AiohttpTransport, name: ProviderName
) -> None:
    """A stream read by the openai SDK amounts to what we make of it."""
    server.behaviour = stream(CHAT.streamed[:300], CHAT.streamed[300:], gap_secs=0.005)
    async with openai_client(server) as client:
        chunks = [
            chunk
            async for chunk in await client.chat.completions.create(
                **chat_parameters(name), stream=True, **WITH_USAGE
            )
        ]
    ours = await ask(provider(name, server.url, transport))
    assert_same_request(server)
    choices = [choice for chunk in chunks for choice in chunk.choices]
    assert ours.content == "".join(choice.delta.content or "" for choice in choices)
    assert ours.finish_reason == next(choice.finish_reason for choice in choices if choice.finish_reason)
    assert ours.served_model == chunks[0].model
    assert ours.usage == chat_usage(chunks[-1].usage)


async def test_whole_message_is_that_of_the_sdk(server: WireServer, transport: AiohttpTransport) -> None:
    """For the same question the anthropic SDK sends the same body and reads the same answer."""
    server.behaviour = plain(MESSAGES.whole)
    async with anthropic_client(server) as client:
        theirs = await client.messages.create(**message_parameters())
    ours = await ask(provider(ProviderName.ANTHROPIC, server.url, transport, stream=False))
    assert_same_request(server)
    assert ours.content == theirs.content[0].text
    assert ours.finish_reason == theirs.stop_reason
    assert ours.served_model == theirs.model
    assert ours.usage == message_usage(theirs.usage)


async def test_streamed_message_is_that_of_the_sdk(server: WireServer, transport: AiohttpTransport) -> None:
    """A stream read by the anthropic SDK amounts to what we make of it."""
    server.behaviour = stream(MESSAGES.streamed[:300], MESSAGES.streamed[300:], gap_secs=0.005)
    async with anthropic_client(server) as client, client.messages.stream(**message_parameters()) as events:
        theirs = await events.get_final_message()
    ours = await ask(provider(ProviderName.ANTHROPIC, server.url, transport))
    assert_same_request(server)
    assert ours.content == theirs.content[0].text
    assert ours.finish_reason == theirs.stop_reason
    assert ours.served_model == theirs.model
    assert ours.usage == message_usage(theirs.usage)


@pytest.mark.parametrize("name", list(ProviderName))
async def test_model_list_is_that_of_the_sdk(
    server: WireServer, transport: AiohttpTransport, name: ProviderName
) -> None:
    """The vendors' SDKs find the same models where we look for them."""
    entries = [{"id": "a", "object": "model", "created": 1, "owned_by": "v"}, {"id": "b", "object": "model"}]
    server.behaviour = plain({"object": "list", "data": entries, "has_more": False})
    if name is ProviderName.ANTHROPIC:
        async with anthropic_client(server) as client:
            theirs = [model.id async for model in client.models.list()]
    else:
        async with openai_client(server) as client:
            theirs = [model.id async for model in client.models.list()]
    ours = await provider(name, server.url, transport).list_models(5.0)
    assert [info.model for info in ours] == theirs
    asked_by_sdk, *others, asked_by_us = server.received
    assert asked_by_us.path == asked_by_sdk.path
    assert [other.path for other in others] == (["/v1/language-models"] if name is ProviderName.XAI else [])


async def test_sdk_passes_off_a_cut_stream_as_an_answer(server: WireServer) -> None:
    """Why the SDK is no runtime dependency: half an answer ends without any error."""
    server.behaviour = stream(CHAT.half)
    async with openai_client(server) as client:
        chunks = await client.chat.completions.create(**chat_parameters(ProviderName.OPENAI), stream=True)
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in chunks])
    assert text == '{"probabi'[: len(text)]
    assert text


async def test_sdk_counts_reasoning_of_xai_wrongly(server: WireServer, transport: AiohttpTransport) -> None:
    """xAI's completion tokens leave reasoning out; we book what the total says."""
    usage = {**CHAT_USAGE, "completion_tokens": 15, "total_tokens": 140}
    server.behaviour = plain(chat_reply(usage=usage))
    async with openai_client(server) as client:
        theirs = await client.chat.completions.create(**chat_parameters(ProviderName.XAI))
    ours = await ask(provider(ProviderName.XAI, server.url, transport, stream=False))
    assert theirs.usage is not None
    assert (theirs.usage.completion_tokens, ours.usage.output) == (15, 40)


async def test_events_with_crlf_are_read_like_the_sdk_does(
    server: WireServer, transport: AiohttpTransport
) -> None:
    """Line ends of either kind make no difference."""
    server.behaviour = stream(CHAT.streamed.replace(b"\n", b"\r\n"))
    async with openai_client(server) as client:
        chunks = await client.chat.completions.create(
            **chat_parameters(ProviderName.OPENAI), stream=True, **WITH_USAGE
        )
        theirs = "".join([c.delta.content or "" async for chunk in chunks for c in chunk.choices])
    assert (await ask(provider(ProviderName.OPENAI, server.url, transport))).content == theirs
