"""The state of one request: its waiting and running windows, and the segments found so far."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from fleet_server.engines.ctranslate2.fallback import (
    FILLED,
    DecodingOptions,
    DecodingResult,
)
from fleet_server.engines.ctranslate2.speech import RATE
from fleet_server.engines.ctranslate2.windows import SHORT, AudioWindow
from fleet_server.protocols import Float32, Segment, SpeechOptions, Word

REJECTED_TOKENS = 250
"""One doubtful text of the greatest length (223 tokens) is followed by another attempt."""
REJECTED_TOKENS_PER_SECOND = 50
"""In a window of 30 s all attempts may have the greatest length."""


@dataclass(frozen=True, slots=True)
class PassKey:
    """What the windows of one pass share: CTranslate2 requires one temperature, one prompt length
    and one feature length in a batch."""

    attempt: DecodingOptions
    prompt_length: int
    words: bool


@dataclass(eq=False, slots=True)
class Recording:
    """Guarded by the queue's lock, except `done`.

    `language` is None until detected, `ladder` holds the attempts at a window of up to `SHORT`
    samples, `removed` is True once the queue holds it no more, and `emitted` counts the segments
    passed to `options.on_segment`.
    """

    audio: Float32
    options: SpeechOptions
    prompt: tuple[int, ...]
    language: str | None
    waiting: deque[AudioWindow]
    ladder: Sequence[DecodingOptions] = FILLED
    running: list[AudioWindow] = field(default_factory=list)
    removed: bool = False
    error: Exception | None = None
    segments: list[Segment] = field(default_factory=list)
    emitted: int = 0
    done: threading.Event = field(default_factory=threading.Event)

    @property
    def caller(self) -> str:
        return self.options.caller

    def attempt(self, window: AudioWindow) -> DecodingOptions:
        """How `window` is decoded next. A temperature set by the client allows one attempt."""
        if self.options.temperature is not None:
            return DecodingOptions(self.options.temperature)
        return self._attempts(window)[window.attempt]

    def can_retry(self, window: AudioWindow, result: DecodingResult) -> bool:
        """Whether `window` may be decoded again after the doubtful `result`.

        A text that repeats itself ends at the limit of tokens, in every attempt, so the work is
        bounded by tokens in proportion to the length of the window.
        """
        rejected = window.rejected_tokens + len(result.tokens)
        most = max(REJECTED_TOKENS, REJECTED_TOKENS_PER_SECOND * window.seconds)
        remain = window.attempt + 1 < len(self._attempts(window))
        return self.options.temperature is None and remain and rejected <= most

    def prompt_of(self, window: AudioWindow) -> tuple[int, ...]:
        """The prompt of the next attempt: none after a repetitive result, which a prompt of
        repeated words leads to."""
        return () if window.repeated else self.prompt

    def key(self, window: AudioWindow) -> PassKey:
        """Equal for windows that may share a pass."""
        length = len(self.prompt_of(window))
        return PassKey(self.attempt(window), length, self.options.word_timestamps)

    def take(self, key: PassKey | None) -> AudioWindow | None:
        """Move the first waiting window with `key` (any if None) to the running windows."""
        for window in self.waiting:
            if key is None or self.key(window) == key:
                self.waiting.remove(window)
                self.running.append(window)
                return window
        return None

    def _attempts(self, window: AudioWindow) -> Sequence[DecodingOptions]:
        attempts = self.ladder if window.end - window.start <= SHORT else FILLED
        # More attempts rarely help with so little speech, and a filled one costs an encoder pass
        # over 30 seconds.
        return attempts[:1] if window.is_tail else attempts

    def retry(self, windows: Sequence[AudioWindow]) -> None:
        """Queue `windows` ahead of all waiting windows."""
        self.waiting.extendleft(reversed(windows))

    def emit_certain(self) -> None:
        """Emit the segments that are certain: no earlier window is waiting or running."""
        if self.options.on_segment is None:
            return
        openings = [window.start for window in (*self.waiting, *self.running)]
        frontier = min(openings) / RATE if openings else float("inf")
        for segment in sorted(self.segments, key=lambda segment: segment.start)[self.emitted :]:
            if segment.start >= frontier:
                break
            self.emitted += 1
            self.options.on_segment(segment)

    def ordered(self) -> list[Segment]:
        """The segments in order of time, with word times that never decrease."""
        ordered = sorted(self.segments, key=lambda segment: segment.start)
        if not self.options.word_timestamps:
            return ordered
        reached, result = 0.0, []
        for segment in ordered:
            words = list(_forward(segment.words, reached))
            if words:
                reached = words[-1].end
                segment = replace(segment, words=words, start=words[0].start, end=words[-1].end)
            result.append(segment)
        return result


def _forward(words: Iterable[Word], reached: float) -> Iterable[Word]:
    for word in words:
        start = max(word.start, reached)
        reached = max(word.end, start)
        yield Word(word.word, start, reached)
