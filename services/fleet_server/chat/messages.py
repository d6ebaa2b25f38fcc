"""Validates the `messages` of a chat request and converts them for the engines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, get_args

from fleet_contract.api.chat import Role
from fleet_contract.errors import BadRequest, TooLarge
from fleet_contract.spec import ModelSpec
from fleet_server.chat.parts import INSTEAD, refused_part
from fleet_server.chat.tool_messages import invalid, name_results, non_empty, read_calls
from fleet_server.protocols import Message

ROLES: dict[str, str] = {role: role for role in get_args(Role)} | {"developer": "system"}
NO_CALLS: tuple[Any, ...] = (None, [])
NO_TEXT = (None, "")
REASONING = ("reasoning_content", "reasoning")
"""Names of earlier reasoning: clients return it under the one that they read."""


MOST_MESSAGES = 10_000
"""In one request. OpenVINO GenAI keeps the interpreter lock for a prompt: 0.05 ms for each."""


def check_number(messages: Sequence[Any], param: str) -> None:
    """Raises BadRequest for more messages than are accepted."""
    if len(messages) > MOST_MESSAGES:
        raise BadRequest(
            f"{param!r} has {len(messages)} messages; at most {MOST_MESSAGES} are accepted.",
            param=param,
        )


def read_messages(raw: Sequence[Any], spec: ModelSpec) -> tuple[list[Message], list[str]]:
    """Messages for the engine, and the image URLs in them, in order.

    The format is that of fleet_contract.api.chat, checked here rather than by pydantic for errors
    whose `param` names the place. `developer` becomes `system`. Raises BadRequest.
    """
    check_number(raw, "messages")
    images: list[str] = []
    messages = [_message(message, index, spec, images) for index, message in enumerate(raw)]
    if len(images) > spec.limits.max_images:
        raise BadRequest(
            f"The messages contain {len(images)} images; at most {spec.limits.max_images} are "
            f"accepted.",
            param="messages",
        )
    name_results(messages)
    number = num_chars(messages)
    if number == 0 and not images:
        raise BadRequest("The messages are empty.", param="messages", code="empty_input")
    if number > spec.limits.max_text_chars:
        raise TooLarge(
            f"The messages have {number} characters; at most {spec.limits.max_text_chars} are "
            f"accepted.",
            param="messages",
        )
    return messages, images


def _message(message: Any, index: int, spec: ModelSpec, images: list[str]) -> Message:
    place = f"messages[{index}]"
    if not isinstance(message, dict):
        raise invalid(place, "must be an object")
    role = message.get("role")
    if not isinstance(role, str) or role not in ROLES:
        raise invalid(f"{place}.role", f"must be one of {', '.join(ROLES)}")
    content = _content(content_of(message), f"{place}.content", spec, images)
    found: Message = {"role": ROLES[role], "content": content}
    if role == "assistant":
        if message.get("tool_calls") not in NO_CALLS:
            found["tool_calls"] = read_calls(message["tool_calls"], f"{place}.tool_calls")
        for name in REASONING:
            if message.get(name) not in NO_TEXT:
                found["reasoning_content"] = non_empty(message[name], f"{place}.{name}")
                break
    if role == "tool":
        found["tool_call_id"] = non_empty(message.get("tool_call_id"), f"{place}.tool_call_id")
        if not isinstance(content, str):
            if any(part["type"] != "text" for part in content):
                raise invalid(f"{place}.content", "must be text")
            found["content"] = "\n".join(part["text"] for part in content)
    return found


def _content(
    content: Any, place: str, spec: ModelSpec, images: list[str]
) -> str | list[dict[str, Any]]:
    if isinstance(content, str):
        return content
    if isinstance(content, list) and content:
        return [
            _part(part, f"{place}[{number}]", spec, images) for number, part in enumerate(content)
        ]
    raise invalid(place, "must be a string or a list of content parts")


def content_of(message: dict[str, Any]) -> Any:
    """The `content` of a message; null, an empty list or none of an assistant's is an empty text,
    as clients send it for a turn without text, and an empty list of a tool's."""
    content = message.get("content")
    if content == [] and message["role"] in ("assistant", "tool"):
        return ""
    return "" if content is None and message["role"] == "assistant" else content


def _part(part: Any, place: str, spec: ModelSpec, images: list[str]) -> dict[str, Any]:
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(kind, str):
        kind = None
    if kind == "text":
        if not isinstance(part.get("text"), str):
            raise BadRequest(
                f"'{place}.text' must be a string.", param=f"{place}.text", code="invalid_value"
            )
        return {"type": "text", "text": part["text"]}
    if kind == "image_url":
        if not spec.vision:
            raise refused_part("image_url", place, spec)
        image = part.get("image_url")
        url = image.get("url") if isinstance(image, dict) else None
        if not isinstance(url, str) or not url:
            raise BadRequest(
                f"'{place}.image_url.url' must be a string.",
                param=f"{place}.image_url.url",
                code="invalid_value",
            )
        images.append(url)
        return {"type": "image"}
    if kind in INSTEAD:
        raise refused_part(kind, place, spec)
    readable = "text or image_url" if spec.vision else "text"
    raise BadRequest(
        f"'{place}.type' must be {readable} for this model.",
        param=f"{place}.type",
        code="invalid_value",
    )


def image_places(messages: list[Message]) -> list[str]:
    """The place in the request of each image URL, in order."""
    return [
        f"messages[{index}].content[{number}].image_url.url"
        for index, message in enumerate(messages)
        if isinstance(message["content"], list)
        for number, part in enumerate(message["content"])
        if part["type"] == "image"
    ]


def num_chars(messages: Sequence[Message]) -> int:
    """Characters of all texts."""
    return sum(len(text) for message in messages for text in _texts(message))


def _texts(message: Message) -> list[str]:
    content = message["content"]
    texts = [message.get("reasoning_content", "")]
    if isinstance(content, str):
        texts.append(content)
    else:
        texts += [part["text"] for part in content if part["type"] == "text"]
    if calls := message.get("tool_calls"):
        texts.append(json.dumps([each["function"] for each in calls], ensure_ascii=False))
    return texts
