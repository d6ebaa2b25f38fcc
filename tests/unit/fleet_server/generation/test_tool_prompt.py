"""Tools as text, for templates that have none."""

from __future__ import annotations

import json
from typing import Any

from fleet_server.generation.tool_prompt import with_tools

DEFINITION = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
USER = {"role": "user", "content": "hello"}
SYSTEM = {"role": "system", "content": "Be brief."}
TURN: dict[str, Any] = {
    "role": "assistant", "content": "",
    "tool_calls": [
        {"id": "1", "type": "function", "function": {"name": "f", "arguments": {"a": "é"}}},
        {"id": "2", "type": "function", "function": {"name": "g", "arguments": {}}},
    ],
}  # fmt: skip
RESULTS = [
    {"role": "tool", "tool_call_id": "1", "name": "f", "content": "one"},
    {"role": "tool", "tool_call_id": "2", "content": "two"},
]


def test_messages_without_tools_are_unchanged() -> None:
    assert with_tools([SYSTEM, USER], []) == [SYSTEM, USER]


def test_the_definitions_precede_the_system_message() -> None:
    system, user = with_tools([SYSTEM, USER], [DEFINITION])
    assert user == USER
    assert json.dumps(DEFINITION["function"]) in system["content"]
    assert system["content"].endswith("\n\nBe brief.")


def test_without_a_system_message_they_precede_the_first_one_of_the_user() -> None:
    messages = with_tools([USER, {"role": "assistant", "content": "x"}, USER], [DEFINITION])
    assert [message["role"] for message in messages] == ["user", "assistant", "user"]
    assert messages[0]["content"].endswith("\n\nhello")
    assert messages[2] == USER
    (only,) = with_tools([{"role": "assistant", "content": "x"}], [DEFINITION])[:1]
    assert only["role"] == "system"


def test_parts_are_kept() -> None:
    image = {"type": "image"}
    (message,) = with_tools([{"role": "user", "content": [image]}], [DEFINITION])
    assert message["content"][1] == image
    assert '"name": "f"' in message["content"][0]["text"]


def test_calls_and_results_become_text() -> None:
    messages = with_tools([USER, TURN, *RESULTS, USER, RESULTS[0]], [])
    assert [message["role"] for message in messages] == [
        "user", "assistant", "user", "user", "user",
    ]  # fmt: skip
    calls = [json.loads(line) for line in messages[1]["content"].splitlines()]
    assert calls == [{"name": "f", "arguments": {"a": "é"}}, {"name": "g", "arguments": {}}]
    assert "tool_calls" not in messages[1]
    assert messages[2]["content"] == "Result of f:\none\n\nResult of the function:\ntwo"
    assert messages[4]["content"] == "Result of f:\none"
    text = with_tools([{**TURN, "content": "Let me see."}], [])[0]["content"]
    assert text.startswith("Let me see.\n{")
