"""Usage by key and model, from the router's counters."""

from __future__ import annotations

from fleet_router.metrics import RouterMetrics
from fleet_router.status.usage import Usage, usage_of


def test_counters_of_a_key_and_a_model_are_one_row() -> None:
    metrics = RouterMetrics()
    assert usage_of(metrics) == Usage([], {})
    for path, code, number in (("/v1/a", "200", 2), ("/v1/b", "499", 1), ("/v1/b", "503", 1)):
        metrics.requests.of("m", path, "team", code).inc(number)
    metrics.requests.of("m", "/v1/a", "other", "200").inc(9)
    metrics.requests.of("", "/v1/a", "", "401").inc()
    metrics.tokens.of("m", "team", "prompt").inc(5)
    metrics.tokens.of("m", "team", "completion").inc(7)
    metrics.audio_seconds.of("n", "team").inc(1.5)
    metrics.images.of("m", "team").inc(2)
    metrics.cost.of("m", "team", "EUR").inc(0.25)
    m = {"key": "team", "model": "m", "requests": 4, "errors": 2, "prompt_tokens": 5,
         "completion_tokens": 7, "images": 2, "cost": {"EUR": 0.25}}  # fmt: skip
    n = {"key": "team", "model": "n", "audio_seconds": 1.5}
    other = {"key": "other", "model": "m", "requests": 9, "errors": 0}
    refused = {"key": "", "model": "", "requests": 1, "errors": 1}
    found = usage_of(metrics)
    assert found.rows == [other, m, refused, n]
    assert found.by_key == {"team": [m, n], "other": [other], "": [refused]}
