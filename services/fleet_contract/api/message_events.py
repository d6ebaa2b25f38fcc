"""Responses and stream events of POST /v1/messages (docs.anthropic.com/en/docs/build-with-claude/
streaming), and Anthropic's errors."""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

ErrorType = Literal[
    "invalid_request_error", "authentication_error", "permission_error", "not_found_error",
    "request_too_large", "rate_limit_error", "api_error", "overloaded_error", "timeout_error",
]  # fmt: skip


class ErrorDetails(TypedDict):
    """What Anthropic's client reads to send a conversation without a stored thread."""

    error_code: str
    unsupported: list[str]


class MessageError(TypedDict):
    """What went wrong; `param` and `code` are those of OpenAI's errors."""

    type: ErrorType
    message: str
    param: str | None
    code: str | None
    details: NotRequired[ErrorDetails]


class MessageErrorBody(TypedDict):
    """The body of every error response, and the last event of a stream that failed."""

    type: Literal["error"]
    error: MessageError


class TextContent(TypedDict):
    """A generated text."""

    type: Literal["text"]
    text: str
    citations: None


class ThinkingContent(TypedDict):
    """The reasoning before an answer; `signature` is empty."""

    type: Literal["thinking"]
    thinking: str
    signature: str


class ToolUseContent(TypedDict):
    """A tool call."""

    type: Literal["tool_use"]
    id: str
    name: str
    input: dict[str, Any]


Content = TextContent | ThinkingContent | ToolUseContent
StopReason = Literal["end_turn", "max_tokens", "stop_sequence", "tool_use"]


class MessageUsage(TypedDict):
    """Tokens used by a request. `input_tokens` are those that were not read from the cache."""

    input_tokens: int
    cache_creation_input_tokens: int
    cache_read_input_tokens: int
    output_tokens: int


class MessageResponse(TypedDict):
    """A response; `usage` is last, where the router expects it."""

    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    model: str
    content: list[Content]
    stop_reason: StopReason | None
    stop_sequence: str | None
    usage: MessageUsage


class MessageStart(TypedDict):
    """The first event, with an empty message."""

    type: Literal["message_start"]
    message: MessageResponse


class Ping(TypedDict):
    """Has no meaning."""

    type: Literal["ping"]


class BlockStart(TypedDict):
    """The beginning of a content block."""

    type: Literal["content_block_start"]
    index: int
    content_block: Content


class TextDelta(TypedDict):
    """More text."""

    type: Literal["text_delta"]
    text: str


class ThinkingDelta(TypedDict):
    """More reasoning."""

    type: Literal["thinking_delta"]
    thinking: str


class InputDelta(TypedDict):
    """More of a call's arguments, as JSON text."""

    type: Literal["input_json_delta"]
    partial_json: str


class BlockDelta(TypedDict):
    """More of a content block."""

    type: Literal["content_block_delta"]
    index: int
    delta: TextDelta | ThinkingDelta | InputDelta


class BlockStop(TypedDict):
    """The end of a content block."""

    type: Literal["content_block_stop"]
    index: int


class Stop(TypedDict):
    """Why the message ends."""

    stop_reason: StopReason
    stop_sequence: str | None


class MessageDelta(TypedDict):
    """The end of the message; the usage is that of the whole request."""

    type: Literal["message_delta"]
    delta: Stop
    usage: MessageUsage


class MessageStop(TypedDict):
    """The last event."""

    type: Literal["message_stop"]


AnyMessageEvent = (
    MessageStart | Ping | BlockStart | BlockDelta | BlockStop | MessageDelta | MessageStop
    | MessageErrorBody
)  # fmt: skip
