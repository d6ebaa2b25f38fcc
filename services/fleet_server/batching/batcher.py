"""Runs the inputs of many requests through one model in shared passes.

The embedding and rerank routes await `run`. There is no timer while the model is idle: a request
that finds it so starts at once, and those that come while a pass runs share the next one. Where a
model has lanes, what waits is dealt out to passes beside each other.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from fleet_contract.errors import NotReady, QueueFull
from fleet_contract.spec import ModelSpec
from fleet_server.admission import passes_at_once
from fleet_server.batching.job import Job, Rows
from fleet_server.batching.planner import Bounds, plan, unpadded
from fleet_server.batching.window import Window

RunPass = Callable[[list[Sequence[int]]], Rows]
"""One pass of the model: float32 `[len(batch), ...]`, row by row the result of each input."""


@dataclass(frozen=True, slots=True)
class Beside:
    """Passes that run at the same time: `lanes()` of them now, `most` at most."""

    run_pass: RunPass
    lanes: Callable[[], int]
    most: int


class Batcher:
    """Threads run passes; `run` may be awaited by any number of requests.

    At most `max_waiting` requests wait for a pass; `window` is how many seconds the first of a
    batch waits for company at most. `at_once` passes run at the same time, each on the whole
    device; a model with lanes runs one, in parts.
    """

    def __init__(
        self,
        run_pass: RunPass,
        bounds: Bounds,
        *,
        max_waiting: int,
        window: float = 0,
        at_once: int = 1,
        beside: Beside | None = None,
    ) -> None:
        self._run_pass = run_pass
        self._bounds = bounds
        self._max_waiting = max_waiting
        self._window = Window(window)
        self._at_once = at_once
        self._beside = beside or Beside(run_pass, lambda: at_once, at_once)
        self._running = 0
        self._alone = False
        self._waiting: deque[Job] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name="batcher", daemon=True)
            for _ in range(self._beside.most)
        ]
        for thread in self._threads:
            thread.start()

    @classmethod
    def for_model(cls, model: Any, run_pass: RunPass, spec: ModelSpec, running: int) -> Batcher:
        """A batcher within the limits of a spec; `running` requests are let in at once."""
        batching, limits = spec.batching, spec.limits
        bounds = Bounds(
            max_items=spec.pass_size,
            max_tokens=batching.max_tokens,
            max_requests=batching.max_size if batching.enabled else 1,
            padded=getattr(model, "padded_length", unpadded),
        )
        window = batching.window_ms / 1000 if batching.enabled else 0.0
        lanes = None
        if hasattr(model, "embed_beside"):
            lanes = Beside(model.embed_beside, lambda: int(model.lanes), model.most_lanes)
        return cls(
            run_pass,
            bounds,
            max_waiting=limits.max_queue_size + running,
            window=window,
            at_once=passes_at_once(spec, model),
            beside=lanes,
        )

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
            self._changed.notify_all()
        _answer(left, NotReady("The server is shutting down; please try again.", retry_after=1))
        for thread in self._threads:
            thread.join()

    def _forget(self, job: Job) -> None:
        with self._changed, suppress(ValueError):
            self._waiting.remove(job)

    def _work(self) -> None:
        while (turn := self._next()) is not None:
            run_pass, taken = turn
            batch = [job.tokens(item) for job, item in taken]
            jobs = list(dict.fromkeys(job for job, _ in taken))
            try:
                rows = run_pass(batch)
            except Exception as error:
                for job in jobs:
                    self._forget(job)
                _answer(jobs, error)
            else:
                with self._changed:
                    for (job, item), row in zip(taken, rows, strict=True):
                        job.fill(item, row)
                    done = [job for job in jobs if job.is_done]
                _answer(done, None)
            self._ended()

    def _next(self) -> tuple[RunPass, list[tuple[Job, int]]] | None:
        """The next pass and its inputs; waits for some. None once closed."""
        with self._changed:
            while not self._closed:
                self._changed.wait_for(self._may_take)
                if self._waiting and self._window.opens():
                    self._wait_for_company()
                if self._may_take() and not self._closed:
                    return self._take_share()
            return None

    def _may_take(self) -> bool:
        if self._closed:
            return True
        free = not self._alone and self._running < self._beside.lanes()
        return bool(self._waiting) and free

    def _take_share(self) -> tuple[RunPass, list[tuple[Job, int]]]:
        """One input alone gets all cores; more are dealt out to the lanes that are free."""
        waiting = self._inputs_waiting()
        free = self._beside.lanes() - self._running
        self._running += 1
        if self._at_once > 1:
            return self._run_pass, self._take_and_wake(self._bounds)
        if self._beside.lanes() == 1 or (waiting == 1 and self._running == 1):
            self._alone = True
            return self._run_pass, self._take(self._bounds)
        share = min(self._bounds.max_items, -(-waiting // free))
        return self._beside.run_pass, self._take_and_wake(replace(self._bounds, max_items=share))

    def _take_and_wake(self, bounds: Bounds) -> list[tuple[Job, int]]:
        """Form a pass; another thread may begin one with what is left."""
        taken = self._take(bounds)
        if self._waiting:
            self._changed.notify()
        return taken

    def _ended(self) -> None:
        with self._changed:
            self._running -= 1
            self._alone = False
            if self._waiting:
                self._changed.notify()

    def _wait_for_company(self) -> None:
        there = len(self._waiting)
        while self._waiting and not self._is_full():
            last = max(job.arrived for job in self._waiting)
            left = self._window.left(self._waiting[0].arrived, last, time.monotonic())
            if left <= 0:
                break
            self._changed.wait(left)
        self._window.closed(len(self._waiting) - there)

    def _is_full(self) -> bool:
        """Whether a pass could take in nothing more."""
        most = self._bounds.max_requests
        if most is not None and len(self._waiting) >= most:
            return True
        return self._inputs_waiting() >= self._bounds.max_items

    def _inputs_waiting(self) -> int:
        return sum(len(job.lengths) for job in self._waiting)

    def _take(self, bounds: Bounds) -> list[tuple[Job, int]]:
        """Form a pass; requests that took part and have inputs left go to the end of the queue."""
        turn = [job for job, _ in zip(self._waiting, range(bounds.max_items), strict=False)]
        positions: dict[int, list[int]] = defaultdict(list)
        for request, position in plan([job.lengths for job in turn], bounds):
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
