"""Detects speech in a recording with the Silero VAD that faster-whisper bundles."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from faster_whisper.vad import VadOptions, get_speech_timestamps

from fleet_server.protocols import Cancelled, Float32

RATE = 16_000
LONGEST = 30 * RATE
"""Samples of the longest span, which is Whisper's window."""
BLOCK = 300 * RATE
"""Samples per detector call: bounds its memory, which is several times its input."""
OPTIONS = VadOptions(
    threshold=0.5, max_speech_duration_s=30, min_silence_duration_ms=160, speech_pad_ms=400
)


class Span(NamedTuple):
    """Samples `start` to `end` of a recording."""

    start: int
    end: int


def find_speech(audio: Float32, cancelled: Callable[[], bool]) -> list[Span]:
    """Spans of speech in order, each at most `LONGEST`. Raises Cancelled between blocks."""
    spans: list[Span] = []
    start = 0
    while start < len(audio):
        if cancelled():
            raise Cancelled
        end = min(start + BLOCK, len(audio))
        found = [
            Span(start + span["start"], min(start + span["end"], end))
            for span in get_speech_timestamps(audio[start:end], OPTIONS)
        ]
        next_start = end
        # Speech cut by the end of a block is detected again at the start of the next block.
        if end < len(audio) and found and found[-1].end > end - RATE:
            last = found[-1]
            if last.start > start + BLOCK // 2:
                next_start = last.start
                found.pop()
        spans += (span for span in found if span.end > span.start)
        start = next_start
    return spans
