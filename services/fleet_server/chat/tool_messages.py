"""Validates the tool calls in `messages` and their results."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fleet_contract.api.tools import MAX_CALLS
from fleet_contract.errors import BadRequest
from fleet_server.protocols import Message
from fleet_web.request_body.json_body import MAX_DEPTH, parse_json


def read_calls(raw: Any, place: str) -> list[dict[str, Any]]:
    """The `tool_calls` of a message, whose arguments become objects. Raises BadRequest."""
    if not isinstance(raw, list):
        raise invalid(place, "must be a list of tool calls")
    if len(raw) > MAX_CALLS:
        raise invalid(place, f"has {len(raw)} tool calls; at most {MAX_CALLS} are accepted")
    return [_call(entry, f"{place}[{index}]") for index, entry in enumerate(raw)]


def _call(entry: Any, place: str) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise invalid(place, "must be an object")
    if entry.get("type", "function") != "function":
        raise invalid(f"{place}.type", "must be 'function'")
    function = entry.get("function")
    if not isinstance(function, dict):
        raise invalid(f"{place}.function", "must be an object")
    name = non_empty(function.get("name"), f"{place}.function.name")
    return {
        "id": non_empty(entry.get("id"), f"{place}.id"),
        "type": "function",
        "function": {
            "name": name,
            "arguments": read_arguments(function.get("arguments"), f"{place}.function.arguments"),
        },
    }


def read_arguments(text: Any, place: str) -> dict[str, Any]:
    """The arguments of a call, the text of a JSON object within the limits of a body; empty for an
    empty text."""
    if not isinstance(text, str):
        raise invalid(place, "must be a string")
    if not text.strip():
        return {}
    try:
        return parse_json(text.encode())
    except BadRequest:
        raise BadRequest(
            f"'{place}' must be the text of a JSON object of at most {MAX_DEPTH} levels.",
            param=place,
            code="invalid_arguments",
        ) from None


def non_empty(text: Any, place: str) -> str:
    if not isinstance(text, str) or not text:
        raise invalid(place, "must be a string that is not empty")
    return text


def name_results(messages: Iterable[Message]) -> None:
    """Give results of tools the name of the function that was called: some templates show it."""
    names: dict[str, str] = {}
    for message in messages:
        for each in message.get("tool_calls", ()):
            names[each["id"]] = each["function"]["name"]
        if message["role"] == "tool" and (name := names.get(message["tool_call_id"])):
            message.setdefault("name", name)


def uses_tools(messages: Iterable[Message]) -> bool:
    """Whether there are calls or results of tools."""
    return any(message["role"] == "tool" or "tool_calls" in message for message in messages)


def invalid(place: str, why: str) -> BadRequest:
    """The error for a value that is not of the documented form."""
    return BadRequest(f"'{place}' {why}.", param=place, code="invalid_value")
