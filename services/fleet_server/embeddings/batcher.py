"""Runs the inputs of many requests through one model in shared passes.

The embedding and rerank routes await `run`. There is no timer while the model is idle: a request
that finds it so starts at once, and those that come while a pass runs share the next one.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

from fleet_contract.errors import NotReady, QueueFull
from fleet_contract.spec import ModelSpec
from fleet_server.embeddings.job import Job, Rows
from fleet_server.embeddings.planner import Bounds, plan, unpadded

RunPass = Callable[[list[Sequence[int]]], Rows]
"""One pass of the model: float32 `[len(batch), ...]`, row by row the result of each input."""


class Batcher:
    """One thread runs passes; `run` may be awaited by any number of requests.

    At most `max_waiting` requests wait for a pass; `window` is how many seconds the first of a
    batch waits for company.
    """

    def __init__(
        self, run_pass: RunPass, bounds: Bounds, *, max_waiting: int, window: float = 0
    ) -> None:
        self._run_pass = run_pass
        self._bounds = bounds
        self._max_waiting = max_waiting
        self._window = window
        self._waiting: deque[Job] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="batcher", daemon=True)
        self._thread.start()

    @classmethod
    def for_model(cls, model: Any, run_pass: RunPass, spec: ModelSpec, running: int) -> Batcher:
        """A batcher within the limits of a spec; `running` requests are let in at once."""
        batching, limits = spec.batching, spec.limits
        bounds = Bounds(
            max_items=limits.max_batch_size,
            max_tokens=batching.max_tokens,
            max_requests=batching.max_size if batching.enabled else 1,
            padded=getattr(model, "padded_length", unpadded),
        )
        window = batching.window_ms / 1000 if batching.enabled else 0.0
        return cls(run_pass, bounds, max_waiting=limits.max_queue_size + running, window=window)

    async def run(self, batch: Sequence[Sequence[int]]) -> Rows:
        """Results of the inputs, none empty, in their order: float32 `[len(batch), ...]`, at
        least one input.

        Raises QueueFull, NotReady once closed, and whatever a pass with one of these inputs
        raised. Cancelling it takes inputs that have not run out of the queue.
        """
        job = Job(batch, asyncio.get_running_loop())
        with self._changed:
            if self._closed:
                raise NotReady("The server is shutting down; please try again.", retry_after=1)
            if len(self._waiting) >= self._max_waiting:
                raise QueueFull(
                    f"{len(self._waiting)} requests wait for the model, which is the most this "
                    f"server accepts; please try again.",
                    retry_after=1,
                )
            self._waiting.append(job)
            self._changed.notify()
        try:
            return await job.future
        finally:
            if not job.is_done:
                self._forget(job)

    def close(self) -> None:
        """Fail who waits and end the thread once a running pass is done. Idempotent."""
        with self._changed:
            self._closed = True
            left = list(self._waiting)
            self._waiting.clear()
            self._changed.notify()
        _answer(left, NotReady("The server is shutting down; please try again.", retry_after=1))
        self._thread.join()

    def _forget(self, job: Job) -> None:
        with self._changed, suppress(ValueError):
            self._waiting.remove(job)

    def _work(self) -> None:
        while (taken := self._next()) is not None:
            batch = [job.tokens(item) for job, item in taken]
            jobs = list(dict.fromkeys(job for job, _ in taken))
            try:
                rows = self._run_pass(batch)
            except Exception as error:
                for job in jobs:
                    self._forget(job)
                _answer(jobs, error)
                continue
            for (job, item), row in zip(taken, rows, strict=True):
                job.fill(item, row)
            _answer([job for job in jobs if job.is_done], None)

    def _next(self) -> list[tuple[Job, int]] | None:
        """The inputs of the next pass; waits for some. None once closed."""
        with self._changed:
            while not self._closed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if self._window:
                    self._wait_for_company()
                if self._waiting:
                    return self._take()
            return None

    def _wait_for_company(self) -> None:
        while self._waiting and self._inputs_waiting() < self._bounds.max_items:
            remaining = self._waiting[0].arrived + self._window - time.monotonic()
            if remaining <= 0 or not self._changed.wait(remaining):
                return

    def _inputs_waiting(self) -> int:
        return sum(len(job.lengths) for job in self._waiting)

    def _take(self) -> list[tuple[Job, int]]:
        """Form a pass; requests that took part and have inputs left go to the end of the queue."""
        turn = [job for job, _ in zip(self._waiting, range(self._bounds.max_items), strict=False)]
        positions: dict[int, list[int]] = defaultdict(list)
        for request, position in plan([job.lengths for job in turn], self._bounds):
            positions[request].append(position)
        taken: list[tuple[Job, int]] = []
        for request, wanted in positions.items():
            job = turn[request]
            taken.extend((job, item) for item in job.take(wanted))
            self._waiting.remove(job)
            if job.lengths:
                self._waiting.append(job)
        return taken


def _answer(jobs: Iterable[Job], error: BaseException | None) -> None:
    """Wake the waiters, once for each event loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Job]] = defaultdict(list)
    for job in jobs:
        by_loop[job.loop].append(job)
    for loop, own in by_loop.items():
        with suppress(RuntimeError):  # the loop has ended, and its waiters with it
            loop.call_soon_threadsafe(_resolve, own, error)


def _resolve(jobs: list[Job], error: BaseException | None) -> None:
    for job in jobs:
        job.resolve(error)
