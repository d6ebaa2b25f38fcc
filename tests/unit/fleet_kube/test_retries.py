"""Requests that are repeated after errors that may pass."""

from __future__ import annotations

import math

import pytest

from fleet_kube import retries
from fleet_kube.errors import ApiError, ApiUnreachable, KubeError
from fleet_kube.retries import RETRY_SECONDS, until_settled

DOWN = ApiUnreachable("refused")
BROKEN = ApiError(500, "", "webhook")
THROTTLED = ApiError(429, "TooManyRequests", "", 7.0)
EXPIRED = ApiError(401, "Unauthorized", "expired")
FORBIDDEN = ApiError(403, "Forbidden", "no")


@pytest.mark.parametrize(
    ("errors", "tries", "repeated"),
    [
        ([], 1, 0),
        ([DOWN] * 9, 3, 9),
        ([EXPIRED, BROKEN, THROTTLED], math.inf, 3),
        ([FORBIDDEN], math.inf, 0),
        ([DOWN, FORBIDDEN], math.inf, 1),
        ([BROKEN, DOWN, BROKEN, BROKEN], 3, 3),
    ],
)
async def test_only_errors_that_may_pass_are_repeated(
    errors: list[KubeError], tries: float, repeated: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, failed, slept = list(errors), list[KubeError](), list[float]()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async def request() -> str:
        if left:
            raise left.pop(0)
        return "result"

    monkeypatch.setattr(retries.asyncio, "sleep", sleep)
    if repeated == len(errors):
        assert await until_settled(request, failed.append, tries) == "result"
    else:
        with pytest.raises(ApiError) as caught:
            await until_settled(request, failed.append, tries)
        assert caught.value is errors[repeated]
    assert failed == errors[:repeated]
    assert slept == [7.0 if error is THROTTLED else RETRY_SECONDS for error in failed]
