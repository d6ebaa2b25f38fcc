"""The helpers of OpenAI's client: parsed chats and responses, streams, function tools."""

from __future__ import annotations

import os
from typing import Literal

import openai
from pydantic import BaseModel, Field

MODEL = "smollm2"
client = openai.OpenAI(base_url=os.environ["BASE_URL"] + "/v1", api_key="none", max_retries=0)


class Capital(BaseModel):
    country: Literal["France", "Spain"]
    size: Literal["small", "large"]
    rivers: int = Field(ge=0, le=9)
    name: str = Field(max_length=12)


class Weather(BaseModel):
    """The weather in a city."""

    city: Literal["Paris", "Madrid"]


ASK = [{"role": "user", "content": "Describe the capital of France."}]
parsed = client.chat.completions.parse(
    model=MODEL, messages=ASK, response_format=Capital, max_tokens=100, temperature=0
)
assert isinstance(parsed.choices[0].message.parsed, Capital)

tool = openai.pydantic_function_tool(Weather)
called = client.chat.completions.parse(
    model=MODEL, messages=ASK, tools=[tool], tool_choice="required", max_tokens=100, temperature=0
)
call, *_ = called.choices[0].message.tool_calls or []
assert isinstance(call.function.parsed_arguments, Weather)

with client.chat.completions.stream(
    model=MODEL, messages=ASK, response_format=Capital, max_tokens=100, temperature=0
) as stream:
    kinds = {event.type for event in stream}
    final = stream.get_final_completion()
assert {"content.delta", "content.done"} <= kinds
assert isinstance(final.choices[0].message.parsed, Capital)

answer = client.responses.parse(
    model=MODEL, input="Describe Paris.", text_format=Capital, max_output_tokens=100, temperature=0
)
assert isinstance(answer.output_parsed, Capital)

with client.responses.stream(
    model=MODEL, input="Describe Paris.", text_format=Capital, max_output_tokens=100, temperature=0
) as events:
    for _ in events:
        pass
    assert isinstance(events.get_final_response().output_parsed, Capital)
