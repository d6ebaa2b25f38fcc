"""Runs jobs in threads and returns at the first failure, without waiting for blocked sockets.

A thread that is blocked on a socket cannot be cancelled. The threads are daemons, and notice the
failure when the socket becomes readable or times out.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence

GRACE_SECONDS = 4.0
"""Time for running jobs to end after a failure, so that no child process is left behind."""


def run_all(jobs: Sequence[Callable[[], None]], at_once: int, give_up: Callable[[], None]) -> None:
    """Run all jobs. When one fails or the caller is interrupted, call `give_up`, which must make
    the others end, and raise the exception."""
    waiting: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
    for job in jobs:
        waiting.put(job)
    ended: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()

    def work() -> None:
        while True:
            try:
                job = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                job()
            except Exception as error:
                ended.put(error)
                return
            ended.put(None)

    threads = [
        threading.Thread(target=work, name=f"fetch-{number}", daemon=True)
        for number in range(min(at_once, len(jobs)))
    ]
    for thread in threads:
        thread.start()
    try:
        for _ in jobs:
            if (error := ended.get()) is not None:
                raise error
    except BaseException:
        give_up()
        deadline = time.monotonic() + GRACE_SECONDS
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        raise
