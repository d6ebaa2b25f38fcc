"""When a decoded window is silent or doubtful: the thresholds of OpenAI's Whisper.

Values and rules: decode_with_fallback and transcribe in openai/whisper's transcribe.py.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

MAX_COMPRESSION = 2.4
MIN_LOGPROB = -1.0
MAX_NO_SPEECH = 0.6
LADDER = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
"""Temperatures tried in turn."""


@dataclass(frozen=True, slots=True)
class DecodingOptions:
    """How a window is decoded: by beam search at `temperature` 0, else by sampling.

    `filled` windows are padded with silence to 30 seconds, as in training, others to 18.
    """

    temperature: float
    filled: bool = True


FILLED = tuple(DecodingOptions(temperature) for temperature in LADDER)
SHORTENED = (DecodingOptions(0.0, filled=False), *FILLED)
"""Attempts in turn; the second fills up the window, since short padding may cause the doubt."""


@dataclass(frozen=True, slots=True)
class DecodingResult:
    """A window's tokens, with the measures that show how certain the model is."""

    tokens: tuple[int, ...]
    avg_logprob: float
    no_speech_prob: float
    compression_ratio: float
    temperature: float

    @property
    def is_silence(self) -> bool:
        return self.no_speech_prob > MAX_NO_SPEECH and self.avg_logprob < MIN_LOGPROB

    @property
    def is_repetitive(self) -> bool:
        return self.compression_ratio > MAX_COMPRESSION

    @property
    def is_doubtful(self) -> bool:
        """Whether the window should be decoded again at a higher temperature."""
        unsure = self.avg_logprob < MIN_LOGPROB
        return (self.is_repetitive or unsure) and not self.is_silence


def best(results: list[DecodingResult]) -> DecodingResult:
    """The result to keep when all are doubtful: the most probable one that is not repetitive."""
    fluent = [result for result in results if not result.is_repetitive]
    return max(fluent or results, key=lambda result: result.avg_logprob)


def compression_ratio(text: str) -> float:
    """Bytes of `text` over its bytes in zlib; high for repetitive text."""
    raw = text.encode()
    return len(raw) / len(zlib.compress(raw)) if raw else 0.0
