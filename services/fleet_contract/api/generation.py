"""Parameters and usage that all text generation routes share."""

from __future__ import annotations

from typing import Annotated, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from fleet_contract.api.base import JsonBody, Usage


class StreamOptions(JsonBody):
    """Options of a stream."""

    include_usage: bool | None = None
    """Whether a last event reports the usage."""


class GenerationBody(JsonBody):
    """The parameters supported on every such route, with OpenAI's ranges."""

    model: str | None = None
    """Id or alias. Optional if only one model serves chat."""
    temperature: float | None = Field(default=None, ge=0, le=2)
    """0 is greedy."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    """Nucleus sampling: probability mass to sample from."""
    stop: str | Annotated[list[str], Field(fail_fast=True)] | None = None
    """Texts that end generation: up to four, each of 1 to 4,096 characters."""
    stream: bool | None = None
    """Whether the response is streamed as server-sent events."""
    stream_options: StreamOptions | None = None
    n: int | None = None
    """Number of choices; must be 1 if the engine does not support it."""
    user: str | None = None
    """Has no effect."""
    seed: int | None = Field(default=None, ge=-(2**63), le=2**64 - 1)
    """Makes sampling reproducible; taken modulo 2**64."""
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)


class CompletionTokens(TypedDict):
    """How many of the completion's tokens are reasoning."""

    reasoning_tokens: int


class GenerationUsage(Usage):
    """Prompt and completion tokens; the details are those of chats with models that reason."""

    completion_tokens: int
    completion_tokens_details: NotRequired[CompletionTokens]
