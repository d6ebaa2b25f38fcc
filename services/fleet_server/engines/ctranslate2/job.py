"""One request inside the engine: its windows, and the segments found so far."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from fleet_server.engines.ctranslate2.guards import LADDER
from fleet_server.engines.ctranslate2.speech import RATE
from fleet_server.engines.ctranslate2.windows import Window
from fleet_server.protocols import Float32, Segment, SpeechOptions, Word


@dataclass(eq=False, slots=True)
class Job:
    """Guarded by the line's lock, except `done`. `language` is None until it was detected; `told`
    counts the segments handed to `options.heard`."""

    audio: Float32
    options: SpeechOptions
    prompt: tuple[int, ...]
    language: str | None
    waiting: deque[Window]
    running: list[Window] = field(default_factory=list)
    gone: bool = False
    error: Exception | None = None
    segments: list[Segment] = field(default_factory=list)
    told: int = 0
    done: threading.Event = field(default_factory=threading.Event)

    @property
    def temperature(self) -> float:
        return LADDER[0] if self.options.temperature is None else self.options.temperature

    def key(self) -> object:
        """Equal for windows that may share a pass; the next window's.

        CTranslate2 wants prompts of one length in a batch; retries and word timestamps go alone.
        """
        if self.options.word_timestamps or self.waiting[0].refused is not None:
            return object()
        return (self.temperature, len(self.prompt))

    def tell(self) -> None:
        """Hand on the segments that have become certain: nothing before them is open."""
        if self.options.heard is None:
            return
        openings = [window.start for window in (*self.waiting, *self.running)]
        frontier = min(openings) / RATE if openings else float("inf")
        for segment in sorted(self.segments, key=lambda segment: segment.start)[self.told :]:
            if segment.start >= frontier:
                break
            self.told += 1
            self.options.heard(segment)

    def ordered(self) -> list[Segment]:
        """The segments in order of time, words never running backwards."""
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
