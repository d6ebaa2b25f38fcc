"""Progress and failures of the DaemonSets that fill node caches."""

from __future__ import annotations

from typing import Any

import pytest

from fleet_operator.decide.weights.prefetch_progress import Progress, failures, progress


def daemon_set(**status: int) -> dict[str, Any]:
    return {"metadata": {"generation": 3}, "status": {"observedGeneration": 3, **status}}


def pod(node: str, **init: Any) -> dict[str, Any]:
    return {
        "spec": {"nodeName": node},
        "status": {"initContainerStatuses": [{"name": "fetch", **init}]},
    }


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"desiredNumberScheduled": 4, "numberReady": 4, "updatedNumberScheduled": 3}, (4, 3, 0)),
        ({"desiredNumberScheduled": 4, "numberReady": 2, "updatedNumberScheduled": 4}, (4, 2, 0)),
        ({"desiredNumberScheduled": 4, "currentNumberScheduled": 1}, (4, 0, 3)),
        ({"desiredNumberScheduled": 4, "numberReady": 4, "observedGeneration": 2}, (4, 0, 0)),
        ({}, (0, 0, 0)),
    ],
)
def test_progress(status: dict[str, int], expected: tuple[int, int, int]) -> None:
    assert progress(daemon_set(**status), 7) == Progress(*expected, left_out=7)


def test_without_a_status_nothing_is_ready() -> None:
    assert progress({"metadata": {"generation": 1}}, 0) == Progress()


CRASHED = {"terminated": {"exitCode": 1, "message": "acme/a: 403 from the hub\n"}}


@pytest.mark.parametrize(
    ("init", "message"),
    [
        ({"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": CRASHED},
         "fetch: acme/a: 403 from the hub"),
        ({"state": {"running": {}}, "lastState": CRASHED}, "fetch: acme/a: 403 from the hub"),
        ({"state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}, "fetch: OOMKilled"),
        ({"state": {"terminated": {"exitCode": 9}}}, "fetch: exit code 9"),
        ({"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}},
         "fetch: ImagePullBackOff no such image"),
    ],
)  # fmt: skip
def test_a_failed_download(init: dict[str, Any], message: str) -> None:
    assert failures([pod("a", **init), pod("b")]) == {"a": message}


@pytest.mark.parametrize(
    "init",
    [
        {"state": {"running": {}}},
        {"state": {"waiting": {"reason": "PodInitializing"}}},
        {"state": {"terminated": {"exitCode": 0}}, "lastState": CRASHED},
        {},
    ],
)
def test_one_that_has_not_failed(init: dict[str, Any]) -> None:
    assert failures([pod("a", **init), {"spec": {}, "status": {}}]) == {}


def test_a_long_log_is_cut_to_its_end() -> None:
    ended = {"terminated": {"exitCode": 1, "message": "x" * 5000 + " the cause"}}
    (message,) = failures([pod("a", state=ended)]).values()
    assert len(message) <= 300
    assert message.endswith("the cause")
