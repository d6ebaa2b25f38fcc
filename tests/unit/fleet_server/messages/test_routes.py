"""POST /v1/messages and /v1/messages/count_tokens, as Anthropic's client reads them."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import pytest

HELLO: dict[str, Any] = {
    "model": "scripted", "max_tokens": 100, "messages": [{"role": "user", "content": "hello"}],
}  # fmt: skip
USAGE = {"cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}


async def collect(client: anthropic.AsyncAnthropic, **fields: Any) -> list[Any]:
    async with client:
        return [event async for event in await client.messages.create(
            stream=True, **(HELLO | fields))]  # fmt: skip


async def test_the_response_has_anthropics_shape(serve: Any) -> None:
    with serve() as live:
        answer = await live.chat(metadata={"user_id": "me"}, temperature=0.5)
    assert answer.status_code == 200
    assert answer.headers["x-modelfleet-model"] == "scripted"
    body = answer.json()
    assert list(body)[-1] == "usage"
    assert body.pop("id").startswith("msg_")
    assert body == {
        "type": "message", "role": "assistant", "model": "scripted",
        "content": [{"type": "text", "text": "Hello, wörld!", "citations": None}],
        "stop_reason": "end_turn", "stop_sequence": None,
        "usage": USAGE | {"input_tokens": 5, "output_tokens": 14},
    }  # fmt: skip


async def test_the_official_client_reads_it(serve: Any, client_of: Any) -> None:
    with serve() as live:
        async with client_of(live) as client:
            answer = await client.messages.create(**HELLO | {"max_tokens": 5, "system": "Brief."})
    type(answer).model_validate(answer.model_dump())
    assert answer.content[0].text == "Hello"
    assert answer.stop_reason == "max_tokens"
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (11, 5)


async def test_stop_sequences_are_named(serve: Any, client_of: Any) -> None:
    with serve() as live:
        async with client_of(live) as client:
            answer = await client.messages.create(**HELLO, stop_sequences=["xyz", ", w"])
        events = await collect(client_of(live), stop_sequences=["xyz", ", w"])
    assert (answer.stop_reason, answer.stop_sequence) == ("stop_sequence", ", w")
    assert answer.content[0].text == "Hello"
    delta = events[-2].delta
    assert (delta.stop_reason, delta.stop_sequence) == ("stop_sequence", ", w")


async def test_a_stream_has_anthropics_events_in_order(serve: Any) -> None:
    with serve() as live:
        answer = await live.chat(stream=True)
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = []
    for block in answer.text.removesuffix("\n\n").split("\n\n"):
        name, data = block.split("\n")
        events.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {events[-1]['type']}"
    kinds = [event["type"] for event in events]
    assert list(dict.fromkeys(kinds)) == [
        "message_start", "ping", "content_block_start", "content_block_delta",
        "content_block_stop", "message_delta", "message_stop",
    ]  # fmt: skip
    start = events[0]["message"]
    assert (start["content"], start["stop_reason"]) == ([], None)
    assert start["usage"] == USAGE | {"input_tokens": 5, "output_tokens": 0}
    assert events[2] == {
        "type": "content_block_start", "index": 0,
        "content_block": {"type": "text", "text": "", "citations": None},
    }  # fmt: skip
    text = "".join(event["delta"]["text"] for event in events if event["type"] == kinds[3])
    assert text == "Hello, wörld!"
    assert events[-2] == {
        "type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        "usage": USAGE | {"input_tokens": 5, "output_tokens": 14},
    }  # fmt: skip


async def test_the_clients_own_accumulation_agrees(serve: Any, client_of: Any) -> None:
    with serve() as live:
        async with client_of(live) as client, client.messages.stream(**HELLO) as stream:
            texts = [text async for text in stream.text_stream]
            final = await stream.get_final_message()
    assert "".join(texts) == final.content[0].text == "Hello, wörld!"
    assert (final.stop_reason, final.usage.output_tokens) == ("end_turn", 14)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_message_without_text_has_an_empty_block(
    serve: Any, scripted: Any, client_of: Any, stream: bool
) -> None:
    with serve(scripted("")) as live:
        async with client_of(live) as client:
            if stream:
                async with client.messages.stream(**HELLO) as events:
                    final = await events.get_final_message()
            else:
                final = await client.messages.create(**HELLO)
    assert [(block.type, block.text) for block in final.content] == [("text", "")]


async def test_an_engine_that_fails_ends_the_stream_with_an_error(
    serve: Any, scripted: Any, client_of: Any
) -> None:
    with serve(scripted(fail_after=3)) as live:
        answer = await live.chat(stream=True)
        with pytest.raises(anthropic.APIStatusError, match="The engine failed"):
            await collect(client_of(live))
    last = answer.text.removesuffix("\n\n").split("\n\n")[-1]
    assert last == (
        'event: error\ndata: {"type":"error","error":{"type":"api_error",'
        '"message":"The engine failed during this request.","param":null,"code":null}}'
    )


@pytest.mark.parametrize(
    ("fields", "kind", "named"),
    [
        ({"max_tokens": None}, anthropic.BadRequestError, "max_tokens"),
        ({"model": "other"}, anthropic.NotFoundError, "'other' is not served here"),
        ({"messages": []}, anthropic.BadRequestError, "messages"),
        ({"mcp_servers": [{"url": "x"}]}, anthropic.BadRequestError, "mcp_servers"),
        ({"stop_sequences": [""]}, anthropic.BadRequestError, "stop_sequences"),
        ({"temperature": 1.5}, anthropic.BadRequestError, "temperature"),
    ],
)
async def test_errors_have_anthropics_shape(
    serve: Any, client_of: Any, fields: dict[str, Any], kind: type[Exception], named: str
) -> None:
    with serve() as live:
        async with client_of(live) as client:
            with pytest.raises(kind) as caught:
                await client.post("/v1/messages", body=HELLO | fields, cast_to=object)
    body = caught.value.body  # type: ignore[attr-defined]
    assert body.keys() == {"type", "error"}
    assert body["type"] == "error"
    assert body["error"].keys() == {"type", "message", "param", "code"}
    assert named in body["error"]["message"]


async def test_errors_have_anthropics_types(serve: Any) -> None:
    with serve(ready=False) as live:
        answers = [await live.chat(), await live.ask("GET", "/v1/messages")]
        answers.append(await live.ask("POST", "/v1/messages", content=b"{"))
    kinds = [(answer.status_code, answer.json()["error"]["type"]) for answer in answers]
    assert kinds == [
        (503, "overloaded_error"), (405, "invalid_request_error"), (400, "invalid_request_error"),
    ]  # fmt: skip


async def test_a_model_of_another_task_refuses_in_the_same_shape(serve: Any) -> None:
    with serve(task="embedding", ready=False) as live:
        answer = await live.chat()
    assert answer.status_code == 400
    assert "for embedding" in answer.json()["error"]["message"]
    assert answer.json()["type"] == "error"


async def test_tokens_are_counted_without_generating(serve: Any, client_of: Any) -> None:
    with serve() as live:
        async with client_of(live) as client:
            counted = await client.messages.count_tokens(
                model="scripted", messages=HELLO["messages"], system="Be brief."
            )
            with pytest.raises(anthropic.BadRequestError, match="empty"):
                await client.messages.count_tokens(
                    model="scripted", messages=[{"role": "user", "content": ""}]
                )
        assert live.model.asked == []
        assert live.gauge("modelfleet_in_flight") == 0
    assert counted.input_tokens == len("hello") + len("Be brief.")


async def test_a_client_that_sends_other_fields_of_the_api_is_served(serve: Any) -> None:
    """As Claude Code does: beta features in the query, hints about caches and contexts."""
    text = {"type": "text", "text": "hello", "cache_control": {"type": "ephemeral"}}
    with serve() as live:
        answer = await live.ask(
            "POST", "/v1/messages?beta=true",
            headers={"anthropic-version": "2023-06-01", "anthropic-beta": "x", "x-api-key": "k"},
            json=HELLO | {
                "messages": [{"role": "user", "content": [text]}], "system": [text],
                "context_management": {"edits": []}, "thinking": {"type": "adaptive"},
                "output_config": {"effort": "high"}, "tools": [],
            },
        )  # fmt: skip
    assert answer.status_code == 200, answer.text


async def test_an_adapter_is_selected_by_the_id_of_the_model(serve: Any) -> None:
    with serve(adapters=[{"name": "sql", "source": "file:///sql"}]) as live:
        answers = [await live.chat(model=name) for name in ("scripted:sql", "scripted")]
    assert [each.json()["model"] for each in answers] == ["scripted:sql", "scripted"]
    assert [each.adapter for each in live.model.asked] == ["sql", None]
