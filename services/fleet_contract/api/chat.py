"""POST /v1/chat/completions (platform.openai.com/docs/api-reference/chat).

Read by fleet_server.chat, written by fleet_server.chat.shapes.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import ConfigDict, Field, SkipValidation
from typing_extensions import TypedDict

from fleet_contract.api.base import Body, Positive, Usage

Role = Literal["system", "developer", "user", "assistant"]
Text = Annotated[str, Field(min_length=1)]


class TextPart(TypedDict):
    """A text."""

    type: Literal["text"]
    text: str


class ImageAddress(TypedDict):
    """A data URL, or an address where the server may fetch."""

    url: Text


class ImagePart(TypedDict):
    """An image, for models that read images."""

    type: Literal["image_url"]
    image_url: ImageAddress


class Message(TypedDict):
    """One turn. `developer` is read as `system`."""

    role: Role
    content: str | Annotated[list[TextPart | ImagePart], Field(min_length=1)]


class StreamOptions(Body):
    """What a stream says besides."""

    include_usage: bool = False
    """Whether a last event tells the usage."""


class NamedSchema(Body):
    """A JSON Schema that the answer must follow."""

    name: str | None = None
    """Has no effect."""
    description: str | None = None
    """Has no effect."""
    strict: bool | None = None
    """Has no effect: a schema is always kept to."""
    json_schema: dict[str, Any] = Field(default_factory=dict, alias="schema")
    """Objects, arrays, strings, numbers, `enum`, `const`, `anyOf`, `$ref`; what else an engine
    does not honour is refused."""


def _schema_with_its_type(schema: dict[str, Any]) -> None:
    schema["oneOf"] = [
        {"properties": {"type": {"enum": ["text", "json_object"]}}},
        {
            "properties": {"type": {"const": "json_schema"}, "json_schema": {"type": "object"}},
            "required": ["json_schema"],
        },
    ]


class ResponseFormat(Body):
    """The form of the answer."""

    model_config = ConfigDict(json_schema_extra=_schema_with_its_type)

    type: Literal["text", "json_object", "json_schema"]
    """`json_schema` is for engines that honour it (openvino, vllm)."""
    json_schema: NamedSchema | None = None
    """The schema, with `type` `json_schema`."""


ASKS_NOTHING: dict[str, tuple[Any, ...]] = {
    "logprobs": (None, False),
    "top_logprobs": (None, 0),
    "logit_bias": (None, {}),
    "tools": (None, []),
    "tool_choice": (None, "none", "auto"),
    "functions": (None, []),
    "function_call": (None, "none", "auto"),
    "audio": (None,),
    "modalities": (None, ["text"]),
    "prediction": (None,),
    "web_search_options": (None,),
    "reasoning_effort": (None, "none"),
    "verbosity": (None,),
    "min_p": (None, 0),
    "repetition_penalty": (None, 1),
}
"""Parameters no in-process engine honours, each with the values that ask for nothing."""


def _describe_others(schema: dict[str, Any]) -> None:
    for name, harmless in ASKS_NOTHING.items():
        schema["properties"][name] = {
            "description": "For engines that honour it; this one takes what asks for nothing.",
            "enum": list(harmless),
        }
    schema["properties"]["n"]["enum"] = [None, 1]


class ChatBody(Body):
    """The parameters honoured, with OpenAI's ranges."""

    model_config = ConfigDict(json_schema_extra=_describe_others)

    model: str | None = None
    """Id or alias. May be left out where one model only does chat."""
    messages: list[SkipValidation[Message]] = Field(
        min_length=1, examples=[[{"role": "user", "content": "Name a colour."}]]
    )
    """The conversation; fleet_server.chat.messages checks each, with an error that names its
    place."""
    max_tokens: Positive | None = None
    """Most new tokens; the older name of `max_completion_tokens`."""
    max_completion_tokens: Positive | None = None
    """Most new tokens."""
    temperature: float | None = Field(default=None, ge=0, le=2)
    """0 is greedy."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    """Probability mass sampled from."""
    stop: str | Annotated[list[str], Field(fail_fast=True)] | None = None
    """Texts that end the answer: up to four, none empty or of more than 4,096 characters."""
    stream: bool | None = None
    """Whether the answer comes as server-sent events."""
    stream_options: StreamOptions | None = None
    n: int | None = None
    """How many answers; 1 where the engine does not honour it."""
    user: str | None = None
    """Has no effect."""
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    """Makes sampling repeatable."""
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    response_format: ResponseFormat | None = None


class ChatUsage(Usage):
    """Tokens read and written."""

    completion_tokens: int


class AnswerMessage(TypedDict):
    """The model's turn."""

    role: Literal["assistant"]
    content: str
    refusal: None


class Choice(TypedDict):
    """The only one: `n` is 1."""

    index: int
    message: AnswerMessage
    logprobs: None
    finish_reason: str


class ChatCompletion(TypedDict):
    """A whole answer."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[Choice]
    usage: ChatUsage


class Delta(TypedDict):
    """What is new: the role at first, then text, nothing at the end."""

    role: NotRequired[Literal["assistant"]]
    content: NotRequired[str]


class ChunkChoice(TypedDict):
    """`finish_reason` is null until the end."""

    index: int
    delta: Delta
    logprobs: None
    finish_reason: str | None


class ChatChunk(TypedDict):
    """An event of a stream. Where usage is asked for, the last has it and no choices."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: NotRequired[ChatUsage | None]
