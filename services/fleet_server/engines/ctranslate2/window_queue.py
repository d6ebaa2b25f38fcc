"""The queue of windows that forms the batch of the next pass, fair between callers.

Request threads put recordings in, lane threads take batches of windows out.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from fleet_server.engines.ctranslate2.recording import PassKey, Recording
from fleet_server.engines.ctranslate2.windows import AudioWindow
from fleet_server.protocols import Segment
from fleet_server.turns import Turns

Batch = list[tuple[Recording, AudioWindow]]


@dataclass(frozen=True, slots=True)
class WindowResult:
    """The result of one window; `next_window`, a retry or a rest, is still to be decoded."""

    language: str
    segments: Sequence[Segment] = ()
    next_window: AudioWindow | None = None


class Closed(Exception):
    """The engine was closed while a request was running."""


class WindowQueue:
    """A batch has at most `limit` windows of 30 seconds, or `short_limit` short ones."""

    def __init__(self, limit: int, short_limit: int | None = None) -> None:
        self._limit = limit
        self._short_limit = short_limit or limit
        self._recordings: Turns[Recording] = Turns()
        self._closed = False
        self._changed = threading.Condition()

    def put(self, recording: Recording) -> None:
        """Queue a recording with at least one window. Raises Closed."""
        with self._changed:
            if self._closed:
                raise Closed
            self._recordings.append(recording)
            self._changed.notify()

    def take(self) -> Batch | None:
        """Wait for the next batch; None once the queue is closed."""
        with self._changed:
            while not self._closed:
                if batch := self._pick():
                    return batch
                self._changed.wait()
            return None

    def finish(self, batch: Batch, outcomes: Sequence[WindowResult]) -> None:
        """Record the outcomes of a pass and emit segments that are certain."""
        with self._changed:
            for (recording, window), outcome in zip(batch, outcomes, strict=True):
                recording.running.remove(window)
                recording.language = recording.language or outcome.language
                recording.segments.extend(outcome.segments)
            for recording in {id(recording): recording for recording, _ in batch}.values():
                if recording.removed:
                    continue
                recording.retry([
                    outcome.next_window
                    for (owner, _), outcome in zip(batch, outcomes, strict=True)
                    if owner is recording and outcome.next_window is not None
                ])  # fmt: skip
                try:
                    recording.emit_certain()
                except Exception as error:
                    recording.error = error
                    self._remove(recording)
                if not recording.waiting and not recording.running:
                    self._remove(recording)
            self._changed.notify_all()

    def fail(self, batch: Batch, error: Exception) -> None:
        """Fail the recordings of a batch with `error`."""
        with self._changed:
            for recording, _ in batch:
                recording.error = error
                self._remove(recording)
            self._changed.notify_all()

    def drop(self, recording: Recording) -> None:
        """Remove a recording whose request has ended. Idempotent."""
        with self._changed:
            self._remove(recording)

    def close(self) -> None:
        """End the lanes; queued recordings fail with Closed."""
        with self._changed:
            self._closed = True
            for recording in list(self._recordings):
                recording.error = Closed()
                self._remove(recording)
            self._changed.notify_all()

    def _remove(self, recording: Recording) -> None:
        recording.removed = True
        recording.waiting.clear()
        if recording in self._recordings:
            self._recordings.remove(recording)
        recording.done.set()

    def _pick(self) -> Batch:
        """One window of each caller in turn, round after round, while they may share a pass.

        The first caller's least recently served recording sets the key of the pass. A caller whose
        first recording is not in the pass keeps its turn, so each of n recordings has its first
        window decoded within n passes.
        """
        batch: Batch = []
        key: PassKey | None = None
        found = True
        while found and (key is None or len(batch) < self._most(key)):
            found = False
            for caller in self._recordings.callers:
                if key is not None and len(batch) == self._most(key):
                    break
                ready = [each for each in self._recordings.of(caller) if self._ready(each, batch)]
                for recording in ready:
                    if (window := recording.take(key)) is None:
                        continue
                    key, found = key or recording.key(window), True
                    batch.append((recording, window))
                    self._recordings.remove(recording)
                    self._recordings.append(recording)
                    if recording is ready[0]:
                        self._recordings.served(caller)
                    break
        return batch

    def _most(self, key: PassKey) -> int:
        return self._limit if key.attempt.filled else self._short_limit

    @staticmethod
    def _ready(recording: Recording, batch: Batch) -> bool:
        if not recording.waiting:
            return False
        # All windows need the language that the first pass detects, so none may run before it ends.
        if recording.language is None and recording.running:
            return any(recording is entry for entry, _ in batch)
        return True
