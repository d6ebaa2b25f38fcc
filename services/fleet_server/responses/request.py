"""Parses and validates the body of POST /v1/responses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from fleet_contract.api.responses import LOGPROBS, MOST_METADATA, ResponsesBody, TextOptions
from fleet_contract.errors import BadRequest, TooLarge
from fleet_contract.spec import ModelSpec
from fleet_server.chat.messages import num_chars
from fleet_server.chat.parts import ImageUrl
from fleet_server.chat.tool_messages import invalid
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
from fleet_server.responses.input import InputReader
from fleet_web.errors import from_validation


@dataclass(frozen=True, slots=True)
class ResponsesRequest:
    """A validated request. `images` are in the order of their parts in `messages`; the response
    repeats fields of `given`."""

    messages: list[Message]
    images: list[ImageUrl]
    options: GenerationOptions
    given: ResponsesBody


def parse(body: dict[str, Any], spec: ModelSpec) -> ResponsesRequest:
    """The request in `body`. Raises BadRequest with `param`."""
    try:
        given = ResponsesBody.model_validate(body)
    except ValidationError as error:
        raise from_validation(error, body) from None
    _check_metadata(given.metadata)
    reader = InputReader(spec)
    messages = reader.read(given.input)
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
    return ResponsesRequest(messages, reader.images, options, given)


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
