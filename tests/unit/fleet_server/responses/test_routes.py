"""POST /v1/responses, whole and streamed, as the official client reads it."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Sequence
from typing import Any

import openai
import pytest

from fleet_contract.errors import BadRequest
from fleet_server.protocols import Prompt

EVENTS = [
    "response.created", "response.in_progress", "response.output_item.added",
    "response.content_part.added", "response.output_text.delta", "response.output_text.done",
    "response.content_part.done", "response.output_item.done", "response.completed",
]  # fmt: skip


async def collect(client: openai.AsyncOpenAI, **fields: Any) -> list[Any]:
    given = {"model": "scripted", "input": "hello"} | fields
    events: list[Any] = []
    async with client:
        async for event in await client.responses.create(stream=True, **given):
            events.append(event)
    return events


async def test_the_response_has_openais_shape(serve: Any) -> None:
    with serve() as live:
        answer = await live.chat(store=True, metadata={"a": "b"}, user="me", temperature=0.5)
    assert answer.status_code == 200
    assert answer.headers["x-modelfleet-model"] == "scripted"
    body = answer.json()
    assert list(body)[-1] == "usage"
    assert body.pop("id").startswith("resp_")
    assert body.pop("created_at") > 1_700_000_000
    assert body["output"][0].pop("id").startswith("msg_")
    part = {"type": "output_text", "text": "Hello, wörld!", "annotations": [], "logprobs": []}
    assert body == {
        "object": "response", "status": "completed", "background": False, "error": None,
        "incomplete_details": None, "instructions": None, "max_output_tokens": None,
        "model": "scripted",
        "output": [
            {"type": "message", "role": "assistant", "status": "completed", "content": [part]}
        ],
        "parallel_tool_calls": True, "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None}, "store": False, "temperature": 0.5,
        "text": {"format": {"type": "text"}}, "tool_choice": "auto", "tools": [], "top_p": 1.0,
        "truncation": "disabled", "user": "me", "metadata": {"a": "b"},
        "usage": {
            "input_tokens": 5,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": 14, "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 19,
        },
    }  # fmt: skip


async def test_the_official_client_reads_it(serve: Any, client_of: Any) -> None:
    with serve() as live:
        async with client_of(live) as client:
            answer = await client.responses.create(
                model="scripted", input="hello", instructions="Be brief.", max_output_tokens=5
            )
    assert answer.output_text == "Hello"
    assert answer.status == "incomplete"
    assert answer.incomplete_details.reason == "max_output_tokens"
    assert answer.output[0].status == "incomplete"
    assert (answer.max_output_tokens, answer.instructions) == (5, "Be brief.")
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (14, 5)
    assert answer.store is False
    type(answer).model_validate(answer.model_dump())


async def test_a_stream_has_openais_events_in_order(serve: Any, client_of: Any) -> None:
    with serve() as live:
        events = await collect(client_of(live))
    assert list(dict.fromkeys(event.type for event in events)) == EVENTS
    assert [event.sequence_number for event in events] == list(range(len(events)))
    for event in events:  # the client builds them without a look at them
        type(event).model_validate(event.model_dump())
    text = "Hello, wörld!"
    named = {event.type: event for event in events}
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(deltas) == text
    assert named["response.output_text.done"].text == text
    assert named["response.content_part.done"].part.text == text
    assert named["response.output_item.done"].item.content[0].text == text
    assert named["response.output_item.added"].item.content == []
    created, completed = named["response.created"].response, named["response.completed"].response
    assert (created.status, created.usage, created.output) == ("in_progress", None, [])
    assert (completed.status, completed.output_text) == ("completed", text)
    assert completed.usage.total_tokens == 19
    assert created.id == completed.id
    items = {event.item_id for event in events if hasattr(event, "item_id")}
    assert items == {completed.output[0].id} == {named["response.output_item.added"].item.id}


async def test_the_clients_own_accumulation_agrees(serve: Any, client_of: Any) -> None:
    """`client.responses.stream` puts the answer together from the events."""
    with serve() as live:
        async with (
            client_of(live) as client,
            client.responses.stream(model="scripted", input="hello") as stream,
        ):
            async for _ in stream:
                pass
            final = await stream.get_final_response()
    assert final.output_text == "Hello, wörld!"


async def test_a_cut_stream_ends_with_its_own_event(serve: Any, client_of: Any) -> None:
    with serve() as live:
        events = await collect(client_of(live), max_output_tokens=5)
    assert events[-1].type == "response.incomplete"
    assert events[-1].response.incomplete_details.reason == "max_output_tokens"
    assert events[-1].response.output_text == "Hello"


async def test_events_are_named_on_their_own_line_too(serve: Any) -> None:
    with serve() as live:
        answer = await live.chat(stream=True)
    assert answer.headers["content-type"].startswith("text/event-stream")
    for block in answer.text.removesuffix("\n\n").split("\n\n"):
        name, data = block.split("\n")
        assert name == f"event: {json.loads(data.removeprefix('data: '))['type']}"


async def test_conversations_reach_the_engine(serve: Any, scripted: Any) -> None:
    seen: list[Any] = []

    class Listens(scripted):
        def prompt(self, messages: Sequence[dict[str, Any]], images: Sequence[Any]) -> Prompt:
            seen.extend(messages)
            return Prompt(num_tokens=3, state=None)

    turns = [
        {"role": "user", "content": "hello"},
        {"type": "message", "role": "assistant", "id": "msg_1", "status": "completed",
         "content": [{"type": "output_text", "text": "Hi.", "annotations": []}]},
        {"role": "developer", "content": [{"type": "input_text", "text": "be"},
                                          {"type": "input_text", "text": "brief"}]},
    ]  # fmt: skip
    with serve(Listens(), defaults={"temperature": 0.3, "topP": 0.4, "maxTokens": 6}) as live:
        assert (await live.chat(input=turns, instructions="Be kind.")).status_code == 200
        (sampling,) = live.model.asked
    assert seen == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "Hi."},
        {"role": "system", "content": "be\nbrief"},
    ]
    assert (sampling.temperature, sampling.top_p, sampling.max_tokens) == (0.3, 0.4, 6)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": None}, "input"),
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": 5}, "input"),
        ({"input": ["a"]}, "input[0]"),
        ({"input": [{"role": "user", "content": ""}]}, "input"),
        ({"input": [{"role": "robot", "content": "a"}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": 5}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": []}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": ["a"]}]}, "input[0].content[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]},
         "input[0].content[0].text"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]},
         "input[0].content[0]"),
        ({"input": [{"type": "function_call_output", "output": "x"}]}, "input[0].call_id"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0].type"),
        ({"instructions": 5}, "instructions"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"max_output_tokens": 2**53}, "max_output_tokens"),
        ({"temperature": "1"}, "temperature"),
        ({"stream": "yes"}, "stream"),
        ({"store": "yes"}, "store"),
        ({"metadata": []}, "metadata"),
        ({"metadata": {"a": 5}}, "metadata"),
        ({"metadata": {str(n): "x" for n in range(17)}}, "metadata"),
        ({"metadata": {"a": "x" * 513}}, "metadata"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"background": True}, "background"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"include": ["message.output_text.logprobs"]}, "include"),
        ({"reasoning": {"effort": "low"}}, "reasoning"),
        ({"text": {"format": {"type": "json_object"}}}, "text"),
        ({"truncation": "auto"}, "truncation"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"top_k": 5}, "top_k"),
    ],
)  # fmt: skip
async def test_errors_name_the_field(serve: Any, fields: dict[str, Any], param: str) -> None:
    with serve() as live:
        error = await live.refused(**fields)
        assert live.model.asked == []
        assert live.gauge("modelfleet_in_flight") == 0
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param


async def test_a_template_that_refuses_is_the_inputs_fault(serve: Any) -> None:
    with serve() as live:
        error = await live.refused(input=[{"role": "assistant", "content": "x"}])
    assert (error["param"], "template" in error["message"]) == ("input", True)


async def test_the_error_for_long_inputs_has_length_and_limit(serve: Any, scripted: Any) -> None:
    with serve(scripted(context_length=6)) as live:
        error = await live.refused(input="hello!")
        assert (error["code"], error["param"]) == ("context_length_exceeded", "input")
        assert "6 tokens; at most 5" in error["message"]
    with serve(limits={"maxTextChars": 5}) as live:
        answer = await live.chat(instructions="x")
        assert answer.status_code == 413
        assert "6 characters; at most 5" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "fields",
    [{"previous_response_id": None, "tools": [], "tool_choice": "auto", "background": False},
     {"text": {"format": {"type": "text"}}, "truncation": "disabled", "store": False},
     {"service_tier": "auto", "metadata": None, "parallel_tool_calls": True, "include": []}],
)  # fmt: skip
async def test_no_op_fields_are_accepted(serve: Any, fields: dict[str, Any]) -> None:
    with serve() as live:
        assert (await live.chat(**fields)).status_code == 200
        assert live.gauge("modelfleet_ignored_fields_total") == 0
        assert (await live.chat(unheard_of=1)).status_code == 200
        assert live.gauge("modelfleet_ignored_fields_total") == 1


async def test_a_failure_during_a_stream_is_a_separate_event(
    serve: Any, scripted: Any, client_of: Any
) -> None:
    gate = threading.Semaphore(9)
    with serve(scripted(gate=gate, fail_after=5)) as live:
        events = await collect(client_of(live))
        await live.idle()
    assert events[-1].type == "response.failed"
    assert events[-1].response.status == "failed"
    assert events[-1].response.error.code == "server_error"
    assert events[-1].response.output_text == "Hello"
    assert "secret" not in str(events)


async def test_a_failure_before_the_first_token_is_a_500(serve: Any, scripted: Any) -> None:
    with serve(scripted(fail_after=0)) as live:
        for stream in (True, False):
            assert (await live.chat(stream=stream)).status_code == 500
        await live.idle()


@pytest.mark.parametrize("stream", [True, False])
async def test_a_disconnect_frees_the_engine(
    serve: Any, scripted: Any, until: Any, stream: bool
) -> None:
    with serve(scripted("a" * 500, gate=threading.Semaphore(stream))) as live:
        asking = asyncio.create_task(live.chat(stream=stream))
        await until(lambda: live.model.running)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        assert await asyncio.to_thread(live.model.running[0].cancelled.wait, 5)
        await live.idle()


async def test_an_engines_refusal_keeps_its_code(serve: Any, scripted: Any) -> None:
    class Refuses(scripted):
        def prompt(self, messages: Sequence[dict[str, Any]], images: Sequence[Any]) -> Prompt:
            raise BadRequest("No.", param="messages", code="its_own")

    with serve(Refuses()) as live:
        error = await live.refused()
    assert (error["message"], error["param"], error["code"]) == ("No.", "input", "its_own")


@pytest.mark.parametrize(
    "fields",
    [
        {"reasoning": {"effort": None}}, {"reasoning": {"effort": None, "summary": None}},
        {"reasoning": {"effort": "none"}}, {"text": {"verbosity": None}},
        {"text": {"format": None}},
        {"text": {"format": {"type": "text"}, "verbosity": None}}, {"tools": None},
        {"stream_options": {"include_obfuscation": None}}, {"max_output_tokens": 10**6},
    ],
)  # fmt: skip
async def test_no_op_members_are_accepted(serve: Any, fields: dict[str, Any]) -> None:
    with serve() as live:
        assert (await live.chat(**fields)).status_code == 200


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"reasoning": {"effort": "low"}}, "reasoning"),
        ({"text": {"verbosity": "low"}}, "text.verbosity"),
        ({"text": {"format": {"type": "json_object"}}}, "text"),
        ({"text": {"format": {"type": "json_schema", "schema": {}}}}, "text"),
        ({"text": {"format": {"type": "json_schema"}}}, "text.format.schema"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
    ],
)
async def test_unsupported_members_are_refused(
    serve: Any, fields: dict[str, Any], param: str
) -> None:
    with serve() as live:
        assert (await live.refused(**fields))["param"] == param


async def test_the_text_follows_a_format(serve: Any, scripted: Any) -> None:
    schema = {"type": "integer", "minimum": 3}
    form = {"type": "json_schema", "name": "n", "schema": schema, "strict": True}
    with serve(scripted(supports=frozenset({"response_format", "json_schema"}))) as live:
        answer = (await live.chat(text={"format": form})).json()
        (await live.chat(text={"format": {"type": "json_object"}})).raise_for_status()
    assert answer["text"]["format"] == form | {"description": None}
    first, second = (sampling.grammar for sampling in live.model.asked)
    assert json.loads(first.source) == schema
    assert (first.param, first.strict) == ("text.format.schema", True)
    assert (json.loads(second.source), second.strict) == ({"type": "object"}, False)


async def test_an_assistant_turn_may_have_no_text(serve: Any) -> None:
    turns = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": None}]
    with serve() as live:
        assert (await live.chat(input=turns)).json()["usage"]["input_tokens"] == 5


async def test_an_error_of_an_open_stream_is_an_event(serve: Any, scripted: Any) -> None:
    gate = threading.Semaphore(0)
    model = scripted(gate=gate, max_concurrent=1)
    with serve(model, heartbeat=0.02, limits={"requestTimeout": 0.1}) as live:
        answer = await live.chat(stream=True)
    *_, kind, data = [line for line in answer.text.splitlines() if line]
    assert answer.status_code == 200
    assert kind == "event: error"
    failed = json.loads(data.removeprefix("data: "))
    assert (failed["type"], failed["code"]) == ("error", "timeout")


async def test_an_adapter_is_selected_by_the_id_of_the_model(serve: Any) -> None:
    with serve(adapters=[{"name": "sql", "source": "file:///sql"}]) as live:
        answers = [await live.chat(model=name) for name in ("scripted:sql", "scripted")]
    assert [each.json()["model"] for each in answers] == ["scripted:sql", "scripted"]
    assert [each.adapter for each in live.model.asked] == ["sql", None]
