"""The helpers of Anthropic's client: streams, counted tokens, parsed messages, the tool runner."""

from __future__ import annotations

import os
from typing import Literal

import anthropic
from pydantic import BaseModel

MODEL = "smollm2"
client = anthropic.Anthropic(base_url=os.environ["BASE_URL"], api_key="none", max_retries=0)
ASK = [{"role": "user", "content": "What is the capital of France?"}]


GREEDY = {"temperature": 0}  # not a parameter of this client any more


class Capital(BaseModel):
    country: Literal["France", "Spain"]
    city: Literal["Paris", "Madrid"]


with client.messages.stream(model=MODEL, max_tokens=40, messages=ASK, extra_body=GREEDY) as stream:
    text = "".join(stream.text_stream)
    final = stream.get_final_message()
assert "Paris" in text, text
assert final.content[0].text == text
counted = client.messages.count_tokens(model=MODEL, messages=ASK)
assert counted.input_tokens == final.usage.input_tokens + final.usage.cache_read_input_tokens

begun = [*ASK, {"role": "assistant", "content": "The capital of France is"}]
rest = client.messages.create(model=MODEL, max_tokens=4, messages=begun, extra_body=GREEDY)
assert rest.content[0].text.startswith(" Paris"), rest

parsed = client.messages.parse(
    model=MODEL, max_tokens=100, messages=ASK, output_format=Capital, extra_body=GREEDY
)
assert isinstance(parsed.parsed_output, Capital)

seen: list[str] = []


@anthropic.beta_tool
def weather(city: Literal["Paris", "Madrid"]) -> str:
    """The weather in a city.

    Args:
        city: The name of the city.
    """
    seen.append(city)
    return "Sunny."


runner = client.beta.messages.tool_runner(
    model=MODEL, max_tokens=64, messages=ASK, tools=[weather], max_iterations=2,
    tool_choice={"type": "tool", "name": "weather", "disable_parallel_tool_use": True},
)  # fmt: skip
messages = list(runner)
assert seen, messages
assert messages[0].stop_reason == "tool_use"
