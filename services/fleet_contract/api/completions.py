"""POST /v1/completions (platform.openai.com/docs/api-reference/completions), OpenAI's older way.

Read by fleet_server.completions, written by fleet_server.completions.render.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import ConfigDict, Field, SkipValidation
from typing_extensions import TypedDict

from fleet_contract.api.base import Positive
from fleet_contract.api.generation import GenerationBody, GenerationUsage

Text = Annotated[str, Field(min_length=1)]
TokenId = Annotated[int, Field(ge=0, lt=2**31)]
TokenIds = Annotated[list[TokenId], Field(min_length=1)]
Prompts = (
    Text | Annotated[list[Text], Field(min_length=1)] | TokenIds
    | Annotated[list[TokenIds], Field(min_length=1)]
)  # fmt: skip
"""Prompts as OpenAI takes them."""
OnePrompt = (
    Text | Annotated[list[Text], Field(min_length=1, max_length=1)] | TokenIds
    | Annotated[list[TokenIds], Field(min_length=1, max_length=1)]
)  # fmt: skip
"""One prompt, as a text or as token ids, perhaps in a list."""

NO_OP_VALUES: dict[str, tuple[Any, ...]] = {
    "suffix": (None, ""),
    "logprobs": (None, False),
    "logit_bias": (None, {}),
    "response_format": (None, {"type": "text"}),
    "min_p": (None, 0),
    "repetition_penalty": (None, 1),
}
"""Parameters no in-process engine honours here, each with the values that ask for nothing."""


def _describe_others(schema: dict[str, Any]) -> None:
    for name, harmless in NO_OP_VALUES.items():
        schema["properties"][name] = {
            "description": "For engines that honour it; this one takes what asks for nothing.",
            "enum": list(harmless),
        }
    for name in ("n", "best_of"):
        schema["properties"][name]["enum"] = [None, 1]


class CompletionBody(GenerationBody):
    """The parameters honoured, with OpenAI's ranges."""

    model_config = ConfigDict(json_schema_extra=_describe_others)

    prompt: SkipValidation[OnePrompt] = Field(examples=["Once upon a time"])
    """What the text goes on from, as it is: no chat template is applied. Checked by
    fleet_server.completions.request, which copies no token id."""
    max_tokens: Positive | None = None
    """Most new tokens; 16 unless given."""
    echo: bool | None = None
    """Whether the answer begins with the prompt's text."""
    best_of: int | None = None
    """Of how many answers the best is given; 1 where the engine does not honour it."""


class TextChoice(TypedDict):
    """The only one: `n` is 1."""

    text: str
    index: int
    logprobs: None
    finish_reason: str


class TextCompletion(TypedDict):
    """A whole answer."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[TextChoice]
    usage: GenerationUsage


class TextChunkChoice(TypedDict):
    """What is new; `finish_reason` is null until the end."""

    text: str
    index: int
    logprobs: None
    finish_reason: str | None


class TextChunk(TypedDict):
    """An event of a stream. Where usage is asked for, the last has it and no choices."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[TextChunkChoice]
    usage: NotRequired[GenerationUsage | None]
