"""llama.cpp's sleep: some seconds after the last task, its loop frees the model and the cache; the
next request loads them again.

A request waits until the model is loaded, then computes with it, for example its tokens, and only
then becomes a task. So if the loop frees the model in between, the request uses freed memory, and
its task waits until another request comes. Therefore a request is sent only while the last task
ended less than half of these seconds ago. Otherwise a request that uses no model precedes it.
Source: `server_queue` in tools/server of github.com/ggml-org/llama.cpp.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock

LEAST_SECONDS = 20
"""Half of them are longer than a request computes before it is a task, also on a busy machine."""
FRESH = 0.5
"""Share of the seconds within which requests may follow the last task."""
STEADY = 0.75
"""Share of the seconds within which the model is certainly not freed."""
LATE_SECONDS = 10.0
"""Within which the loop frees the model after that time."""
POLL_SECONDS = 0.2


def seconds_of(release_after: int) -> int:
    """The `sleep_idle_seconds` of `CommonParams` for `cache.releaseAfter`."""
    return max(LEAST_SECONDS, release_after) if release_after else -1


class Sleep:
    """The sleep of one server that begins after `seconds`, or never if negative. Thread-safe.

    `task` makes a task that uses no model, and ends when it is done; a second call of it wakes a
    loop that has not noticed the first. The constructor is called before the loop starts.
    """

    def __init__(
        self, seconds: float, task: Callable[[], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds = seconds
        self._task = task
        self._clock = clock
        self._last = clock()
        """When the end of the last known task was noticed, a moment after it."""
        self._lock = Lock()

    def prevent(self) -> None:
        """Let the model be loaded for a request that is sent now. Raises what `task` does."""
        if self._is_within(FRESH):
            return
        with self._lock:
            if not self._is_within(FRESH):
                self._task()
                # Not before the task, which waits for a pass: longer than these seconds if that is
                # slow.
                self._last = self._clock()

    @property
    def is_near(self) -> bool:
        """Whether the model may be freed, or loaded again, at any moment, or is freed."""
        return not self._is_within(STEADY)

    def wait(self, has_begun: Callable[[], bool]) -> None:
        """Wait until the model is freed, which is soon, or until it is used again."""
        last = self._last
        end = min(last + self._seconds, self._clock() + LEAST_SECONDS) + LATE_SECONDS
        while self._seconds > 0 and self._last == last:
            if has_begun() or self._clock() > end:
                return
            time.sleep(POLL_SECONDS)

    def _is_within(self, share: float) -> bool:
        return self._seconds < 0 or self._clock() < self._last + share * self._seconds
