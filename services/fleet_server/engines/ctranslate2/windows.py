"""Cuts a recording into the windows that Whisper decodes one by one: pure planning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fleet_server.engines.ctranslate2.fallback import Answer, best
from fleet_server.engines.ctranslate2.speech import LONGEST, RATE, Span

MAX_GAP = 3 * RATE
"""Samples of silence that a window may contain; after more, Whisper often stops listening."""
MIN_REST = RATE
"""Samples of speech left unread that are worth another pass, and least progress of one."""
MAX_TAIL = 5 * RATE
"""Samples of a rest that is given up when the model stays in doubt: often it is no speech."""
SHORT = 15 * RATE
"""Samples of a window on a CPU, where the encoder's attention costs the square of the length."""
SHORT_FILLED = SHORT + 3 * RATE
"""Samples that short windows are padded to, a third of the time of 30 seconds in the encoder.
Without any silence behind the speech Whisper does not notice the end and repeats itself; from one
second on it errs no more often than with 30 seconds filled up."""


@dataclass(frozen=True, slots=True)
class Window:
    """At most 30 seconds of a recording; `spans` is the speech in it.

    `refused` is the best of the doubtful answers in a window that is decoded again, and `retry`
    the number of the next attempt then. `is_tail` marks a short rest of another window.
    """

    spans: tuple[Span, ...]
    refused: Answer | None = None
    retry: int = 1
    is_tail: bool = False

    @property
    def attempt(self) -> int:
        """The number of the next attempt, from 0."""
        return 0 if self.refused is None else self.retry

    @property
    def start(self) -> int:
        return self.spans[0].start

    @property
    def end(self) -> int:
        return self.spans[-1].end

    @property
    def seconds(self) -> float:
        return (self.end - self.start) / RATE

    def best(self, answer: Answer) -> Answer:
        """The best of `answer`, which is doubtful, and the answers refused before."""
        return answer if self.refused is None else best([self.refused, answer])

    def again(self, answer: Answer) -> Window:
        """The window for the attempt after one that gave the doubtful `answer`."""
        return replace(self, refused=self.best(answer), retry=self.attempt + 1)

    def rest(self, heard: float) -> Window | None:
        """What is left when the text reaches `heard` seconds into the window, or None.

        Whisper sometimes ends its answer before the speech ends; the detector knows better.
        """
        reached = self.start + round(heard * RATE)
        if reached < self.start + MIN_REST:
            return None
        left = tuple(
            Span(max(span.start, reached), span.end) for span in self.spans if span.end > reached
        )
        if sum(span.end - span.start for span in left) < MIN_REST:
            return None
        return Window(left, is_tail=left[-1].end - left[0].start <= MAX_TAIL)


def plan(spans: Sequence[Span], longest: int = LONGEST) -> list[Window]:
    """Windows that are as full as `longest` samples and `MAX_GAP` allow, cut in silences.

    A span without a silence is never cut, so a window may be longer, up to 30 seconds.
    """
    windows: list[Window] = []
    current: list[Span] = []
    for span in spans:
        if current and (
            span.end - current[0].start > longest or span.start - current[-1].end > MAX_GAP
        ):
            windows.append(Window(tuple(current)))
            current = []
        current.append(span)
    if current:
        windows.append(Window(tuple(current)))
    return windows
