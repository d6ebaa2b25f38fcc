"""POST /v1/responses (platform.openai.com/docs/api-reference/responses), stateless."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import ConfigDict, Field, SkipValidation
from typing_extensions import TypedDict

from fleet_contract.api.base import JsonBody, Positive, add_no_ops

Text = Annotated[str, Field(min_length=1)]
Metadata = dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]]
MOST_METADATA = 16


class InputText(TypedDict):
    """A text; `output_text` is from an earlier response."""

    type: Literal["input_text", "output_text"]
    text: str


class InputMessage(TypedDict):
    """A message to the model. `developer` is treated as `system`."""

    type: NotRequired[Literal["message"]]
    role: Literal["system", "developer", "user"]
    content: str | Annotated[list[InputText], Field(min_length=1)]


class ModelMessage(TypedDict):
    """An earlier message of the model; without `content` its text is empty."""

    type: NotRequired[Literal["message"]]
    role: Literal["assistant"]
    content: NotRequired[str | list[InputText] | None]


Messages = Annotated[list[InputMessage | ModelMessage], Field(min_length=1)]

NO_OP_VALUES: dict[str, tuple[Any, ...]] = {
    "previous_response_id": (None,),
    "conversation": (None,),
    "background": (None, False),
    "prompt": (None,),
    "tools": (None, []),
    "tool_choice": (None, "none", "auto"),
    "max_tool_calls": (None,),
    "include": (None, []),
    "reasoning": (None, {}),
    "text": (None, {}, {"format": {"type": "text"}}),
    "top_logprobs": (None, 0),
    "truncation": (None, "disabled"),
    "stream_options": (None, {}, {"include_obfuscation": False}),
}
"""Parameters no in-process engine supports here, with the values that have no effect."""


def _add_no_ops(schema: dict[str, Any]) -> None:
    add_no_ops(schema, NO_OP_VALUES)


class ResponsesBody(JsonBody):
    """The supported parameters, with OpenAI's ranges."""

    model_config = ConfigDict(json_schema_extra=_add_no_ops)

    model: str | None = None
    """Id or alias. Optional if only one model serves chat."""
    input: SkipValidation[Text | Messages] = Field(examples=["Name a colour."])
    """A user message, or the conversation."""
    instructions: str | None = None
    """A system message before the conversation."""
    max_output_tokens: Positive | None = None
    """Maximum number of new tokens."""
    temperature: float | None = Field(default=None, ge=0, le=2)
    """0 is greedy."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    """Nucleus sampling: probability mass to sample from."""
    stream: bool | None = None
    """Whether the response is streamed as server-sent events."""
    store: bool | None = None
    """Has no effect: responses are not stored, and `store` is false in the response."""
    metadata: SkipValidation[Annotated[Metadata, Field(max_length=MOST_METADATA)]] | None = None
    """Returned in the response."""
    user: str | None = None
    """Has no effect."""


class OutputText(TypedDict):
    """The generated text."""

    type: Literal["output_text"]
    text: str
    annotations: list[Any]
    logprobs: list[Any]


class OutputMessage(TypedDict):
    """The generated message."""

    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    status: Literal["in_progress", "completed", "incomplete"]
    content: list[OutputText]


class Incomplete(TypedDict):
    """Why a response is incomplete."""

    reason: Literal["max_output_tokens"]


class Failure(TypedDict):
    """Why a response failed."""

    code: Literal["server_error"]
    message: str


class CachedTokens(TypedDict):
    """Always zero: engines do not report it."""

    cached_tokens: int
    cache_write_tokens: int


class ReasoningTokens(TypedDict):
    """Always zero: reasoning is part of the text."""

    reasoning_tokens: int


class ResponseUsage(TypedDict):
    """Input and output tokens."""

    input_tokens: int
    input_tokens_details: CachedTokens
    output_tokens: int
    output_tokens_details: ReasoningTokens
    total_tokens: int


class Reasoning(TypedDict):
    """Always null."""

    effort: None
    summary: None


class TextFormat(TypedDict):
    """Always `text`."""

    type: Literal["text"]


class TextConfig(TypedDict):
    """The format of the response."""

    format: TextFormat


class Response(TypedDict):
    """A response, complete or in progress; `usage` is last, where the router expects it."""

    id: str
    object: Literal["response"]
    created_at: int
    status: Literal["in_progress", "completed", "incomplete", "failed"]
    background: Literal[False]
    error: Failure | None
    incomplete_details: Incomplete | None
    instructions: str | None
    max_output_tokens: int | None
    model: str
    output: list[OutputMessage]
    parallel_tool_calls: bool
    previous_response_id: None
    reasoning: Reasoning
    store: Literal[False]
    temperature: float
    text: TextConfig
    tool_choice: Literal["auto"]
    tools: list[Any]
    top_p: float
    truncation: Literal["disabled"]
    user: str | None
    metadata: dict[str, str]
    usage: ResponseUsage | None


class Event(TypedDict):
    """Fields of every event."""

    sequence_number: int


class ResponseEvent(Event):
    """The whole response, at the beginning and at the end."""

    type: Literal[
        "response.created", "response.in_progress", "response.completed", "response.incomplete",
        "response.failed",
    ]  # fmt: skip
    response: Response


class ItemEvent(Event):
    """Beginning or end of the message."""

    type: Literal["response.output_item.added", "response.output_item.done"]
    output_index: int
    item: OutputMessage


class PartEvent(Event):
    """Beginning or end of the message's only part."""

    type: Literal["response.content_part.added", "response.content_part.done"]
    item_id: str
    output_index: int
    content_index: int
    part: OutputText


class DeltaEvent(Event):
    """New text."""

    type: Literal["response.output_text.delta"]
    item_id: str
    output_index: int
    content_index: int
    delta: str
    logprobs: list[Any]


class TextEvent(Event):
    """The whole text."""

    type: Literal["response.output_text.done"]
    item_id: str
    output_index: int
    content_index: int
    text: str
    logprobs: list[Any]


AnyEvent = ResponseEvent | ItemEvent | PartEvent | DeltaEvent | TextEvent
