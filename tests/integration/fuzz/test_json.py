"""JSON bodies of all routes with errors at all depths and in all bytes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integration.fuzz import bodies, openapi_checks, raw_http

TARGETS = ("server", "router")
CASES = [
    pytest.param(path, valid, id=f"{path}-{n}") for n, (path, valid) in enumerate(bodies.VALID)
]
SCHEMAS = openapi_checks.Schemas(("chat", "embedding", "rerank"))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("path", "valid"), CASES)
def test_the_unchanged_bodies_are_accepted(
    fuzzed: Any, target: str, path: str, valid: dict[str, Any]
) -> None:
    """Otherwise a rejection would say nothing about the changed field."""
    raw = raw_http.post(path, bodies.encoded(valid, True))
    answer = fuzzed.send(fuzzed.port(target, valid["model"]), raw)
    assert answer.status == 200, answer.body
    raw_http.judge(answer)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("path", "valid"), CASES)
def test_wrong_values_at_every_depth(
    fuzzed: Any, settings: Any, target: str, path: str, valid: dict[str, Any]
) -> None:
    @settings
    @given(body=bodies.broken_json(valid), ascii_only=st.booleans())
    def holds(body: Any, ascii_only: bool) -> None:
        raw = bodies.encoded(body, ascii_only)
        answer = fuzzed.send(fuzzed.port(target, valid["model"]), raw_http.post(path, raw))
        raw_http.judge(answer)
        if target == "server":
            SCHEMAS.agree(path, raw, answer.status, answer.body)

    holds()


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("index", [0, 2, 4, 6, 9])
def test_bytes_that_are_not_json(fuzzed: Any, settings: Any, target: str, index: int) -> None:
    path, valid = bodies.VALID[index]

    @settings
    @given(body=bodies.broken_bytes(bodies.encoded(valid, False)))
    def holds(body: bytes) -> None:
        raw_http.judge(fuzzed.send(fuzzed.port(target, valid["model"]), raw_http.post(path, body)))

    holds()


@pytest.mark.parametrize("target", TARGETS)
def test_bodies_that_end_too_early(fuzzed: Any, settings: Any, target: str) -> None:
    path, valid = bodies.VALID[0]
    whole = raw_http.post(path, bodies.encoded(valid, False))

    @settings
    @given(end=st.integers(0, len(whole) - 1))
    def holds(end: int) -> None:
        answer = fuzzed.send(fuzzed.port(target, "chat"), whole[:end], leave=True)
        if answer is not None:
            assert answer.status != 200
            raw_http.judge(answer)

    holds()
