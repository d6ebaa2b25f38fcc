"""POST /v1/messages and /v1/messages/count_tokens (docs.anthropic.com/en/api/messages): bodies."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import ConfigDict, Field, SkipValidation
from typing_extensions import TypedDict

from fleet_contract.api.base import LARGEST, JsonBody, Positive, add_no_ops
from fleet_contract.api.tools import MAX_CALLS, MAX_TOOLS

NAME_PATTERN = r"^[a-zA-Z0-9_-]{1,128}$"

Text = Annotated[str, Field(min_length=1)]
Name = Annotated[str, Field(pattern=NAME_PATTERN)]


class TextBlock(TypedDict):
    """A text. `cache_control` has no effect: equal beginnings share their cache anyway."""

    type: Literal["text"]
    text: str


class Base64Source(TypedDict):
    """An image in the request."""

    type: Literal["base64"]
    media_type: Literal["image/jpeg", "image/png", "image/gif", "image/webp"]
    data: Text


class UrlSource(TypedDict):
    """A data URL, or an http(s) URL if the server is allowed to fetch it."""

    type: Literal["url"]
    url: Text


class ImageBlock(TypedDict):
    """An image, for models that accept images."""

    type: Literal["image"]
    source: Base64Source | UrlSource


class TextSource(TypedDict):
    """A document of plain text."""

    type: Literal["text"]
    media_type: Literal["text/plain"]
    data: str


class DocumentBlock(TypedDict):
    """A document, of plain text only; its title and context precede the text."""

    type: Literal["document"]
    source: TextSource
    title: NotRequired[str | None]
    context: NotRequired[str | None]


class ToolReferenceBlock(TypedDict):
    """The name of a tool that the client's search for tools found. The model gets the name as a
    text, and the tool if its loading was deferred."""

    type: Literal["tool_reference"]
    tool_name: Name


class ToolResultBlock(TypedDict):
    """The result of a tool call. Its images follow as a message of the user."""

    type: Literal["tool_result"]
    tool_use_id: Text
    content: NotRequired[
        str | list[TextBlock | ImageBlock | DocumentBlock | ToolReferenceBlock] | None
    ]
    is_error: NotRequired[bool | None]
    """Has no effect: chat templates have no place for it."""


class ThinkingBlock(TypedDict):
    """Earlier reasoning, for templates that show it to the model; the signature has no effect."""

    type: Literal["thinking"]
    thinking: str
    signature: NotRequired[str | None]


class RedactedThinkingBlock(TypedDict):
    """Has no effect."""

    type: Literal["redacted_thinking"]
    data: NotRequired[str]


class ToolUseBlock(TypedDict):
    """A call in an earlier message of the model."""

    type: Literal["tool_use"]
    id: Text
    name: Text
    input: dict[str, Any]


UserBlock = TextBlock | ImageBlock | DocumentBlock | ToolResultBlock
ModelBlock = TextBlock | ThinkingBlock | RedactedThinkingBlock | ToolUseBlock


class UserMessage(TypedDict):
    """A message of the user, with the results of tool calls."""

    role: Literal["user"]
    content: str | list[UserBlock]


class ModelMessage(TypedDict):
    """A message of the model; the model continues it if it is the last one."""

    role: Literal["assistant"]
    content: str | Annotated[list[ModelBlock], Field(max_length=MAX_CALLS)]


class ToolName(TypedDict):
    """One of the tools."""

    type: Literal["tool_reference"]
    name: Name


class ToolChangeBlock(TypedDict):
    """Whether the model gets a tool from now on. Chat templates have one place for tools: the last
    change of a tool holds for the whole conversation."""

    type: Literal["tool_addition", "tool_removal"]
    tool: ToolName


class SystemMessage(TypedDict):
    """Instructions in the middle of a conversation, where the chat template allows them."""

    role: Literal["system"]
    content: str | Annotated[list[TextBlock | ToolChangeBlock], Field(min_length=1)]


class Tool(TypedDict):
    """A function that the model may call."""

    type: NotRequired[Literal["custom"] | None]
    name: Name
    description: NotRequired[str | None]
    input_schema: dict[str, Any]
    """A JSON Schema of the arguments."""
    strict: NotRequired[bool | None]
    """Whether the schema is enforced with `tool_choice` `auto` too, and keywords that cannot be
    enforced are errors."""
    defer_loading: NotRequired[bool | None]
    """Whether the model gets the tool only after a `tool_reference` or `tool_addition`."""


Tools = Annotated[list[Tool], Field(max_length=MAX_TOOLS)]


class ToolChoice(TypedDict):
    """Whether the model may call tools (`auto`, the default with tools), must not (`none`), or must
    call one (`any`) or the one named (`tool`)."""

    type: Literal["auto", "any", "none"]
    disable_parallel_tool_use: NotRequired[bool | None]


class NamedTool(TypedDict):
    """The tool to call."""

    type: Literal["tool"]
    name: Name
    disable_parallel_tool_use: NotRequired[bool | None]


class Thinking(JsonBody):
    """`enabled` requires a model that reasons; `adaptive` lets one reason. Without `thinking`, and
    with `disabled`, reasoning is off where the chat template can turn it off."""

    type: Literal["enabled", "disabled", "adaptive"]
    budget_tokens: Positive | None = None
    """Most tokens of reasoning, after which the answer begins. Has no effect on engines and models
    that cannot be bounded."""
    display: Literal["summarized", "omitted"] | None = None
    """Has no effect: the reasoning itself is returned."""


class SchemaFormat(JsonBody):
    """A JSON Schema that the response follows."""

    type: Literal["json_schema"]
    json_schema: dict[str, Any] = Field(alias="schema")


class OutputConfig(JsonBody):
    """The format of the response, and how much the model reasons."""

    format: SchemaFormat | None = None
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    """For models whose chat template has it; others ignore it."""


class Metadata(JsonBody):
    """Has no effect."""

    user_id: str | None = None


NO_OP_VALUES: dict[str, tuple[Any, ...]] = {
    "mcp_servers": (None, []),
    "container": (None,),
    "thread": (None,),
}
"""Parameters no in-process engine supports here, with the values that have no effect."""


def _add_no_ops(schema: dict[str, Any]) -> None:
    add_no_ops(schema, NO_OP_VALUES)


class CountTokensBody(JsonBody):
    """What makes up a prompt."""

    model_config = ConfigDict(json_schema_extra=_add_no_ops)

    model: str | None = None
    """Id or alias. Optional if only one model serves chat."""
    # Each is checked by the server, whose errors name its position.
    messages: list[SkipValidation[UserMessage | ModelMessage | SystemMessage]] = Field(
        min_length=1, examples=[[{"role": "user", "content": "Name a colour."}]]
    )
    """The conversation. Consecutive messages of one role become one."""
    system: SkipValidation[str | list[TextBlock] | None] = None
    """Instructions before the conversation."""
    tools: SkipValidation[Tools | None] = None
    """The functions that the model may call."""
    tool_choice: SkipValidation[ToolChoice | NamedTool | None] = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    """With tools, the text follows its format unless one is called."""
    output_format: SchemaFormat | None = None
    """Older name of `output_config.format`."""


class MessagesBody(CountTokensBody):
    """The supported parameters, with Anthropic's ranges."""

    max_tokens: Positive
    """Maximum number of new tokens."""
    temperature: float | None = Field(default=None, ge=0, le=1)
    """0 is greedy."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    """Nucleus sampling: probability mass to sample from."""
    top_k: int | None = Field(default=None, ge=-1, le=LARGEST)
    """Number of the most probable tokens to sample from; 0 and -1 are all."""
    stop_sequences: Annotated[list[str], Field(fail_fast=True)] | None = None
    """Texts that end generation: up to 32, each of 1 to 4,096 characters."""
    stream: bool | None = None
    """Whether the response is streamed as server-sent events."""
    metadata: Metadata | None = None
    service_tier: Literal["auto", "standard_only"] | None = None
    """Has no effect."""


class TokenCount(TypedDict):
    """The tokens of a prompt, those of images included."""

    input_tokens: int
