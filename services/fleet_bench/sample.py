"""What one request came to; made by workloads, summed up by `summary`."""

from __future__ import annotations

from dataclasses import dataclass, field


class Failed(Exception):
    """A request without a good answer; the text is a short reason that many may share."""


@dataclass(slots=True)
class Answer:
    """A good answer. Times are seconds since the request was sent.

    `tokens` are those the server says it wrote, `prompt_tokens` those it read; `items` is the
    number of vectors, `audio_seconds` the length of the recording.
    """

    first: float | None = None
    gaps: list[float] = field(default_factory=list)
    tokens: int = 0
    prompt_tokens: int = 0
    items: int = 0
    audio_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One request: `seconds` until its answer was complete, and the answer or why there is none."""

    seconds: float
    answer: Answer | None
    error: str | None = None
