"""Conversations of Anthropic's API as the engines get them."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from fleet_contract.errors import BadRequest, TooLarge, UnsupportedParameter
from fleet_contract.spec import ModelSpec
from fleet_server.messages.blocks import MessageReader

PIXEL = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
USE = {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}}


def text(value: str) -> dict[str, Any]:
    return {"type": "text", "text": value}


def user(*blocks: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def model(*blocks: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def read(*messages: Any, system: Any = None, **spec: Any) -> list[dict[str, Any]]:
    reader = MessageReader(ModelSpec.model_validate({"model": "m"} | spec))
    return reader.read(messages, system)


def refusal(*messages: Any, system: Any = None, **spec: Any) -> BadRequest:
    with pytest.raises((BadRequest, TooLarge)) as caught:
        read(*messages, system=system, **spec)
    return caught.value  # type: ignore[return-value]


def test_instructions_come_first() -> None:
    for system in ("Be brief.", [text("Be brief.")]):
        assert read(user(text("Hi")), system=system) == [
            {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"},
        ]  # fmt: skip
    assert read(user(text("Hi")), system=[text("a"), text("b")])[0]["content"] == "a\nb"
    assert len(read(user(text("Hi")), system="")) == 1


def test_consecutive_messages_of_one_role_become_one() -> None:
    turns = (user(text("a")), user(text("b"), text("c")), model(text("d")), model(text("e")))
    assert read(*turns) == [
        {"role": "user", "content": "a\nb\nc"}, {"role": "assistant", "content": "d\ne"},
    ]  # fmt: skip


def test_instructions_in_the_middle_keep_their_place() -> None:
    found = read(user(text("a")), {"role": "system", "content": "Be brief."}, user(text("b")))
    assert [message["role"] for message in found] == ["user", "system", "user"]
    assert found[1]["content"] == "Be brief."


def test_calls_and_results() -> None:
    found = read(
        user(text("Go")),
        model({"type": "thinking", "thinking": "Hm.", "signature": ""},
              {"type": "redacted_thinking", "data": "x"}, text("Ok."), USE),
        user({"type": "tool_result", "tool_use_id": "t1", "content": [text("sunny"), text("warm")],
              "is_error": False}, text("And?")),
    )  # fmt: skip
    assert found[1] == {
        "role": "assistant", "content": "Ok.", "reasoning_content": "Hm.",
        "tool_calls": [
            {"id": "t1", "type": "function", "function": {"name": "f", "arguments": {"a": 1}}}
        ],
    }  # fmt: skip
    assert found[2:] == [
        {"role": "tool", "tool_call_id": "t1", "content": "sunny\nwarm", "name": "f"},
        {"role": "user", "content": "And?"},
    ]  # fmt: skip


def test_messages_of_the_model_in_a_row_keep_all_their_thoughts() -> None:
    def thought(words: str) -> dict[str, Any]:
        return {"type": "thinking", "thinking": words, "signature": ""}

    found = read(
        user(text("Go")),
        model(thought("A."), text("One.")),
        model(text("Two.")),
        model(thought("B."), thought("C."), USE),
    )
    assert len(found) == 2
    assert found[1]["content"] == "One.\nTwo."
    assert found[1]["reasoning_content"] == "A.\nB.\nC."
    assert len(found[1]["tool_calls"]) == 1


def test_results_that_are_errors_are_marked() -> None:
    result = {"type": "tool_result", "tool_use_id": "t1", "content": "timeout", "is_error": True}
    assert read(user(text("Go")), model(USE), user(result))[-1]["content"] == "Error: timeout"


@pytest.mark.parametrize("content", [None, [], "", "text"])
def test_results_may_be_empty_or_a_string(content: Any) -> None:
    result = {"type": "tool_result", "tool_use_id": "t1", "content": content}
    assert read(user(text("Go")), model(USE), user(result))[-1]["content"] == (content or "")


def test_images_are_collected_with_their_places() -> None:
    reader = MessageReader(ModelSpec(model="m", vision=True))
    found = reader.read(
        [
            user(text("See"), PIXEL),
            model(USE),
            user({"type": "tool_result", "tool_use_id": "t1", "content": [text("x"), PIXEL]},
                 {"type": "image", "source": {"type": "url", "url": "https://a/b.png"}}),
        ],
        None,
    )  # fmt: skip
    assert found[0]["content"] == [text("See"), {"type": "image"}]
    assert found[2]["content"] == "x"
    assert found[3] == {"role": "user", "content": [{"type": "image"}, {"type": "image"}]}
    data = "data:image/png;base64," + base64.b64encode(b"hi").decode()
    assert [(each.url, each.place) for each in reader.images] == [
        (data, "messages[0].content[1].source"),
        (data, "messages[2].content[0].content[1].source"),
        ("https://a/b.png", "messages[2].content[1].source"),
    ]


def test_documents_of_text_are_text() -> None:
    source = {"type": "text", "media_type": "text/plain", "data": "All is well."}
    block = {"type": "document", "source": source, "title": "Report", "context": None}
    assert read(user(block))[0]["content"] == "Report\nAll is well."


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ("x", "messages[0]"),
        ({"role": "tool", "content": "x"}, "messages[0].role"),
        ({"role": "system", "content": [PIXEL]}, "messages[0].content[0].type"),
        ({"role": "user"}, "messages[0].content"),
        ({"role": "user", "content": {}}, "messages[0].content"),
        (user("x"), "messages[0].content[0]"),
        (user({"type": 5}), "messages[0].content[0].type"),
        (user({"type": "text", "text": None}), "messages[0].content[0].text"),
        (user({"type": "search_result"}), "messages[0].content[0].type"),
        (user(PIXEL), "messages[0].content[0]"),
        (user({"type": "tool_result"}), "messages[0].content[0].tool_use_id"),
        (user({"type": "tool_result", "tool_use_id": "t", "content": 5}),
         "messages[0].content[0].content"),
        (user({"type": "document", "source": {"type": "base64", "data": "x"}}),
         "messages[0].content[0]"),
        (user({"type": "document", "source": None}), "messages[0].content[0].source"),
        (model({"type": "tool_use", "id": "1", "name": "f"}), "messages[0].content[0].input"),
        (model({"type": "tool_use", "name": "f", "input": {}}), "messages[0].content[0].id"),
        (model({"type": "thinking", "thinking": 5}), "messages[0].content[0].thinking"),
        (model(PIXEL), "messages[0].content[0].type"),
        (model(*[USE] * 129), "messages[0].content"),
        (user(), "messages"),
    ],
)  # fmt: skip
def test_errors_name_the_place(message: Any, param: str) -> None:
    assert refusal(message).param == param


def test_a_refused_part_names_what_takes_it() -> None:
    assert "GET /v1/models" in str(refusal(user(PIXEL)))
    pdf = {"type": "document", "source": {"type": "base64", "data": "x"}}
    error = refusal(user(pdf))
    assert isinstance(error, UnsupportedParameter)
    assert "Send the text of a file" in error.message


def test_instructions_are_text() -> None:
    assert refusal(user(text("x")), system=[PIXEL], vision=True).param == "system[0].type"
    assert refusal(user(text("x")), system=5).param == "system"


def test_sizes_are_bounded() -> None:
    few = {"vision": True, "limits": {"maxImages": 1}}
    assert "2 images" in str(refusal(user(PIXEL, PIXEL), **few))
    assert isinstance(refusal(user(text("x" * 20)), limits={"maxTextChars": 10}), TooLarge)
    turns = [{"role": role, "content": "a"} for role in ("user", "assistant")] * 5001
    assert "10002 messages" in str(refusal(*turns))
