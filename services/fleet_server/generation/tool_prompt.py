"""Tools for models whose chat template has none: as text in the prompt.

The definitions are put in front of the first message, calls of the history are written as the JSON
that the model shall write, and their results become messages of the user.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from fleet_server.protocols import Message

INTRODUCTION = """You can call functions. Their definitions are:
{definitions}
To call one, respond only with JSON in this form, without any other text:
{{"name": "<name of the function>", "arguments": {{<arguments as JSON>}}}}"""


def with_tools(
    messages: Sequence[Message], definitions: Sequence[Mapping[str, Any]]
) -> list[Message]:
    """Messages without tools in which the tools are text."""
    plain: list[Message] = []
    results: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            results.append(_result(message))
            continue
        _add_results(plain, results)
        plain.append(_without_calls(message))
    _add_results(plain, results)
    if definitions:
        _introduce(plain, _introduction(definitions))
    return plain


def _introduction(definitions: Sequence[Mapping[str, Any]]) -> str:
    lines = (json.dumps(each["function"], ensure_ascii=False) for each in definitions)
    return INTRODUCTION.format(definitions="\n".join(lines))


def _introduce(messages: list[Message], text: str) -> None:
    """Put a text in front of the system message, or else of the first message of the user."""
    places = {message["role"]: place for place, message in reversed(list(enumerate(messages)))}
    place = places.get("system", places.get("user"))
    if place is None:
        messages.insert(0, {"role": "system", "content": text})
        return
    content = messages[place]["content"]
    if isinstance(content, str):
        joined: Any = f"{text}\n\n{content}" if content else text
    else:
        joined = [{"type": "text", "text": text}, *content]
    messages[place] = {**messages[place], "content": joined}


def _without_calls(message: Message) -> Message:
    calls = message.get("tool_calls")
    kept = {key: value for key, value in message.items() if key != "tool_calls"}
    if not calls:
        return kept
    lines = [json.dumps(_call(each["function"]), ensure_ascii=False) for each in calls]
    content = message["content"]
    text = "\n".join(lines)
    if isinstance(content, str):
        return {**kept, "content": f"{content}\n{text}" if content else text}
    return {**kept, "content": [*content, {"type": "text", "text": text}]}


def _call(function: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": function["name"], "arguments": function["arguments"]}


def _result(message: Message) -> str:
    return f"Result of {message.get('name', 'the function')}:\n{message['content']}"


def _add_results(messages: list[Message], results: list[str]) -> None:
    """Add the results of one turn as one message: many templates want users and models to
    alternate."""
    if results:
        messages.append({"role": "user", "content": "\n\n".join(results)})
        results.clear()
