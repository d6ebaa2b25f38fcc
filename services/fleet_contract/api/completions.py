"""POST /v1/completions (platform.openai.com/docs/api-reference/completions), OpenAI's older API."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired

from pydantic import Field, SkipValidation
from typing_extensions import TypedDict

from fleet_contract.api.base import Positive
from fleet_contract.api.generation import (
    MOST_CHOICES,
    MOST_LOGPROBS,
    GenerationBody,
    GenerationUsage,
    TimingValues,
)

Text = Annotated[str, Field(min_length=1)]
TokenId = Annotated[int, Field(ge=0, lt=2**31)]
TokenIds = Annotated[list[TokenId], Field(min_length=1)]
Prompts = (
    Text | Annotated[list[Text], Field(min_length=1)] | TokenIds
    | Annotated[list[TokenIds], Field(min_length=1)]
)  # fmt: skip
"""Prompts as OpenAI accepts them."""
FewPrompts = (
    Text | Annotated[list[Text], Field(min_length=1, max_length=MOST_CHOICES)] | TokenIds
    | Annotated[list[TokenIds], Field(min_length=1, max_length=MOST_CHOICES)]
)  # fmt: skip
"""As many prompts as one request may have, each as text or token ids."""


class CompletionBody(GenerationBody):
    """The supported parameters, with OpenAI's ranges."""

    # Checked by the server instead: pydantic would copy every token id.
    prompt: SkipValidation[FewPrompts] = Field(examples=["Once upon a time"])
    """The text to continue, without a chat template, or several texts. With `n` there are at most
    16 choices, those of the first prompt first."""
    suffix: str | None = None
    """The text after the generated one, for models that fill in the middle; not with `echo`."""
    max_tokens: Positive | None = None
    """Maximum number of new tokens; 16 by default."""
    echo: bool | None = None
    """Whether the response begins with the prompt."""
    logprobs: Annotated[int, Field(ge=0, le=MOST_LOGPROBS)] | Literal[False] | None = None
    """Number of the most probable tokens at each place; with 0, only the generated tokens have the
    logarithm of their probability."""
    best_of: int | None = Field(default=None, ge=1, le=MOST_CHOICES)
    """Candidates of which the best `n` are returned; must be 1 or `n`, which returns all."""


class TextLogprobs(TypedDict):
    """The natural logarithm of the probability of each token, that of the most probable tokens and
    of the token itself by their text, and the number of characters of the text before it. The first
    token of an echoed prompt has none."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]


class TextChoice(TypedDict):
    """One of the `n` choices of a prompt; its index is the prompt's times `n`, plus its number."""

    text: str
    index: int
    logprobs: TextLogprobs | None
    finish_reason: str


class TextCompletion(TypedDict):
    """A complete response."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[TextChoice]
    usage: GenerationUsage


class TextChunkChoice(TypedDict):
    """New text; `finish_reason` is null until the last choice."""

    text: str
    index: int
    logprobs: TextLogprobs | None
    finish_reason: str | None


class TextChunk(TypedDict):
    """An event of a stream, of one choice. With `include_usage`, the last one has the usage and no
    choices."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[TextChunkChoice]
    usage: NotRequired[GenerationUsage | None]
    timings: NotRequired[TimingValues]
