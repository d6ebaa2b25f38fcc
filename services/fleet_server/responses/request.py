"""Parses and validates the body of POST /v1/responses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from fleet_contract.api.responses import LOGPROBS, MOST_METADATA, ResponsesBody, TextOptions
from fleet_contract.errors import BadRequest, TooLarge, UnsupportedParameter
from fleet_contract.spec import ModelSpec
from fleet_server.chat.messages import ROLES, content_of, num_chars
from fleet_server.chat.tool_messages import invalid, name_results, non_empty, read_arguments
from fleet_server.generation.formats.fields import json_object, json_schema
from fleet_server.generation.options import (
    GenerationOptions,
    adapter_of,
    check_max_tokens,
    default_max_tokens,
    first_given,
)
from fleet_server.generation.tools import RESPONSE_TOOLS, read_tools
from fleet_server.protocols import Message, OutputFormat
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
    tools = read_tools(given.tools, given.tool_choice, given.parallel_tool_calls, RESPONSE_TOOLS)
    if given.instructions:
        messages = [{"role": "system", "content": given.instructions}, *messages]
    _check_length(num_chars(messages) + tools.num_chars, spec)
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
        output=_output(given.text),
        tools=tools,
        logprobs=_logprobs(given),
        adapter=adapter_of(given.model, spec),
    )
    return ResponsesRequest(messages, options, given)


def _output(given: TextOptions | None) -> OutputFormat | None:
    form = given.format if given else None
    match form.type if form else "text":
        case "json_object":
            return json_object("text.format")
        case "json_schema" if form is not None:
            if "json_schema" not in form.model_fields_set:
                place = "text.format.schema"
                raise BadRequest(
                    f"Missing required parameter: {place!r}.", param=place, code="missing"
                )
            return json_schema(form.json_schema, "text.format.schema", strict=bool(form.strict))
    return None


def read_input(value: Any) -> list[Message]:
    """Messages for the engine. Raises BadRequest whose `param` names the place."""
    if isinstance(value, str):
        value = [{"role": "user", "content": value}]
    if not isinstance(value, list) or not value:
        raise BadRequest(
            "'input' must be a string or a list of items.", param="input", code="invalid_value"
        )
    messages: list[Message] = []
    for index, item in enumerate(value):
        _add(messages, item, f"input[{index}]")
    name_results(messages)
    if not any(message["content"] or message.get("tool_calls") for message in messages):
        raise BadRequest("The input is empty.", param="input", code="empty_input")
    return messages


def _add(messages: list[Message], item: Any, place: str) -> None:
    """Add an item. Calls that follow each other, or a message of the model, belong to one turn."""
    if not isinstance(item, dict):
        raise invalid(place, "must be an object")
    match item.get("type", "message"):
        case "message":
            messages.append(_message(item, place))
        case "function_call":
            if not messages or messages[-1]["role"] != "assistant":
                messages.append({"role": "assistant", "content": ""})
            messages[-1].setdefault("tool_calls", []).append(_call(item, place))
        case "function_call_output":
            messages.append(_result(item, place))
        case "reasoning":
            pass
        case _:
            raise UnsupportedParameter(
                f"'{place}' is neither a message, nor a function call or its output: this server "
                f"stores no items and has no tools of its own.",
                param=f"{place}.type",
            )


def _call(item: dict[str, Any], place: str) -> dict[str, Any]:
    name = non_empty(item.get("name"), f"{place}.name")
    arguments = read_arguments(item.get("arguments"), f"{place}.arguments")
    return {
        "id": non_empty(item.get("call_id"), f"{place}.call_id"),
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }


def _result(item: dict[str, Any], place: str) -> Message:
    call_id = non_empty(item.get("call_id"), f"{place}.call_id")
    output = item.get("output")
    content = "" if output == [] else _texts(output, f"{place}.output")
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def _message(item: dict[str, Any], place: str) -> Message:
    role = item.get("role")
    if not isinstance(role, str) or role == "tool" or role not in ROLES:
        known = ", ".join(role for role in ROLES if role != "tool")
        raise invalid(f"{place}.role", f"must be one of {known}")
    return {"role": ROLES[role], "content": _texts(content_of(item), f"{place}.content")}


def _texts(content: Any, place: str) -> str:
    if isinstance(content, list) and content:
        return "\n".join(_text(part, f"{place}[{n}]") for n, part in enumerate(content))
    if not isinstance(content, str):
        raise invalid(place, "must be a string or a list of content parts")
    return content


def _text(part: Any, place: str) -> str:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "input_image":
        raise UnsupportedParameter(
            "Images are supported by /v1/chat/completions only.", param=f"{place}.type"
        )
    if kind not in TEXTS:
        raise invalid(f"{place}.type", f"must be one of {', '.join(TEXTS)}")
    text = part.get("text")
    if not isinstance(text, str):
        raise invalid(f"{place}.text", "must be a string")
    return text


def _logprobs(given: ResponsesBody) -> int | None:
    if LOGPROBS in (given.include or ()):
        return given.top_logprobs or 0
    if given.top_logprobs:
        raise BadRequest(
            f"'top_logprobs' requires {LOGPROBS!r} in 'include'.", param="top_logprobs"
        )
    return None


def _check_length(number: int, spec: ModelSpec) -> None:
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
        raise invalid("metadata", f"must be an object of at most {MOST_METADATA} strings")
    for name, text in value.items():
        if not isinstance(text, str) or len(name) > 64 or len(text) > 512:
            raise invalid(
                "metadata", "must have keys of up to 64 and string values of up to 512 characters"
            )
