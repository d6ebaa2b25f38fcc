"""Chats with tools: their templates, and a scripted model for them."""

from __future__ import annotations

from typing import Any

HERMES = "{{ tools }}<tool_call></tool_call>"
QWEN3 = HERMES + "</think>{{ enable_thinking }}"
TOOLS = [
    {
        "type": "function",
        "function": {"name": name, "parameters": {"type": "object", "properties": {}}},
    }
    for name in ("f", "g")
]
ALL = frozenset({"tools", "response_format", "json_schema", "grammar"})
HELLO = {"role": "user", "content": "hello"}


def made(scripted: Any, text: str, template: str = QWEN3, **more: Any) -> Any:
    return scripted(text, supports=ALL, chat_template=template, **more)
