"""The measurement of one request."""

from __future__ import annotations

from dataclasses import dataclass, field


class Failed(Exception):
    """A request without a valid response; the text is a short reason, counted over requests."""


@dataclass(slots=True)
class ResponseStats:
    """Figures of a valid response; times are in seconds.

    `first` is the time to the first token, `gaps` the times between chunks; `tokens` and
    `prompt_tokens` are counted by the server, `items` is the number of vectors, `audio_seconds` the
    length of the recording.
    """

    first: float | None = None
    gaps: list[float] = field(default_factory=list)
    tokens: int = 0
    prompt_tokens: int = 0
    items: int = 0
    audio_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One request: `seconds` to its end, and the figures of its response or the error."""

    seconds: float
    stats: ResponseStats | None
    error: str | None = None
