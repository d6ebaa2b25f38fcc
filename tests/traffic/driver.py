"""Sends requests in its own thread while a test changes the fleet."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Self

import httpx

from traffic.http import client
from traffic.kind import BadResponse, Call, Kind, Truncated
from traffic.outcome import Mark, Outcome
from traffic.plan import Plan
from traffic.report import Report, report


class Stalled(Exception):
    """A wait timed out; the message has the report."""


class Driver:
    """`with Driver(plan, kinds) as driver:` sends requests of each kind in turn until the block
    ends.

    The thread is in the network namespace of the one that starts it. The end of the block waits for
    running requests.
    """

    def __init__(self, plan: Plan, kinds: Sequence[Kind]) -> None:
        if not kinds:
            raise ValueError("no kinds of requests")
        self._plan = plan
        self._kinds = kinds
        self._began = time.monotonic()
        self._outcomes: list[Outcome] = []
        self._marks: list[Mark] = []
        self._running: dict[int, float] = {}
        self._changed = threading.Condition()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._error: BaseException | None = None
        self._done = False
        self._thread = threading.Thread(target=self._main, name="traffic", daemon=True)

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        if self._error is not None:
            raise self._error

    @contextmanager
    def mark(self, name: str) -> Iterator[Mark]:
        """Name the time of the block for the report."""
        mark = Mark(name, self._now())
        self._marks.append(mark)
        try:
            yield mark
        finally:
            mark.ended = self._now()

    def wait_for_requests(
        self, count: int = 1, kind: str | None = None, seconds: float = 120.0
    ) -> None:
        """Wait until `count` requests that started after this call have ended. Raises Stalled."""
        since = self._now()

        def enough() -> bool:
            ended = [o for o in self._outcomes if o.started >= since and kind in (None, o.kind)]
            return len(ended) >= count

        self._wait(enough, seconds, f"{count} more requests")

    def wait_for_end(self, seconds: float = 120.0) -> None:
        """Wait until a limit of the plan was reached and all requests ended. Raises Stalled."""
        self._wait(lambda: self._done, seconds, "end")

    def wait_for_running(self, count: int = 1, seconds: float = 60.0) -> None:
        """Wait until at least `count` requests are running. Raises Stalled."""
        self._wait(lambda: len(self._running) >= count, seconds, f"{count} running requests")

    def stop(self) -> None:
        """Start no more requests and wait for the running ones; idempotent."""
        with self._changed:
            if self._loop is not None:
                with suppress(RuntimeError):  # the loop was closed a moment ago: all has ended
                    self._loop.call_soon_threadsafe(self._stop.set)
            elif not self._done:
                self._stop.set()  # the event loop does not run yet
        self._thread.join()

    @property
    def ended(self) -> bool:
        """Whether a limit of the plan was reached or `stop` was called."""
        return self._done

    def report(self) -> Report:
        """The report on all requests that have ended."""
        with self._changed:
            return report(list(self._outcomes), list(self._marks))

    def _now(self) -> float:
        return time.monotonic() - self._began

    def _wait(self, holds: Callable[[], bool], seconds: float, what: str) -> None:
        with self._changed:
            if not self._changed.wait_for(lambda: holds() or self.ended, seconds) or not holds():
                so_far = report(self._outcomes, self._marks)
                raise Stalled(f"no {what} within {seconds:g} s: {so_far}")

    def _main(self) -> None:
        try:
            asyncio.run(self._run())
        except BaseException as error:
            self._error = error
        finally:
            with self._changed:
                self._loop, self._done = None, True
                self._changed.notify_all()

    async def _run(self) -> None:
        plan = self._plan
        with self._changed:
            self._loop = asyncio.get_running_loop()
        places = asyncio.Semaphore(plan.concurrency)
        async with client(plan) as http, asyncio.TaskGroup() as group:
            for number, kind in enumerate(
                itertools.islice(itertools.cycle(self._kinds), plan.max_requests)
            ):
                await places.acquire()
                if await self._stopped_until(number / plan.rate):
                    return
                task = group.create_task(self._one(http, kind, number // len(self._kinds)))
                task.add_done_callback(lambda _: places.release())

    async def _stopped_until(self, due: float) -> bool:
        """Wait until `due`; returns whether to stop instead."""
        left = min(due, self._plan.seconds) - self._now()
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, left)):
                await self._stop.wait()
        return self._stop.is_set() or self._now() >= self._plan.seconds

    async def _one(self, http: httpx.AsyncClient, kind: Kind, number: int) -> None:
        call = Call(number, uuid.uuid4().hex)
        started = self._now()
        key = id(call)
        with self._changed:
            self._running[key] = started
            self._changed.notify_all()
        failure, truncated = None, False
        try:
            async with asyncio.timeout(self._plan.timeout):
                await kind.send(http, call)
        except TimeoutError:
            failure = f"no complete response within {self._plan.timeout:g} s"
            truncated = call.accepted
        except BadResponse as error:
            failure, truncated = str(error), isinstance(error, Truncated)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            failure = f"a response of another shape: {error!r}"
        outcome = Outcome(kind.name, started, self._now(), failure, truncated,
                          call.request_id, call.endpoint)  # fmt: skip
        with self._changed:
            del self._running[key]
            self._outcomes.append(outcome)
            self._changed.notify_all()
