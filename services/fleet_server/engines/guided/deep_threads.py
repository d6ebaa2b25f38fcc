"""Threads with a large stack, in which llguidance compiles."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

STACK_BYTES = 256 << 20
"""Reserved, not used: the compiler's recursion is as deep as a chain of references."""

T = TypeVar("T")


def started(run: Callable[[], None], number: int = 1) -> list[threading.Thread]:
    """Running daemon threads."""
    threads = [
        threading.Thread(target=run, name=f"grammar-{index}", daemon=True)
        for index in range(number)
    ]
    default = threading.stack_size(STACK_BYTES)
    try:
        for thread in threads:
            thread.start()
    finally:
        threading.stack_size(default)
    return threads


def result_of(work: Callable[[], T]) -> T:
    """Runs `work` in such a thread. Raises what it raises."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # a panic in Rust is not an Exception
            future.set_exception(error)

    started(run)
    return future.result()
