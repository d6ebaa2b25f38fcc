"""Events of a streamed POST /v1/responses (platform.openai.com/docs/api-reference)."""

from __future__ import annotations

from typing import Literal

from typing_extensions import TypedDict

from fleet_contract.api.generation import TokenScore
from fleet_contract.api.responses import OutputItem, OutputReasoningText, OutputText, Response


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
    """Beginning or end of an item."""

    type: Literal["response.output_item.added", "response.output_item.done"]
    output_index: int
    item: OutputItem


class PartEvent(Event):
    """Beginning or end of an item's only part."""

    type: Literal["response.content_part.added", "response.content_part.done"]
    item_id: str
    output_index: int
    content_index: int
    part: OutputText | OutputReasoningText


class DeltaEvent(Event):
    """New text."""

    type: Literal["response.output_text.delta"]
    item_id: str
    output_index: int
    content_index: int
    delta: str
    logprobs: list[TokenScore]


class TextEvent(Event):
    """The whole text."""

    type: Literal["response.output_text.done"]
    item_id: str
    output_index: int
    content_index: int
    text: str
    logprobs: list[TokenScore]


class ReasoningDeltaEvent(Event):
    """New text of reasoning."""

    type: Literal["response.reasoning_text.delta"]
    item_id: str
    output_index: int
    content_index: int
    delta: str


class ReasoningTextEvent(Event):
    """The whole text of reasoning."""

    type: Literal["response.reasoning_text.done"]
    item_id: str
    output_index: int
    content_index: int
    text: str


class ArgumentsDeltaEvent(Event):
    """More of a call's arguments."""

    type: Literal["response.function_call_arguments.delta"]
    item_id: str
    output_index: int
    delta: str


class ArgumentsEvent(Event):
    """All arguments of a call."""

    type: Literal["response.function_call_arguments.done"]
    item_id: str
    output_index: int
    arguments: str


AnyEvent = (
    ResponseEvent | ItemEvent | PartEvent | DeltaEvent | TextEvent | ReasoningDeltaEvent
    | ReasoningTextEvent | ArgumentsDeltaEvent | ArgumentsEvent
)  # fmt: skip
