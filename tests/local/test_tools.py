"""Tools of the running fleet with the official client: calls that a grammar enforces."""

from __future__ import annotations

import json
from typing import Any, Literal

import openai
import pytest
from openai.types.chat import ChatCompletionToolParam
from pydantic import BaseModel, Field

MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
ASK: Any = [{"role": "user", "content": "What is the weather in Paris?"}]
WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"$ref": "#/$defs/city"},
                "unit": {"enum": ["celsius", "fahrenheit"]},
                "days": {"type": "integer", "minimum": 1, "maximum": 9},
            },
            "required": ["city", "unit", "days"],
            "$defs": {"city": {"type": "string", "maxLength": 40}},
        },
    },
}
CLOCK: ChatCompletionToolParam = {"type": "function", "function": {"name": "get_time"}}
NAMED: Any = {"type": "function", "function": {"name": "get_weather"}}


@pytest.fixture(scope="session")
def fleet(chat_fleet: Any) -> Any:
    """Each engine's."""
    return chat_fleet


async def create(client: openai.AsyncOpenAI, **fields: Any) -> Any:
    given: Any = {"messages": ASK, "tools": [WEATHER, CLOCK], "max_tokens": 300, "temperature": 0}
    return await client.chat.completions.create(**{"model": MODEL, **given, **fields})


def check(arguments: dict[str, Any]) -> None:
    assert set(arguments) == {"city", "unit", "days"}
    assert arguments["unit"] in ("celsius", "fahrenheit")
    assert 1 <= arguments["days"] <= 9
    assert 0 < len(arguments["city"]) <= 40


async def test_a_named_tool_is_called_as_its_schema_wants(client: openai.AsyncOpenAI) -> None:
    answer = await create(client, tool_choice=NAMED)
    (choice,) = answer.choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    (call,) = choice.message.tool_calls
    assert call.type == "function"
    assert call.function.name == "get_weather"
    check(json.loads(call.function.arguments))
    assert answer.usage.completion_tokens > 5


@pytest.mark.sense
async def test_a_stream_has_the_same_call(client: openai.AsyncOpenAI) -> None:
    whole = await create(client, tool_choice=NAMED)
    chunks = [chunk async for chunk in await create(client, tool_choice=NAMED, stream=True)]
    deltas = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or []]
    assert deltas[0].id.startswith("call_")
    assert deltas[0].function.name == "get_weather"
    assert all(delta.id is None and delta.function.name is None for delta in deltas[1:])
    assert {delta.index for delta in deltas} == {0}
    assert len(deltas) > 5
    arguments = "".join(delta.function.arguments for delta in deltas)
    assert arguments == whole.choices[0].message.tool_calls[0].function.arguments
    assert chunks[-1].choices[0].finish_reason == "tool_calls"
    assert not any(chunk.choices[0].delta.content for chunk in chunks)


async def test_one_of_the_tools_is_called_if_one_is_required(client: openai.AsyncOpenAI) -> None:
    answer = await create(client, tool_choice="required", parallel_tool_calls=False)
    (choice,) = answer.choices
    assert choice.finish_reason == "tool_calls"
    (call,) = choice.message.tool_calls
    arguments = json.loads(call.function.arguments)
    if call.function.name == "get_weather":
        check(arguments)
    else:
        assert (call.function.name, arguments) == ("get_time", {})


@pytest.mark.sense
async def test_a_call_that_is_cut_off_is_text(client: openai.AsyncOpenAI) -> None:
    (choice,) = (await create(client, tool_choice=NAMED, max_tokens=14)).choices
    assert choice.finish_reason == "length"
    assert choice.message.tool_calls is None
    assert choice.message.content.replace(" ", "").startswith('{"name":"get_weather"')


@pytest.mark.sense
async def test_results_of_tools_reach_the_model(client: openai.AsyncOpenAI) -> None:
    call = (await create(client, tool_choice=NAMED)).choices[0].message
    result = {"role": "tool", "tool_call_id": call.tool_calls[0].id, "content": "Rain, 9 degrees."}
    messages = [*ASK, call.model_dump(exclude_none=True), result]
    answer = await create(client, messages=messages, tool_choice="none", max_tokens=40)
    (choice,) = answer.choices
    assert choice.message.content
    assert choice.message.tool_calls is None
    without = await create(client, messages=messages[:1], tool_choice="none", max_tokens=40)
    assert answer.usage.prompt_tokens > without.usage.prompt_tokens + 20


async def test_the_model_may_answer_without_a_tool(client: openai.AsyncOpenAI) -> None:
    (choice,) = (await create(client, tools=[CLOCK], max_tokens=20)).choices
    assert choice.message.content or choice.message.tool_calls


class Booking(BaseModel):
    """Books a table."""

    guests: int = Field(ge=1, le=6)
    area: Literal["inside", "terrace"]


@pytest.mark.sense
async def test_the_clients_own_tools(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.parse(
        model=MODEL,
        messages=[{"role": "user", "content": "A table for two on the terrace, please."}],
        tools=[openai.pydantic_function_tool(Booking)],
        tool_choice={"type": "function", "function": {"name": "Booking"}},
        max_tokens=200,
    )
    calls = answer.choices[0].message.tool_calls
    assert calls is not None
    booking = calls[0].function.parsed_arguments
    assert isinstance(booking, Booking)


@pytest.mark.sense
async def test_responses_call_tools_too(client: openai.AsyncOpenAI) -> None:
    function: Any = WEATHER["function"]
    given: Any = {
        "model": MODEL, "input": "What is the weather in Paris?", "temperature": 0,
        "tools": [{"type": "function", "strict": False, **function}], "max_output_tokens": 120,
        "tool_choice": {"type": "function", "name": "get_weather"},
    }  # fmt: skip
    answer: Any = await client.responses.create(**given)
    (call,) = answer.output
    check(json.loads(call.arguments))
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "Rain."}
    history = [{"role": "user", "content": given["input"]}, call.to_dict(), result]
    after: Any = await client.responses.create(**{**given, "input": history, "tool_choice": "none"})
    assert after.output_text
