"""Parses and validates the bodies of POST /v1/messages and /v1/messages/count_tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from pydantic import ValidationError

from fleet_contract.api.messages import CountTokensBody, MessagesBody
from fleet_contract.errors import BadRequest
from fleet_contract.spec import ModelSpec
from fleet_server.chat.messages import num_chars
from fleet_server.chat.parts import ImageUrl
from fleet_server.chat.tool_messages import invalid
from fleet_server.generation.formats.fields import json_schema
from fleet_server.generation.options import (
    GenerationOptions,
    adapter_of,
    check_max_tokens,
    first_given,
    read_stop,
)
from fleet_server.generation.tools import MESSAGE_TOOLS, ToolUse, read_tools
from fleet_server.messages.blocks import MessageReader
from fleet_server.protocols import Message, OutputFormat
from fleet_web.errors import from_validation

Body = TypeVar("Body", bound=CountTokensBody)
MODES = {"auto": "auto", "any": "required", "none": "none"}


@dataclass(frozen=True, slots=True)
class MessagesRequest:
    """A validated request; `given` has the fields that depend on the model's template."""

    messages: list[Message]
    images: list[ImageUrl]
    options: GenerationOptions
    given: CountTokensBody

    @property
    def num_chars(self) -> int:
        """Length of the prompt's texts."""
        return num_chars(self.messages) + self.options.tools.num_chars

    @property
    def continues(self) -> bool:
        """Whether the model continues the last message."""
        return bool(self.messages[-1]["role"] == "assistant")


def parse(body: dict[str, Any], spec: ModelSpec) -> MessagesRequest:
    """The request in `body`. Raises BadRequest with `param`."""
    given = _validated(body, MessagesBody)
    request = _request(given, spec)
    options = replace(
        request.options,
        max_tokens=check_max_tokens(given.max_tokens, "max_tokens", spec),
        temperature=first_given(given.temperature, spec.defaults.temperature),
        top_p=first_given(given.top_p, spec.defaults.top_p),
        top_k=max(0, given.top_k or 0),
        stop=read_stop(given.stop_sequences, spec, "stop_sequences"),
        stream=bool(given.stream),
    )
    return replace(request, options=options)


def parse_count(body: dict[str, Any], spec: ModelSpec) -> MessagesRequest:
    """The request for the number of tokens in `body`. Raises BadRequest with `param`."""
    return _request(_validated(body, CountTokensBody), spec)


def _validated(body: dict[str, Any], kind: type[Body]) -> Body:
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        raise from_validation(error, body) from None


def _request(given: CountTokensBody, spec: ModelSpec) -> MessagesRequest:
    reader = MessageReader(spec)
    messages = reader.read(given.messages, given.system)
    if messages[-1]["role"] == "assistant" and messages[-1].get("tool_calls"):
        raise BadRequest(
            "'messages' must end with the results of its last tool calls.",
            param="messages",
            code="missing_tool_results",
        )
    options = GenerationOptions(
        max_tokens=1, temperature=0, top_p=1, include_usage=True, output=_output(given),
        tools=_tools(given, reader.offered), adapter=adapter_of(given.model, spec),
        reasoning_tokens=_reasoning_tokens(given),
    )  # fmt: skip
    return MessagesRequest(messages, reader.images, options, given)


def _tools(given: CountTokensBody, offered: Mapping[str, bool]) -> ToolUse:
    """The tools that the model gets; `offered` are those that the messages add or remove."""
    raw: Any = given.tool_choice
    shown = {**dict.fromkeys(_deferred(given.tools), False), **offered}
    hidden = {name for name, is_shown in shown.items() if not is_shown}
    if raw is None:
        return read_tools(given.tools, None, None, MESSAGE_TOOLS, hidden)
    kind = raw.get("type") if isinstance(raw, dict) else None
    if kind not in (*MODES, "tool"):
        raise invalid("tool_choice.type", "must be one of auto, any, tool, none")
    alone = raw.get("disable_parallel_tool_use")
    if not isinstance(alone, bool | None):
        raise invalid("tool_choice.disable_parallel_tool_use", "must be a boolean")
    choice = MODES.get(kind) or {"name": raw.get("name")}
    return read_tools(given.tools, choice, not alone, MESSAGE_TOOLS, hidden)


def _deferred(tools: Any) -> set[str]:
    """The names of tools whose loading is deferred. Raises BadRequest."""
    found: set[str] = set()
    for index, tool in enumerate(tools if isinstance(tools, list) else ()):
        value = tool.get("defer_loading") if isinstance(tool, dict) else None
        if not isinstance(value, bool | None):
            raise invalid(f"tools[{index}].defer_loading", "must be a boolean")
        if value and isinstance(tool.get("name"), str):
            found.add(tool["name"])
    return found


def _reasoning_tokens(given: CountTokensBody) -> int | None:
    thinking = given.thinking
    return None if thinking is None or thinking.type == "disabled" else thinking.budget_tokens


def _output(given: CountTokensBody) -> OutputFormat | None:
    for place, form in (
        ("output_config.format", given.output_config.format if given.output_config else None),
        ("output_format", given.output_format),
    ):
        if form is not None:
            return json_schema(form.json_schema, f"{place}.schema")
    return None
