"""Which windows go into the next pass: the requests take turns, so a long one starves nobody.

Shared by the threads of requests, which put jobs in, and the lanes, which take windows out.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from fleet_server.engines.ctranslate2.recording import Job, PassKey
from fleet_server.engines.ctranslate2.windows import Window
from fleet_server.protocols import Segment

Batch = list[tuple[Job, Window]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a pass found in one window; `again` has to be decoded before the job is done."""

    language: str
    segments: Sequence[Segment] = ()
    again: Window | None = None


class Closed(Exception):
    """The engine was closed while a request was running."""


class WindowQueue:
    """At most `limit` windows go into one pass, or `short_limit` short ones."""

    def __init__(self, limit: int, short_limit: int | None = None) -> None:
        self._limit = limit
        self._short_limit = short_limit or limit
        self._jobs: deque[Job] = deque()
        self._closed = False
        self._changed = threading.Condition()

    def put(self, job: Job) -> None:
        """Queue a job with at least one window. Raises Closed."""
        with self._changed:
            if self._closed:
                raise Closed
            self._jobs.append(job)
            self._changed.notify()

    def take(self) -> Batch | None:
        """The next pass, waited for; None when the line is closed."""
        with self._changed:
            while not self._closed:
                if batch := self._pick():
                    return batch
                self._changed.wait()
            return None

    def finish(self, batch: Batch, outcomes: Sequence[Outcome]) -> None:
        """Give the jobs what a pass found."""
        with self._changed:
            for (job, window), outcome in zip(batch, outcomes, strict=True):
                job.running.remove(window)
                job.language = job.language or outcome.language
                job.segments.extend(outcome.segments)
            for job in {id(job): job for job, _ in batch}.values():
                if job.gone:
                    continue
                job.retry([
                    outcome.again
                    for (owner, _), outcome in zip(batch, outcomes, strict=True)
                    if owner is job and outcome.again is not None
                ])  # fmt: skip
                try:
                    job.tell()
                except Exception as error:
                    job.error = error
                    self._leave(job)
                if not job.waiting and not job.running:
                    self._leave(job)
            self._changed.notify_all()

    def fail(self, batch: Batch, error: Exception) -> None:
        """A pass failed: so do its jobs."""
        with self._changed:
            for job, _ in batch:
                job.error = error
                self._leave(job)
            self._changed.notify_all()

    def drop(self, job: Job) -> None:
        """Forget a job nobody waits for."""
        with self._changed:
            self._leave(job)

    def close(self) -> None:
        """End the lanes; jobs still here fail with Closed."""
        with self._changed:
            self._closed = True
            for job in list(self._jobs):
                job.error = Closed()
                self._leave(job)
            self._changed.notify_all()

    def _leave(self, job: Job) -> None:
        job.gone = True
        job.waiting.clear()
        if job in self._jobs:
            self._jobs.remove(job)
        job.done.set()

    def _pick(self) -> Batch:
        """One window of each job in turn, round after round, as long as they may share a pass.

        The job that was served longest ago comes first and chooses what the pass is for, so each
        of n jobs has its first window read within n passes.
        """
        batch: Batch = []
        key: PassKey | None = None
        found = True
        while found and (key is None or len(batch) < self._room(key)):
            found = False
            for job in list(self._jobs):
                if key is not None and len(batch) == self._room(key):
                    break
                if not self._ready(job, batch) or (window := job.take(key)) is None:
                    continue
                key, found = key or job.key(window), True
                batch.append((job, window))
                self._jobs.remove(job)
                self._jobs.append(job)
        return batch

    def _room(self, key: PassKey) -> int:
        return self._limit if key.attempt.filled else self._short_limit

    @staticmethod
    def _ready(job: Job, batch: Batch) -> bool:
        # Until the language is known, the first window's pass must not be overtaken.
        if not job.waiting:
            return False
        return job.language is not None or not job.running or any(job is b for b, _ in batch)
