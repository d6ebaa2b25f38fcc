"""What requests for generated text share, whatever they give the model to go on from.

Read by fleet_server.generation.options.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from fleet_contract.api.base import Body, Usage


class StreamOptions(Body):
    """What a stream says besides."""

    include_usage: bool = False
    """Whether a last event tells the usage."""


class GenerationBody(Body):
    """The parameters honoured on every such route, with OpenAI's ranges."""

    model: str | None = None
    """Id or alias. May be left out where one model only does chat."""
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


class GenerationUsage(Usage):
    """Tokens read and written."""

    completion_tokens: int
