"""Cuts the speech of a recording into the windows that Whisper decodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fleet_server.engines.ctranslate2.fallback import DecodingResult, best
from fleet_server.engines.ctranslate2.speech import LONGEST, RATE, Span

MAX_GAP = 3 * RATE
"""Maximum samples of silence in a window; after more, Whisper often ends its text early."""
MIN_REST = RATE
"""Minimum samples of undecoded speech for another pass, and minimum progress of a pass."""
MAX_TAIL = 5 * RATE
"""Maximum samples of a rest that is dropped if it stays doubtful: often it is not speech."""
SHORT = 15 * RATE
"""Samples of a window on a CPU, where the encoder's attention costs the square of the length."""
SHORT_FILLED = SHORT + 3 * RATE
"""Samples that short windows are padded to: a third of the encoder's time for 30 seconds.
Without silence after the speech Whisper misses the end and repeats itself; with a second or more
its error rate is that of windows padded to 30 seconds."""


@dataclass(frozen=True, slots=True)
class AudioWindow:
    """At most 30 seconds of a recording; `spans` is the speech in it.

    In a window that is decoded again, `best_rejected` is the best doubtful result so far, `retry`
    the number of the next attempt, `rejected_tokens` those of all doubtful results, and `repeated`
    whether one of them was repetitive. `is_tail` marks a short rest of another window.
    """

    spans: tuple[Span, ...]
    best_rejected: DecodingResult | None = None
    retry: int = 1
    is_tail: bool = False
    rejected_tokens: int = 0
    repeated: bool = False

    @property
    def attempt(self) -> int:
        """The number of the next attempt, from 0."""
        return 0 if self.best_rejected is None else self.retry

    @property
    def start(self) -> int:
        return self.spans[0].start

    @property
    def end(self) -> int:
        return self.spans[-1].end

    @property
    def seconds(self) -> float:
        return (self.end - self.start) / RATE

    def best(self, result: DecodingResult) -> DecodingResult:
        """The best of `result`, which is doubtful, and the results rejected before."""
        return result if self.best_rejected is None else best([self.best_rejected, result])

    def retried(self, result: DecodingResult) -> AudioWindow:
        """The window for the attempt after one with the doubtful `result`."""
        return replace(
            self, best_rejected=self.best(result), retry=self.attempt + 1,
            rejected_tokens=self.rejected_tokens + len(result.tokens),
            repeated=self.repeated or result.is_repetitive,
        )  # fmt: skip

    def rest(self, decoded: float) -> AudioWindow | None:
        """The speech after the first `decoded` seconds of the window, or None if it is too short.

        Whisper sometimes ends its text before the detected speech ends.
        """
        reached = self.start + round(decoded * RATE)
        if reached < self.start + MIN_REST:
            return None
        left = tuple(
            Span(max(span.start, reached), span.end) for span in self.spans if span.end > reached
        )
        if sum(span.end - span.start for span in left) < MIN_REST:
            return None
        return AudioWindow(left, is_tail=left[-1].end - left[0].start <= MAX_TAIL)


def cut(spans: Sequence[Span], longest: int = LONGEST) -> list[AudioWindow]:
    """Windows as full as `longest` samples and `MAX_GAP` allow.

    Spans are not split, so a window of one span may have up to 30 seconds.
    """
    windows: list[AudioWindow] = []
    current: list[Span] = []
    for span in spans:
        if current and (
            span.end - current[0].start > longest or span.start - current[-1].end > MAX_GAP
        ):
            windows.append(AudioWindow(tuple(current)))
            current = []
        current.append(span)
    if current:
        windows.append(AudioWindow(tuple(current)))
    return windows
