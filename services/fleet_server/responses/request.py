"""Parses and validates the body of POST /v1/responses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from fleet_contract.api.responses import MOST_METADATA, ResponsesBody
from fleet_contract.errors import BadRequest, TooLarge, UnsupportedParameter
from fleet_contract.spec import ModelSpec
from fleet_server.chat.messages import ROLES, content_of
from fleet_server.generation.options import (
    GenerationOptions,
    check_max_tokens,
    default_max_tokens,
    first_given,
)
from fleet_server.protocols import Message
from fleet_web.errors import from_validation

TEXTS = ("input_text", "output_text")


@dataclass(frozen=True, slots=True)
class ResponsesRequest:
    """A validated request. The response repeats fields of `given`."""

    messages: list[Message]
    options: GenerationOptions
    given: ResponsesBody


def parse(body: dict[str, Any], spec: ModelSpec) -> ResponsesRequest:
    """The request in `body`. Raises BadRequest with `param`."""
    try:
        given = ResponsesBody.model_validate(body)
    except ValidationError as error:
        raise from_validation(error, body) from None
    _check_metadata(given.metadata)
    messages = read_input(given.input)
    if given.instructions:
        messages = [{"role": "system", "content": given.instructions}, *messages]
    _check_length(messages, spec)
    defaults = spec.defaults
    most = default_max_tokens(spec)
    if given.max_output_tokens is not None:
        most = check_max_tokens(given.max_output_tokens, "max_output_tokens", spec)
    options = GenerationOptions(
        max_tokens=most,
        temperature=first_given(given.temperature, defaults.temperature),
        top_p=first_given(given.top_p, defaults.top_p),
        stream=bool(given.stream),
        include_usage=True,
    )
    return ResponsesRequest(messages, options, given)


def read_input(value: Any) -> list[Message]:
    """Messages for the engine. Raises BadRequest whose `param` names the place."""
    if isinstance(value, str):
        value = [{"role": "user", "content": value}]
    if not isinstance(value, list) or not value:
        raise BadRequest(
            "'input' must be a string or a list of messages.", param="input", code="invalid_value"
        )
    messages = [_message(item, f"input[{index}]") for index, item in enumerate(value)]
    if not any(message["content"] for message in messages):
        raise BadRequest("The input is empty.", param="input", code="empty_input")
    return messages


def _message(item: Any, place: str) -> Message:
    if not isinstance(item, dict):
        raise _wrong(place, "must be an object")
    kind = item.get("type", "message")
    if kind != "message":
        raise UnsupportedParameter(
            f"'{place}' is not a message: this server stores no items and calls no tools.",
            param=f"{place}.type",
        )
    role = item.get("role")
    if not isinstance(role, str) or role not in ROLES:
        raise _wrong(f"{place}.role", f"must be one of {', '.join(ROLES)}")
    content = content_of(item)
    if isinstance(content, list) and content:
        parts = [_text(part, f"{place}.content[{n}]") for n, part in enumerate(content)]
        content = "\n".join(parts)
    if not isinstance(content, str):
        raise _wrong(f"{place}.content", "must be a string or a list of content parts")
    return {"role": ROLES[role], "content": content}


def _text(part: Any, place: str) -> str:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "input_image":
        raise UnsupportedParameter(
            "Images are supported by /v1/chat/completions only.", param=f"{place}.type"
        )
    if kind not in TEXTS:
        raise _wrong(f"{place}.type", f"must be one of {', '.join(TEXTS)}")
    text = part.get("text")
    if not isinstance(text, str):
        raise _wrong(f"{place}.text", "must be a string")
    return text


def _check_length(messages: list[Message], spec: ModelSpec) -> None:
    number = sum(len(message["content"]) for message in messages)
    if number > spec.limits.max_text_chars:
        raise TooLarge(
            f"The input has {number} characters; at most {spec.limits.max_text_chars} are "
            f"accepted.",
            param="input",
        )


def _check_metadata(value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, dict) or len(value) > MOST_METADATA:
        raise _wrong("metadata", f"must be an object of at most {MOST_METADATA} strings")
    for name, text in value.items():
        if not isinstance(text, str) or len(name) > 64 or len(text) > 512:
            raise _wrong(
                "metadata", "must have keys of up to 64 and string values of up to 512 characters"
            )


def _wrong(place: str, why: str) -> BadRequest:
    return BadRequest(f"'{place}' {why}.", param=place, code="invalid_value")
