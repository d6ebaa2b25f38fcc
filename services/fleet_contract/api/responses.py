"""POST /v1/responses (platform.openai.com/docs/api-reference/responses), without anything kept.

Read by fleet_server.responses, written by fleet_server.responses.render.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import ConfigDict, Field, SkipValidation
from typing_extensions import TypedDict

from fleet_contract.api.base import Body, Positive
from fleet_contract.api.chat import Role

Text = Annotated[str, Field(min_length=1)]
Metadata = dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]]
MOST_METADATA = 16


class InputText(TypedDict):
    """A text; `output_text` is of an earlier answer."""

    type: Literal["input_text", "output_text"]
    text: str


class InputMessage(TypedDict):
    """One turn. `developer` is read as `system`."""

    type: NotRequired[Literal["message"]]
    role: Role
    content: str | Annotated[list[InputText], Field(min_length=1)]


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
"""Parameters no in-process engine honours here, each with the values that ask for nothing."""


def _describe_others(schema: dict[str, Any]) -> None:
    for name, harmless in NO_OP_VALUES.items():
        schema["properties"][name] = {
            "description": "For engines that honour it; this one takes what asks for nothing.",
            "enum": list(harmless),
        }


class ResponsesBody(Body):
    """The parameters honoured, with OpenAI's ranges."""

    model_config = ConfigDict(json_schema_extra=_describe_others)

    model: str | None = None
    """Id or alias. May be left out where one model only does chat."""
    input: SkipValidation[Text | Annotated[list[InputMessage], Field(min_length=1)]] = Field(
        examples=["Name a colour."]
    )
    """A user's message, or the conversation; fleet_server.responses.request checks each message,
    with an error that names its place."""
    instructions: str | None = None
    """A system message before the conversation."""
    max_output_tokens: Positive | None = None
    """Most new tokens."""
    temperature: float | None = Field(default=None, ge=0, le=2)
    """0 is greedy."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    """Probability mass sampled from."""
    stream: bool | None = None
    """Whether the answer comes as server-sent events."""
    store: bool | None = None
    """Has no effect: nothing is kept, and the answer says so."""
    metadata: SkipValidation[Annotated[Metadata, Field(max_length=MOST_METADATA)]] | None = None
    """Said again in the answer."""
    user: str | None = None
    """Has no effect."""


class OutputText(TypedDict):
    """The text of an answer."""

    type: Literal["output_text"]
    text: str
    annotations: list[Any]
    logprobs: list[Any]


class OutputMessage(TypedDict):
    """The model's turn."""

    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    status: Literal["in_progress", "completed", "incomplete"]
    content: list[OutputText]


class Incomplete(TypedDict):
    """Why an answer is cut."""

    reason: Literal["max_output_tokens"]


class Failure(TypedDict):
    """Why an answer broke off."""

    code: Literal["server_error"]
    message: str


class CachedTokens(TypedDict):
    """What the engines do not tell."""

    cached_tokens: int
    cache_write_tokens: int


class ReasoningTokens(TypedDict):
    """None: reasoning is text as any other."""

    reasoning_tokens: int


class ResponseUsage(TypedDict):
    """Tokens read and written."""

    input_tokens: int
    input_tokens_details: CachedTokens
    output_tokens: int
    output_tokens_details: ReasoningTokens
    total_tokens: int


class Reasoning(TypedDict):
    """Never asked for."""

    effort: None
    summary: None


class TextFormat(TypedDict):
    """Always text."""

    type: Literal["text"]


class TextConfig(TypedDict):
    """The form of the answer."""

    format: TextFormat


class Response(TypedDict):
    """An answer, or what there is of it; `usage` is last, where a router looks for it."""

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
    """What every event has."""

    sequence_number: int


class ResponseEvent(Event):
    """Where the whole answer is: at its beginning and at its end."""

    type: Literal[
        "response.created", "response.in_progress", "response.completed", "response.incomplete",
        "response.failed",
    ]  # fmt: skip
    response: Response


class ItemEvent(Event):
    """The message begins or ends."""

    type: Literal["response.output_item.added", "response.output_item.done"]
    output_index: int
    item: OutputMessage


class PartEvent(Event):
    """Its one part begins or ends."""

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
