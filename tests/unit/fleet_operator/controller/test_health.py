"""Liveness and readiness of the operator."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from fleet_operator.controller.health import STUCK_SECONDS, unhealthy, unready


def resync(stale: set[str] | None = None, reachable: bool = True) -> Any:
    return cast(Any, SimpleNamespace(stale=stale or set(), reachable=reachable))


def queue(oldest: float = 0.0, is_open: bool = True) -> Any:
    return cast(Any, SimpleNamespace(oldest=oldest, is_open=is_open))


@pytest.mark.parametrize(
    ("found", "waited", "problem"),
    [
        (resync(), STUCK_SECONDS, None),
        (resync(reachable=False), 0.0, None),  # no restart brings the API server back
        (resync({"Pod", "Deployment"}), 0.0, "watches are stuck: Deployment, Pod"),
        (resync(), STUCK_SECONDS + 1, "a model has waited for 181 s"),
    ],
)
def test_liveness_fails_for_what_a_restart_repairs(
    found: Any, waited: float, problem: str | None
) -> None:
    assert unhealthy(found, queue(waited)) == problem


@pytest.mark.parametrize(
    ("found", "started", "problem"),
    [
        (resync(), True, None),
        (resync(), False, "the watches have not synced yet"),
        (resync(reachable=False), True, "the API server is unreachable"),
    ],
)
def test_readiness_follows_the_current_state(
    found: Any, started: bool, problem: str | None
) -> None:
    assert unready(found, queue(is_open=started)) == problem
