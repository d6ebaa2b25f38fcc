"""Parameters and usage that all text generation routes share."""

from __future__ import annotations

from typing import Annotated, NotRequired

from pydantic import Field, SkipValidation
from typing_extensions import TypedDict

from fleet_contract.api.base import LARGEST, JsonBody, Usage
from fleet_contract.api.formats import FormatFields

MOST_CHOICES = 16
MOST_BIASES = 1024
LARGEST_BIAS = 100
MOST_LOGPROBS = 20
"""Of the most probable tokens at each place."""
Bias = Annotated[float, Field(ge=-LARGEST_BIAS, le=LARGEST_BIAS)]


class StreamOptions(JsonBody):
    """Options of a stream."""

    include_usage: bool | None = None
    """Whether a last event reports the usage and the timings."""
    continuous_usage_stats: bool | None = None
    """With `include_usage`, whether each event reports the usage up to then."""


class GenerationBody(FormatFields):
    """The parameters supported on every such route, with OpenAI's ranges."""

    model: str | None = None
    """Id or alias. Optional if only one model serves chat."""
    temperature: float | None = Field(default=None, ge=0, le=2)
    """0 is greedy."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    """Nucleus sampling: probability mass to sample from."""
    stop: str | Annotated[list[str], Field(fail_fast=True)] | None = None
    """Texts that end generation: up to 32, each of 1 to 4,096 characters."""
    stream: bool | None = None
    """Whether the response is streamed as server-sent events."""
    stream_options: StreamOptions | None = None
    n: int | None = Field(default=None, ge=1, le=MOST_CHOICES)
    """Number of choices. With a `seed` each has another one, counted upwards from it."""
    user: str | None = None
    """Has no effect."""
    seed: int | None = Field(default=None, ge=-(2**63), le=2**64 - 1)
    """Makes sampling reproducible; a negative one is taken modulo 2**64."""
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    # Checked by the server, whose errors do not grow with the number of entries.
    logit_bias: SkipValidation[Annotated[dict[str, Bias], Field(max_length=MOST_BIASES)] | None] = (
        None
    )
    """What is added to the logits of tokens, by token id."""
    top_k: int | None = Field(default=None, ge=-1, le=LARGEST)
    """Number of the most probable tokens to sample from; 0 and -1 are all. Not of OpenAI's API, so
    that the server must allow it."""
    min_p: float | None = Field(default=None, ge=0, le=1)
    """Least probability of tokens to sample from, as a share of the greatest. Not of OpenAI's API,
    so that the server must allow it."""
    repetition_penalty: float | None = Field(default=None, gt=0, le=2)
    """Divides the positive logits, and multiplies the negative ones, of tokens in the prompt and
    the text. Not of OpenAI's API, so that the server must allow it."""


class Candidate(TypedDict):
    """A token, the natural logarithm of its probability, and its bytes: a token may be part of a
    character, and its text is then `bytes:` with the bytes in hexadecimal."""

    token: str
    logprob: float
    bytes: list[int]


class TokenScore(Candidate):
    """A generated token, and the most probable ones at its place."""

    top_logprobs: list[Candidate]


class CachedPrompt(TypedDict):
    """How many of the prompt's tokens were in a cache."""

    cached_tokens: int


class TimingValues(TypedDict):
    """Milliseconds: the wait for a slot; from the start of the generation to its first token; from
    the arrival of the request to that token; from there to the last token."""

    queue_ms: float
    prompt_ms: float | None
    first_token_ms: float | None
    decode_ms: float | None


class CompletionTokens(TypedDict):
    """How many of the completion's tokens are reasoning."""

    reasoning_tokens: int


class GenerationUsage(Usage):
    """Prompt and completion tokens of all choices; the prompt counts once. The details are those of
    engines that count them, and of chats with models that reason."""

    completion_tokens: int
    prompt_tokens_details: NotRequired[CachedPrompt]
    completion_tokens_details: NotRequired[CompletionTokens]
