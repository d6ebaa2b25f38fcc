"""Cuts a recording into the windows that Whisper decodes one by one: pure planning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fleet_server.engines.ctranslate2.guards import Answer
from fleet_server.engines.ctranslate2.speech import LONGEST, RATE, Span

MAX_GAP = 3 * RATE
"""Samples of silence that a window may contain; after more, Whisper often stops listening."""
MIN_REST = RATE
"""Samples of speech left unread that are worth another pass, and least progress of one."""


@dataclass(frozen=True, slots=True)
class Window:
    """At most 30 seconds of a recording; `spans` is the speech in it. `refused` is the answer that
    the guards did not trust, in a window that is decoded again."""

    spans: tuple[Span, ...]
    refused: Answer | None = None

    @property
    def start(self) -> int:
        return self.spans[0].start

    @property
    def end(self) -> int:
        return self.spans[-1].end

    @property
    def seconds(self) -> float:
        return (self.end - self.start) / RATE

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
        return Window(left)


def plan(spans: Sequence[Span]) -> list[Window]:
    """Windows that are as full as 30 seconds and `MAX_GAP` allow, cut in silences."""
    windows: list[Window] = []
    current: list[Span] = []
    for span in spans:
        if current and (
            span.end - current[0].start > LONGEST or span.start - current[-1].end > MAX_GAP
        ):
            windows.append(Window(tuple(current)))
            current = []
        current.append(span)
    if current:
        windows.append(Window(tuple(current)))
    return windows
