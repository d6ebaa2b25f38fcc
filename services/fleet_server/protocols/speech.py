"""The protocol of speech models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

from fleet_server.protocols.arrays import Float32


@dataclass(frozen=True, slots=True)
class Word:
    word: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of speech, times in seconds; the fields of OpenAI's verbose_json."""

    start: float
    end: float
    text: str
    tokens: Sequence[int] = ()
    seek: int = 0
    temperature: float = 0.0
    avg_logprob: float = 0.0
    compression_ratio: float = 0.0
    no_speech_prob: float = 0.0
    words: Sequence[Word] = ()


@dataclass(frozen=True, slots=True)
class SpeechOptions:
    """How to transcribe a recording.

    `temperature` None means Whisper's fallback from 0 upwards, a number that temperature only. An
    engine may call `on_segment` from any thread with each segment that is certain, in order of
    time; the transcript contains all of them. Passes are shared evenly among the `caller`s.
    """

    task: Literal["transcribe", "translate"] = "transcribe"
    language: str | None = None
    prompt: str | None = None
    temperature: float | None = None
    word_timestamps: bool = False
    on_segment: Callable[[Segment], None] | None = None
    caller: str = ""


@dataclass(frozen=True, slots=True)
class Transcript:
    """`language` is an ISO 639-1 code, `duration` seconds of the recording."""

    language: str
    duration: float
    segments: Sequence[Segment] = field(default_factory=tuple)

    @property
    def text(self) -> str:
        return "".join(segment.text for segment in self.segments).strip()


class Cancelled(Exception):
    """Raised by `transcribe` when `cancelled()` became true."""


@runtime_checkable
class WarmsUp(Protocol):
    """A SpeechModel whose warm-up costs less than transcribing a window of 30 seconds."""

    def warm(self, audio: Float32) -> None:
        """Run every step of a transcription once, on `audio` without padding; no result."""


@runtime_checkable
class SpeechModel(Protocol):
    """Transcribes and translates speech."""

    languages: frozenset[str]
    """ISO codes of its languages; `{"en"}` for an English-only checkpoint."""
    multilingual: bool
    max_concurrent: int

    def transcribe(
        self, audio: Float32, options: SpeechOptions, cancelled: Callable[[], bool]
    ) -> Transcript:
        """Transcribe `audio`: float32 mono at 16 kHz in -1..1, any length.

        An empty or silent recording gives no segments. `cancelled` is polled at least once per
        window. Raises Cancelled.
        """

    def close(self) -> None: ...
