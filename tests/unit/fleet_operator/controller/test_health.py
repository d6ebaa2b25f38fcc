"""Liveness and readiness of the operator."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import test_utils, web

from fleet_operator.controller.health import (
    STUCK_SECONDS,
    Health,
    application,
    unhealthy,
    unready,
)
from fleet_operator.metrics import Metrics


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[Callable[[str], Awaitable[int]]]:
    """Returns the status of a path of `app`."""
    async with test_utils.TestClient(test_utils.TestServer(app)) as client:

        async def get(path: str) -> int:
            async with client.get(path) as response:
                return response.status

        yield get


def resync(stale: set[str] | None = None, reachable: bool = True) -> Any:
    return cast(Any, SimpleNamespace(stale=stale or set(), reachable=reachable))


def queue(stalled: float = 0.0, is_open: bool = True) -> Any:
    return cast(Any, SimpleNamespace(stalled=stalled, is_open=is_open))


def leadership(problem: str = "") -> Any:
    return cast(Any, SimpleNamespace(problem=problem))


@pytest.mark.parametrize(
    ("found", "waited", "problem"),
    [
        (resync(), STUCK_SECONDS, None),
        (resync(reachable=False), 0.0, None),  # no restart brings the API server back
        (resync({"Pod", "Deployment"}), 0.0, "watches are stuck: Deployment, Pod"),
        (resync(), STUCK_SECONDS + 1, "no progress for 181 s"),
    ],
)
def test_liveness_fails_for_what_a_restart_repairs(
    found: Any, waited: float, problem: str | None
) -> None:
    assert unhealthy(found, queue(waited)) == problem


@pytest.mark.parametrize(
    ("found", "started", "election", "problem"),
    [
        (resync(), True, "", None),  # a replica that is not the leader is ready
        (resync(), False, "", "the watches have not synced yet"),
        (resync(reachable=False), True, "", "the API server is unreachable"),
        (resync(), True, "403 Forbidden", "no leader can be elected: 403 Forbidden"),
    ],
)
def test_readiness_follows_the_current_state(
    found: Any, started: bool, election: str, problem: str | None
) -> None:
    assert unready(found, queue(is_open=started), leadership(election)) == problem


async def test_an_operator_that_waits_for_its_definition_is_live_but_not_ready() -> None:
    health = Health()
    async with serving(application(Metrics(), health)) as get:
        assert (await get("/livez"), await get("/readyz")) == (200, 503)
        health.start(resync(), queue(), leadership())
        assert (await get("/livez"), await get("/readyz")) == (200, 200)
        health.start(resync({"Pod"}), queue(), leadership())
        for path, status in (("/livez", 503), ("/healthz", 503), ("/metrics", 200)):
            assert await get(path) == status
