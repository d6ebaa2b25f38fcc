"""Events of pods that hang while their container is created."""

from __future__ import annotations

from typing import Any, cast

import pytest

from fleet_kube.client import KubeClient
from fleet_operator.controller.cache import ClusterCache
from fleet_operator.controller.probes.pod_events import PodEvents, is_hanging, last_warning
from fleet_operator.resources.resolve import Resolver, Sources
from fleet_operator.resources.views import PodView
from fleet_operator.settings import OperatorSettings
from support.operator_objects import NOW, pod

CREATING = {"waiting": ("ContainerCreating", "")}


@pytest.mark.parametrize(
    ("raw", "hanging"),
    [
        (pod(**CREATING), True),
        (pod(running=False), True),
        (pod(), False),
        (pod(waiting=("ErrImagePull", "x")), False),
        (pod(ended={"exitCode": 1}), False),
        (pod(unschedulable="x"), False),
        (pod(deleting=True, **CREATING), False),
        (pod(labels={"modelfleet.dev/inferencemodel": ""}, **CREATING), False),
    ],
)
def test_pods_without_progress_are_detected(raw: dict[str, Any], hanging: bool) -> None:
    view = PodView.parse(raw)
    assert is_hanging(view, NOW) is hanging
    assert not is_hanging(view, NOW - 50)  # scheduled 9 s before


def event(kind: str, reason: str, at: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "reason": reason, "message": "m", "lastTimestamp": at, **more}


@pytest.mark.parametrize(
    ("events", "hint"),
    [
        ([], ""),
        ([event("Normal", "Pulling", "2026-01-01T00:00:09Z")], ""),
        ([event("Warning", "Late", "2026-01-01T00:00:02Z"),
          event("Warning", "Early", "2026-01-01T00:00:01Z")], "Late: m"),
        ([event("Warning", "Counted", "", series={"lastObservedTime": "2026-01-01T00:00:03Z"}),
          event("Warning", "Old", "2026-01-01T00:00:02Z")], "Counted: m"),
        ([{"type": "Warning", "reason": "Long", "message": "x" * 900}], "Long: " + "x" * 494),
    ],
)  # fmt: skip
def test_the_newest_warning(events: list[dict[str, Any]], hint: str) -> None:
    assert last_warning(events) == hint


async def test_events_of_each_pod_are_listed_periodically(
    settings: OperatorSettings, sources: Sources
) -> None:
    asked: list[str] = []

    class Events:
        async def items(self, kind: Any, namespace: str, field_selector: str) -> Any:
            asked.append(field_selector)
            return [event("Warning", "FailedMount", "2026-01-01T00:00:02Z")]

    cache = ClusterCache(settings, Resolver(sources), sees_nodes=False)
    cache.put_pod(pod(**CREATING))
    events = PodEvents(cache, cast(KubeClient, Events()))
    assert [view.name for view in await events.refresh(NOW)] == ["m-1"]
    assert cache.hints == {"uid-m-1": "FailedMount: m"}
    assert await events.refresh(NOW + 9) == []
    assert asked == ["involvedObject.uid=uid-m-1"]
    assert await events.refresh(NOW + 10) == []  # asked again, nothing new
    assert len(asked) == 2
    cache.drop_pod(pod())
    assert cache.hints == {}
