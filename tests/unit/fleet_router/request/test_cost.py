"""The cost of requests and the hash of their leading texts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fleet_router.request import cost
from fleet_router.request.cost import MAX_UNITS, RequestCost, of_upload
from fleet_router.request.fields import may_have_images, read_fields

SIZE = 200


def of_json(body: dict[str, Any], size: int) -> RequestCost:
    return cost.of_json(read_fields(json.dumps(body).encode()), size)


def chat(*contents: Any, **more: Any) -> dict[str, Any]:
    roles = ("system", "user", "assistant", "user")
    messages = [{"role": r, "content": c} for r, c in zip(roles, contents, strict=False)]
    return {"messages": messages, **more}


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def test_more_work_weighs_more() -> None:
    short = of_json(chat("be brief", "hi", max_tokens=16), SIZE).units
    long = of_json(chat("be brief", "hi", max_tokens=2000), SIZE).units
    read = of_json(chat("be brief", "hi", max_tokens=16), 100_000).units
    seen = of_json(chat("see", [image("data:image/png;base64,aaaa")], max_tokens=16), SIZE).units
    assert short < seen < long
    assert short < read
    brief, wordy = ({"input": "hi", "max_output_tokens": most} for most in (16, 2000))
    assert of_json(brief, SIZE).units < of_json(wordy, SIZE).units
    assert of_json({"input": ["a"] * 1000}, 4000).units > of_json({"input": "a"}, 20).units
    assert of_upload(25_000_000).units > of_upload(100_000).units > 1
    assert of_json(chat("x", "y", max_tokens=10**9), 10**9).units == MAX_UNITS


MESSAGE = {"messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.parametrize(
    ("body", "units"),
    [
        # 1 for the request, 1 for 2 KiB of text, 1 for each 128 new tokens, 2 for each image.
        ({"input": "x"}, 2),
        ({"prompt": "x", "max_tokens": 128}, 3),
        ({"prompt": ["x", "y"], "max_tokens": 128}, 4),
        ({"prompt": [[1, 2], [3], [4]], "max_tokens": 128, "n": 2}, 8),
        ({"prompt": [1, 2, 3], "max_tokens": 128, "n": 0}, 3),
        ({"prompt": [], "max_tokens": 128, "n": True}, 3),
        ({"prompt": ["x"] * 5000, "max_tokens": 128, "n": 10**6}, MAX_UNITS),
        ({"input": "x", "max_output_tokens": 64}, 2.5),
        (MESSAGE, 4),
        (MESSAGE | {"max_tokens": 0}, 4),
        (MESSAGE | {"max_tokens": True}, 4),
        (MESSAGE | {"n_predict": 1}, 2 + 1 / 128),
        (MESSAGE | {"max_completion_tokens": 128, "max_tokens": 9}, 3),
        (MESSAGE | {"max_tokens": 10**9}, 2 + 100_000 / 128),
        (chat("see", [image("")] * 3, max_tokens=128), 9 - 3 * len('{"url": ""}') / 2048),
    ],
)
def test_units(body: dict[str, Any], units: float) -> None:
    assert of_json(body, 2048).units == pytest.approx(units)


@pytest.mark.parametrize(
    ("length", "units"), [(None, 1), (0, 1), (512 * 1024, 2), (10**12, MAX_UNITS)]
)
def test_units_of_an_upload(length: int | None, units: float) -> None:
    """One more for each half minute of compressed audio."""
    assert of_upload(length) == RequestCost(False, units, b"", 0, 0)


def test_the_bytes_of_an_image_are_not_read_as_text() -> None:
    url = "data:image/png;base64," + "a" * 4_000_000
    one = of_json(chat("see", [image(url)]), len(url) + 200).units
    two = of_json(chat("see", [image("data:,")]), 200).units
    assert one == pytest.approx(two, rel=0.05)


def test_turns_of_one_conversation_share_a_prefix() -> None:
    first = of_json(chat("sys", "question"), SIZE).prefix
    later = of_json(chat("sys", "question", "answer", "and then?"), 3 * SIZE).prefix
    assert first == later != b""


def test_turns_of_responses_share_a_prefix() -> None:
    turns = chat("sys", "question", "answer", "and then?")["messages"]
    first, later = ({"input": turns[:end], "instructions": "brief"} for end in (2, 4))
    assert of_json(first, SIZE).prefix == of_json(later, SIZE).prefix != b""
    assert of_json(first | {"instructions": "wordy"}, SIZE).prefix != of_json(first, SIZE).prefix
    assert of_json({"input": ["a text", "another"]}, SIZE).prefix == b""


@pytest.mark.parametrize(
    "other",
    [
        chat("sys", "another question"),
        chat("other", "question"),
        chat("sys", "question", adapter="lora-1"),
        chat("sys", [{"type": "text", "text": "question"}, image("data:,a")]),
    ],
)
def test_other_leading_texts_have_another_prefix(other: dict[str, Any]) -> None:
    assert of_json(other, SIZE).prefix != of_json(chat("sys", "question"), SIZE).prefix


def test_the_prefix_depends_on_the_whole_image() -> None:
    one, same, other = (
        of_json(chat("see", [image("data:image/png;base64," + "a" * 5000 + end)]), SIZE).prefix
        for end in ("b", "b", "c")
    )
    assert one == same != other


@pytest.mark.parametrize(
    "body",
    [
        {}, {"messages": None}, {"messages": "x"}, {"messages": [1, None]},
        {"messages": [{"content": {"a": 1}}]}, {"messages": [{"content": [1, {"text": 2}]}]},
        {"messages": [{"role": ["x"], "content": [{"image_url": 5}]}]},
        {"messages": [], "max_tokens": "many", "stream": "yes"}, {"input": [1, 2]},
        {"prompt": ["a", 5], "n": "2"}, {"prompt": {}, "n": []},
    ],
)  # fmt: skip
def test_invalid_bodies_are_left_to_the_server(body: dict[str, Any]) -> None:
    found = of_json(body, SIZE)
    assert found.units >= 1
    assert not found.streams
    assert found.images == 0


def test_only_true_is_a_stream() -> None:
    assert of_json({"stream": True}, SIZE).streams
    assert not of_json({"stream": 1}, SIZE).streams


def of_anthropic(data: str) -> dict[str, Any]:
    source = {"type": "base64", "media_type": "image/png", "data": data}
    return {"type": "image", "source": source}


@pytest.mark.parametrize(
    "body",
    [
        chat("see", [of_anthropic("aaaa"), of_anthropic("bbbb")]),
        chat("see", [{"type": "tool_result", "content": [of_anthropic("a"), of_anthropic("b")]}]),
        {"input": [{"role": "user", "content": [
            {"type": "input_image", "image_url": "data:,a"}] * 2}]},
    ],
    ids=["messages", "results of tools", "responses"],
)  # fmt: skip
def test_images_of_other_formats_count(body: dict[str, Any]) -> None:
    assert may_have_images(json.dumps(body).encode())
    found = of_json(body, SIZE)
    assert found.images == 2
    assert found.prompt_bytes < SIZE


def test_documents_are_no_images() -> None:
    document = {"type": "document", "source": {"type": "text", "data": "x"}}
    assert of_json(chat("see", [document]), SIZE).images == 0


def test_the_prefix_depends_on_anthropics_instructions() -> None:
    first, second = (of_json(MESSAGE | {"system": system}, SIZE).prefix for system in "ab")
    assert first != second
    assert first != of_json(MESSAGE, SIZE).prefix
