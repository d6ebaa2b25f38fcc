"""The limits of a key at this router, as token buckets.

Each bucket holds a minute's amount and fills evenly. The tokens or seconds of a request are known
only afterwards: it is admitted while anything is left and charged at its end. The level may become
negative; requests are then refused until it is positive again.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from fleet_contract.errors import RateLimited
from fleet_router.callers.keys import Key
from fleet_router.callers.usage import RequestUsage

MINUTE = 60.0


class TokenBucket:
    """`limit` per minute; `clock` is monotonic, in seconds."""

    def __init__(self, limit: int, clock: Callable[[], float]) -> None:
        self.limit = limit
        self._clock = clock
        self._level = float(limit)
        self._at = clock()

    @property
    def level(self) -> float:
        """The amount left now; negative if more was used."""
        now = self._clock()
        self._level = min(self.limit, self._level + (now - self._at) * self.limit / MINUTE)
        self._at = now
        return self._level

    def take(self, amount: float) -> None:
        """Use `amount`, whether it is left or not."""
        self._level = self.level - amount

    def wait(self, amount: float) -> float:
        """Seconds until `amount` is left; 0 if it is."""
        return max(0.0, (amount - self.level) * MINUTE / self.limit)


class Quota:
    """The buckets and running requests of one key."""

    def __init__(self, key: Key, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.key = key
        self.running = 0
        self._renew_buckets()

    def renew(self, key: Key) -> None:
        """Take the key from a changed file. Running requests stay counted, and are charged to the
        new limits; what was used stays used where the limits did not change."""
        changed = key.limits != self.key.limits
        self.key = key
        if changed:
            self._renew_buckets()

    def _renew_buckets(self) -> None:
        limits = self.key.limits

        def bucket(limit: int | None) -> TokenBucket | None:
            return TokenBucket(limit, self._clock) if limit is not None else None

        self.requests = bucket(limits.requests_per_minute)
        self.tokens = bucket(limits.tokens_per_minute)
        self.audio = bucket(limits.audio_seconds_per_minute)
        self.images = bucket(limits.images_per_minute)

    def check(self, images: int) -> None:
        """Raises RateLimited with `retry_after` if `admit` would."""
        limit = self.key.limits.concurrent_requests
        if limit is not None and self.running >= limit:
            raise RateLimited(
                f"This key's limit of {limit} concurrent requests is reached.",
                code="concurrency_limit_exceeded",
                retry_after=1.0,
            )
        # All are checked before any is charged: a refused request must cost nothing. Tokens and
        # audio are not known yet; 1 is enough to admit it.
        for bucket, what, amount in (
            (self.requests, "requests", 1.0),
            (self.images, "images", float(images)),
            (self.tokens, "tokens", 1.0),
            (self.audio, "seconds of audio", 1.0),
        ):
            if bucket is not None and amount and (seconds := bucket.wait(amount)) > 0:
                raise RateLimited(
                    f"This key's limit of {bucket.limit} {what} per minute is reached.",
                    retry_after=seconds,
                )

    def admit(self, images: int) -> None:
        """Admit one request; `release` must follow. Raises as `check`."""
        self.check(images)
        self.running += 1
        if self.requests is not None:
            self.requests.take(1)
        if self.images is not None:
            self.images.take(images)

    def release(self, usage: RequestUsage) -> None:
        """End an admitted request and charge its usage."""
        self.running -= 1
        if self.tokens is not None:
            self.tokens.take(usage.prompt_tokens + usage.completion_tokens)
        if self.audio is not None:
            self.audio.take(usage.audio_seconds)

    def headers(self) -> list[tuple[bytes, bytes]]:
        """OpenAI's `x-ratelimit-*` headers for the limits on requests and tokens."""
        headers = []
        for name, bucket in ((b"requests", self.requests), (b"tokens", self.tokens)):
            if bucket is not None:
                left = max(0, int(bucket.level))
                headers += [
                    (b"x-ratelimit-limit-" + name, b"%d" % bucket.limit),
                    (b"x-ratelimit-remaining-" + name, b"%d" % left),
                    (b"x-ratelimit-reset-" + name, b"%dms" % (bucket.wait(bucket.limit) * 1000)),
                ]
        return headers
