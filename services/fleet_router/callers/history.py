"""The last requests, and figures of each model in intervals of some seconds, for the console.

Of this process only and bounded: the oldest entries leave. No text of a client is among them.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from fleet_router.callers.request_record import RequestRecord

MAX_REQUESTS = 1000
MAX_MODELS = 512
"""Models with intervals; beyond that the one without a request for longest leaves."""
INTERVAL_SECONDS = 10
INTERVALS = 60


class PastRequest(NamedTuple):
    """One request that has ended. Times in milliseconds; `first_ms` until the first byte of the
    response's body, None without one; `at` is the Unix time of its end. A tuple, since a frozen
    dataclass takes five times as long to create, for every request."""

    at: float
    request_id: str
    key: str
    model: str
    path: str
    status: int
    ms: float
    first_ms: float | None
    held_ms: float
    queue_ms: float
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    audio_seconds: float
    images: int
    sent_bytes: int
    attempts: int
    endpoint: str
    estimated: bool
    cost: float | None
    """Price of the usage in `currency`, None of a model without a price."""
    currency: str


@dataclass(slots=True)
class Interval:
    """Requests of a model that ended in the INTERVAL_SECONDS from `start`, in Unix time. Sums and
    maxima in seconds; `first` counts responses with a body."""

    start: int
    requests: int = 0
    errors: int = 0
    seconds: float = 0.0
    longest: float = 0.0
    first: int = 0
    first_seconds: float = 0.0
    first_longest: float = 0.0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    audio_seconds: float = 0.0


class History:
    """`clock` is the Unix time in seconds."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self.started = clock()
        self._requests: deque[PastRequest] = deque(maxlen=MAX_REQUESTS)
        self._models: OrderedDict[str, deque[Interval]] = OrderedDict()
        """By last request, the oldest first."""

    def add(
        self, record: RequestRecord, status: int, started: float, seconds: float, request_id: str
    ) -> None:
        """Note a request that has ended; `started` is by time.perf_counter.

        Requests without a valid key are left out, since anyone could replace all others by them.
        """
        if not record.caller:
            return
        usage = record.usage
        first = record.first_chunk_at - started if record.chunks else None
        self._requests.append(
            PastRequest(
                self._clock(), request_id, record.key, record.model, record.path, status,
                round(seconds * 1000, 1), None if first is None else round(first * 1000, 1),
                round(record.held_ms, 1), round(record.queue_ms, 1), usage.prompt_tokens,
                usage.cached_tokens, usage.completion_tokens, usage.audio_seconds, record.images,
                record.sent_bytes, record.attempts, record.endpoint, record.estimated,
                None if record.price is None else round(record.cost, 9),
                "" if record.price is None else record.price.currency,
            )
        )  # fmt: skip
        if not record.model:
            return
        one = self._interval(record.model)
        one.requests += 1
        one.errors += status >= 400
        one.seconds += seconds
        one.longest = max(one.longest, seconds)
        if first is not None:
            one.first += 1
            one.first_seconds += first
            one.first_longest = max(one.first_longest, first)
        one.prompt_tokens += usage.prompt_tokens
        one.completion_tokens += usage.completion_tokens
        one.audio_seconds += usage.audio_seconds

    def now(self) -> float:
        """The time by which intervals begin."""
        return self._clock()

    def requests(self, accept: Callable[[PastRequest], bool], limit: int) -> list[PastRequest]:
        """The last `limit` of those that `accept` accepts, the newest first."""
        found: list[PastRequest] = []
        for each in reversed(self._requests):
            if len(found) == limit:
                break
            if accept(each):
                found.append(each)
        return found

    def intervals(self, model: str) -> list[Interval]:
        """The intervals of a model that had requests, the oldest first; the last may still run."""
        oldest = self._clock() - INTERVALS * INTERVAL_SECONDS
        return [each for each in self._models.get(model, ()) if each.start > oldest]

    def rates(self, model: str, seconds: int = 3 * INTERVAL_SECONDS) -> tuple[float, float]:
        """Requests and generated tokens per second of a model in the last `seconds`, by the time at
        which requests ended."""
        since = self._clock() - seconds
        # Whole intervals: the first one may have begun earlier.
        recent = [each for each in self.intervals(model) if each.start > since - INTERVAL_SECONDS]
        elapsed = max(seconds, self._clock() - min((one.start for one in recent), default=since))
        return (
            sum(one.requests for one in recent) / elapsed,
            sum(one.completion_tokens for one in recent) / elapsed,
        )

    def _interval(self, model: str) -> Interval:
        start = int(self._clock()) // INTERVAL_SECONDS * INTERVAL_SECONDS
        intervals = self._models.get(model)
        if intervals is None:
            intervals = self._models[model] = deque(maxlen=INTERVALS)
            if len(self._models) > MAX_MODELS:
                self._models.popitem(last=False)
        else:
            self._models.move_to_end(model)
        if not intervals or intervals[-1].start != start:
            intervals.append(Interval(start))
        return intervals[-1]
