"""Runs the inputs of concurrent requests through one model in shared passes.

While the model is idle a request starts immediately; requests that arrive during a pass share the
next one. With lanes, waiting inputs are divided between concurrent passes. Callers take turns: in
each pass every caller's requests get the same number of places before others fill it.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from fleet_contract.errors import NotReady, QueueFull
from fleet_contract.spec import ModelSpec
from fleet_server.admission import passes_at_once
from fleet_server.batching.job import Job, Rows
from fleet_server.batching.planner import BatchLimits, plan, unpadded
from fleet_server.batching.window import BatchWindow
from fleet_server.turns import Turns

RunPass = Callable[[list[Sequence[int]]], Rows]
"""One pass of the model: float32 `[len(batch), ...]`, a row for each input."""


@dataclass(frozen=True, slots=True)
class Lanes:
    """Concurrent passes: `count()` of them now, at most `most`."""

    run_pass: RunPass
    count: Callable[[], int]
    most: int


class Batcher:
    """Threads run the passes; any number of requests may await `run`.

    At most `max_waiting` requests wait for a pass. The first of a batch waits at most `window`
    seconds for more requests. `concurrent` passes run at the same time, each on the whole device;
    with `lanes`, which divide the device, it is 1.
    """

    def __init__(
        self,
        run_pass: RunPass,
        bounds: BatchLimits,
        *,
        max_waiting: int,
        window: float = 0,
        concurrent: int = 1,
        lanes: Lanes | None = None,
    ) -> None:
        self._run_pass = run_pass
        self._bounds = bounds
        self._max_waiting = max_waiting
        self._window = BatchWindow(window)
        self._concurrent = concurrent
        self._lanes = lanes or Lanes(run_pass, lambda: concurrent, concurrent)
        self._running = 0
        self._exclusive = False
        self._waiting: Turns[Job] = Turns()
        self._changed = threading.Condition()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name="batcher", daemon=True)
            for _ in range(self._lanes.most)
        ]
        for thread in self._threads:
            thread.start()

    @classmethod
    def for_model(cls, model: Any, run_pass: RunPass, spec: ModelSpec, running: int) -> Batcher:
        """A batcher with the limits of `spec`; `running` requests are admitted at once."""
        batching, limits = spec.batching, spec.limits
        bounds = BatchLimits(
            max_items=spec.pass_size,
            max_tokens=batching.max_tokens,
            max_requests=batching.max_size if batching.enabled else 1,
            padded=getattr(model, "padded_length", unpadded),
        )
        window = batching.window_ms / 1000 if batching.enabled else 0.0
        lanes = None
        if hasattr(model, "embed_concurrent"):
            lanes = Lanes(model.embed_concurrent, lambda: int(model.lanes), model.most_lanes)
        return cls(
            run_pass,
            bounds,
            max_waiting=limits.max_queue_size + running,
            window=window,
            concurrent=passes_at_once(spec, model),
            lanes=lanes,
        )

    async def run(self, batch: Sequence[Sequence[int]], caller: str = "") -> Rows:
        """The results in order, float32 `[len(batch), ...]`; `batch` and its inputs are not empty.

        Raises QueueFull, NotReady once closed, and the exception of a pass with one of the inputs.
        Cancelling removes inputs that have not run from the queue.
        """
        job = Job(batch, asyncio.get_running_loop(), caller)
        with self._changed:
            if self._closed:
                raise NotReady("The server is shutting down; please try again.", retry_after=1)
            if len(self._waiting) >= self._max_waiting:
                raise QueueFull(
                    f"{len(self._waiting)} requests are waiting for the model, the most this "
                    f"server accepts; please try again.",
                    retry_after=1,
                )
            self._waiting.append(job)
            self._changed.notify()
        try:
            return await job.future
        finally:
            if not job.is_done:
                self._drop(job)

    def close(self) -> None:
        """Fail waiting requests and end the threads after their running passes. Idempotent."""
        with self._changed:
            self._closed = True
            left = list(self._waiting)
            self._waiting.clear()
            self._changed.notify_all()
        _resolve(left, NotReady("The server is shutting down; please try again.", retry_after=1))
        for thread in self._threads:
            thread.join()

    def _drop(self, job: Job) -> None:
        with self._changed, suppress(ValueError):  # it may run already
            self._waiting.remove(job)

    def _work(self) -> None:
        while (formed := self._next()) is not None:
            run_pass, taken = formed
            batch = [job.tokens(item) for job, item in taken]
            jobs = list(dict.fromkeys(job for job, _ in taken))
            try:
                rows = run_pass(batch)
            except Exception as error:
                # Their inputs that still wait are not run: the requests have failed.
                for job in jobs:
                    self._drop(job)
                _resolve(jobs, error)
            else:
                with self._changed:
                    for (job, item), row in zip(taken, rows, strict=True):
                        job.fill(item, row)
                    done = [job for job in jobs if job.is_done]
                _resolve(done, None)
            self._ended()

    def _next(self) -> tuple[RunPass, list[tuple[Job, int]]] | None:
        """Wait for inputs; the next pass and its inputs. None once closed."""
        with self._changed:
            while not self._closed:
                self._changed.wait_for(self._may_take)
                if self._waiting and self._window.opens():
                    self._wait_for_more()
                # Another thread may have taken the inputs during the wait.
                if self._may_take() and not self._closed:
                    return self._take_share()
            return None

    def _may_take(self) -> bool:
        if self._closed:
            return True
        free = not self._exclusive and self._running < self._lanes.count()
        return bool(self._waiting) and free

    def _take_share(self) -> tuple[RunPass, list[tuple[Job, int]]]:
        """A single input runs on all cores; several are divided between the free lanes."""
        waiting, lanes = self._inputs_waiting(), self._lanes.count()
        free = max(1, lanes - self._running)  # lanes may have been removed meanwhile
        self._running += 1
        if self._concurrent > 1:
            return self._run_pass, self._take_and_wake(self._bounds)
        if lanes == 1 or (waiting == 1 and self._running == 1):
            self._exclusive = True
            # A pass of several inputs lets the model add its lanes.
            run_pass = self._run_pass if waiting == 1 else self._lanes.run_pass
            return run_pass, self._take(self._bounds)
        share = min(self._bounds.max_items, -(-waiting // free))
        return self._lanes.run_pass, self._take_and_wake(replace(self._bounds, max_items=share))

    def _take_and_wake(self, bounds: BatchLimits) -> list[tuple[Job, int]]:
        """Form a pass and wake another thread for the inputs left."""
        taken = self._take(bounds)
        if self._waiting:
            self._changed.notify()
        return taken

    def _ended(self) -> None:
        with self._changed:
            self._running -= 1
            self._exclusive = False
            if self._waiting:
                self._changed.notify()

    def _wait_for_more(self) -> None:
        before = len(self._waiting)
        while self._waiting and not self._is_full():
            arrived = [job.arrived for job in self._waiting.unordered()]
            left = self._window.left(min(arrived), max(arrived), time.monotonic())
            if left <= 0:
                break
            self._changed.wait(left)
        self._window.closed(len(self._waiting) - before)

    def _is_full(self) -> bool:
        """Whether a pass is full already."""
        most = self._bounds.max_requests
        if most is not None and len(self._waiting) >= most:
            return True
        return self._inputs_waiting() >= self._bounds.max_items

    def _inputs_waiting(self) -> int:
        return sum(len(job.lengths) for job in self._waiting.unordered())

    def _take(self, bounds: BatchLimits) -> list[tuple[Job, int]]:
        """Form a pass; its requests with inputs left move to the end of their caller's."""
        candidates, leading = self._candidates(bounds.max_items)
        positions: dict[int, list[int]] = defaultdict(list)
        for request, position in plan([job.lengths for job in candidates], bounds, leading):
            positions[request].append(position)
        taken: list[tuple[Job, int]] = []
        for request, wanted in positions.items():
            job = candidates[request]
            taken.extend((job, item) for item in job.take(wanted))
            self._waiting.remove(job)
            if job.lengths:
                self._waiting.append(job)
        for request in sorted(positions):
            self._waiting.served(candidates[request].caller)
        return taken

    def _candidates(self, most: int) -> tuple[list[Job], int]:
        """At most `most` requests in the order of turns, and how many of them come first: those
        within their caller's share of the pass."""
        callers = len(self._waiting.callers)
        if callers == 1:
            candidates = list(islice(self._waiting, most))
            return candidates, len(candidates)
        share = max(1, most // callers)
        first: list[Job] = []
        others: list[Job] = []
        number: Counter[str] = Counter()
        for job in self._waiting:
            number[job.caller] += 1
            (first if number[job.caller] <= share else others).append(job)
        return [*first, *others][:most], min(len(first), most)


def _resolve(jobs: Iterable[Job], error: BaseException | None) -> None:
    """Resolve the futures of the jobs, with one call into each event loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Job]] = defaultdict(list)
    for job in jobs:
        by_loop[job.loop].append(job)
    for loop, own in by_loop.items():
        with suppress(RuntimeError):  # the loop is closed, so no request awaits the result
            loop.call_soon_threadsafe(_resolve_on_loop, own, error)


def _resolve_on_loop(jobs: list[Job], error: BaseException | None) -> None:
    for job in jobs:
        job.resolve(error)
