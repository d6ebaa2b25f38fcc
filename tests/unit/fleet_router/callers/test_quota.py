"""Limits of a key: what is left of them, and when it is full again."""

from __future__ import annotations

from typing import Any

import pytest

from fleet_contract.errors import RateLimited
from fleet_router.callers.keys import Key, KeyLimits
from fleet_router.callers.quota import Quota, TokenBucket
from fleet_router.callers.usage import RequestUsage


class Clock:
    """A clock that stands still unless it is set."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def key(**limits: Any) -> Key:
    return Key(name="k", sha256="0" * 64, limits=KeyLimits(**limits))


def test_a_bucket_fills_evenly_up_to_its_limit(clock: Clock) -> None:
    bucket = TokenBucket(60, clock)
    bucket.take(90)
    assert (bucket.level, bucket.wait(0), bucket.wait(1)) == (-30, 30, 31)
    clock.now += 45
    assert (bucket.level, bucket.wait(15), bucket.wait(16)) == (15, 0, 1)
    clock.now += 1000
    assert (bucket.level, bucket.wait(60)) == (60, 0)


def test_headers_show_what_is_left_and_when_it_is_full(clock: Clock) -> None:
    quota = Quota(key(requests_per_minute=10, tokens_per_minute=600), clock)
    quota.admit(0)
    quota.release(RequestUsage(prompt_tokens=500, completion_tokens=400))
    assert quota.headers() == [
        (b"x-ratelimit-limit-requests", b"10"),
        (b"x-ratelimit-remaining-requests", b"9"),
        (b"x-ratelimit-reset-requests", b"6000ms"),
        (b"x-ratelimit-limit-tokens", b"600"),
        (b"x-ratelimit-remaining-tokens", b"0"),  # the level is negative
        (b"x-ratelimit-reset-tokens", b"90000ms"),
    ]
    assert Quota(key(images_per_minute=1), clock).headers() == []


@pytest.mark.parametrize(
    ("limits", "images", "usage", "seconds"),
    [
        ({"requests_per_minute": 1}, 0, RequestUsage(), 60),
        ({"images_per_minute": 2}, 2, RequestUsage(), 60),
        ({"tokens_per_minute": 60}, 0, RequestUsage(50, 0, 10), 1),
        ({"audio_seconds_per_minute": 60}, 0, RequestUsage(0, 0, 0, 61.0), 2),
    ],
)
def test_what_was_used_is_refused_until_it_is_there_again(
    clock: Clock, limits: dict[str, int], images: int, usage: RequestUsage, seconds: float
) -> None:
    quota = Quota(key(**limits), clock)
    quota.admit(images)
    quota.release(usage)
    with pytest.raises(RateLimited, match="per minute is reached") as caught:
        quota.admit(images)
    assert caught.value.retry_after == seconds
    assert quota.running == 0
    clock.now += seconds
    quota.admit(images)
    assert quota.running == 1


def test_requests_without_images_need_no_images(clock: Clock) -> None:
    quota = Quota(key(images_per_minute=1), clock)
    quota.admit(1)
    quota.admit(0)
    assert quota.running == 2


def test_running_requests_are_limited(clock: Clock) -> None:
    quota = Quota(key(concurrent_requests=1), clock)
    quota.admit(0)
    with pytest.raises(RateLimited) as caught:
        quota.admit(0)
    assert (caught.value.code, caught.value.retry_after) == ("concurrency_limit_exceeded", 1.0)
    quota.release(RequestUsage())
    quota.admit(0)


def test_changed_limits_start_full_and_others_stay_used(clock: Clock) -> None:
    quota = Quota(key(requests_per_minute=1), clock)
    quota.admit(0)
    quota.renew(key(requests_per_minute=1))
    with pytest.raises(RateLimited):
        quota.admit(0)
    quota.renew(key(requests_per_minute=2))
    quota.admit(0)
    assert quota.running == 2
