"""The Responses API of the running fleet with the official client."""

from __future__ import annotations

from typing import Any

import openai
import pytest

MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
FRANCE = "What is the capital of France?"


async def respond(client: openai.AsyncOpenAI, given: Any = FRANCE, **fields: Any) -> Any:
    parameters = {"model": MODEL, "temperature": 0, "max_output_tokens": 60} | fields
    return await client.responses.create(input=given, **parameters)


async def test_a_question_as_in_chat(client: openai.AsyncOpenAI) -> None:
    answer = await respond(client)
    chat = await client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": FRANCE}], temperature=0, max_tokens=60
    )
    assert "Paris" in answer.output_text
    assert answer.output_text == chat.choices[0].message.content
    assert (answer.status, answer.model, answer.store) == ("completed", MODEL, False)
    assert answer.usage.input_tokens == chat.usage.prompt_tokens
    assert answer.usage.output_tokens == chat.usage.completion_tokens


async def test_a_stream_equals_its_final_event(client: openai.AsyncOpenAI) -> None:
    events = [e async for e in await respond(client, "List the days of the week.", stream=True)]
    deltas = [e.delta for e in events if e.type == "response.output_text.delta"]
    text = events[-1].response.output_text
    assert "".join(deltas) == text
    assert len(deltas) > 10
    assert "Tuesday" in text
    assert events[0].type == "response.created"
    assert events[-1].type == "response.incomplete"
    assert events[-1].response.usage.output_tokens == 60
    assert [event.sequence_number for event in events] == list(range(len(events)))


async def test_a_conversation_with_instructions_is_continued(client: openai.AsyncOpenAI) -> None:
    first = await respond(client)
    turns = [
        {"role": "user", "content": FRANCE},
        *[item.model_dump(exclude_none=True) for item in first.output],
        {"role": "user", "content": [{"type": "input_text", "text": "And of Italy?"}]},
    ]
    answer = await respond(client, turns, instructions="Answer in one word.")
    assert "Rome" in answer.output_text
    assert answer.usage.input_tokens > first.usage.total_tokens


@pytest.mark.parametrize("stream", [True, False])
async def test_usage_is_counted_by_the_router(
    client: openai.AsyncOpenAI, metric: Any, until: Any, stream: bool
) -> None:
    async def used(kind: str) -> float:
        total: float = await metric(
            "modelfleet_router_tokens_total", none=0, model=MODEL, kind=kind
        )
        return total

    before = await used("prompt"), await used("completion")
    made = await respond(client, max_output_tokens=7, stream=stream)
    usage = [event async for event in made][-1].response.usage if stream else made.usage
    assert usage.output_tokens == 7
    expected = before[0] + usage.input_tokens, before[1] + usage.output_tokens

    async def counted() -> bool:
        return (await used("prompt"), await used("completion")) == expected

    await until(counted)


async def test_stored_responses_are_rejected(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await respond(client, previous_response_id="resp_1")
    assert caught.value.param == "previous_response_id"
