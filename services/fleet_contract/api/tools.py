"""Tools and tool calls, as chat completions and responses share them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

MAX_TOOLS = 128
MAX_CALLS = 128
"""In one message of the history."""
NAME_PATTERN = r"^[a-zA-Z0-9_-]{1,64}$"

Text = Annotated[str, Field(min_length=1)]
Name = Annotated[str, Field(pattern=NAME_PATTERN)]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh"]
Scalar = Annotated[str, Field(max_length=1000)] | bool | int | float | None
TemplateVariables = Annotated[
    dict[Annotated[str, Field(max_length=64)], Scalar], Field(max_length=16)
]


class Function(TypedDict):
    """A function that the model may call."""

    name: Name
    description: NotRequired[str | None]
    parameters: NotRequired[dict[str, Any] | None]
    """A JSON Schema of the arguments; none if left out."""
    strict: NotRequired[bool | None]
    """Whether the schema is enforced with `tool_choice` `auto` too, and keywords that cannot be
    enforced are errors."""


class Tool(TypedDict):
    """A tool of a chat."""

    type: Literal["function"]
    function: Function


class FunctionName(TypedDict):
    """The name of one of the tools."""

    name: Name


class NamedTool(TypedDict):
    """The tool to call."""

    type: Literal["function"]
    function: FunctionName


class AllowedNames(TypedDict):
    """Some of the tools: the model gets no others, and may (`auto`) or must (`required`) call one
    of them."""

    mode: Literal["auto", "required"]
    tools: Annotated[list[NamedTool], Field(min_length=1, max_length=MAX_TOOLS)]


class AllowedTools(TypedDict):
    """The tools that may be called."""

    type: Literal["allowed_tools"]
    allowed_tools: AllowedNames


class CalledFunction(TypedDict):
    """A function and the arguments of a call, the text of a JSON object."""

    name: Text
    arguments: str


class ToolCall(TypedDict):
    """A call in an earlier message of the model."""

    id: Text
    type: NotRequired[Literal["function"]]
    function: CalledFunction


Mode = Literal["none", "auto", "required"]
Tools = Annotated[list[Tool], Field(max_length=MAX_TOOLS)]
ToolCalls = Annotated[list[ToolCall], Field(max_length=MAX_CALLS)]


class ResponseTool(Function):
    """A tool of a response."""

    type: Literal["function"]


class NamedResponseTool(TypedDict):
    """The tool to call."""

    type: Literal["function"]
    name: Name


class AllowedResponseTools(TypedDict):
    """Some of the tools: the model gets no others, and may (`auto`) or must (`required`) call one
    of them."""

    type: Literal["allowed_tools"]
    mode: Literal["auto", "required"]
    tools: Annotated[list[NamedResponseTool], Field(min_length=1, max_length=MAX_TOOLS)]


class Namespace(TypedDict):
    """Functions under a common name. The model gets them as `NAMESPACE__NAME`; calls have
    `namespace` and `name`."""

    type: Literal["namespace"]
    name: Name
    description: NotRequired[str | None]
    """Precedes the description of the first function."""
    tools: Annotated[list[ResponseTool], Field(min_length=1, max_length=MAX_TOOLS)]


ResponseTools = Annotated[list[ResponseTool | Namespace], Field(max_length=MAX_TOOLS)]
ResponseToolChoice = Mode | NamedResponseTool | AllowedResponseTools
