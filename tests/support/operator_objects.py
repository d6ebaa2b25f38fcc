"""Settings, models, pods, nodes and observed states for tests of the operator."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from fleet_contract import catalog
from fleet_contract.spec import ModelSpec
from fleet_operator.decide.observed import Observed
from fleet_operator.resources.resolve import Sources, resolve
from fleet_operator.resources.views import NodeView, PodView
from fleet_operator.settings import OperatorSettings
from fleet_operator.timestamps import parse

NOW = parse("2026-01-01T12:00:00Z") or 0.0
CREATED = "2026-01-01T11:00:00Z"


def settings_of(**environ: str) -> OperatorSettings:
    return OperatorSettings.read({"POD_NAMESPACE": "system", **environ})


@pytest.fixture
def settings() -> OperatorSettings:
    """The default settings."""
    return settings_of()


@pytest.fixture
def sources() -> Sources:
    """The catalog, without profiles."""
    return Sources(dict(built_in_catalog()), {}, {})


@cache
def built_in_catalog() -> dict[str, ModelSpec]:
    """The catalog, parsed once: parsing takes 0.1 s and hundreds of tests need it."""
    return catalog.load()


def model(name: str = "m", uid: str = "uid-m", **spec: Any) -> dict[str, Any]:
    """An InferenceModel as the API server returns it."""
    return {
        "apiVersion": "modelfleet.dev/v1alpha1",
        "kind": "InferenceModel",
        "metadata": {
            "name": name,
            "namespace": "ns",
            "uid": uid,
            "generation": 2,
            "resourceVersion": "5",
            "creationTimestamp": CREATED,
        },
        "spec": {"model": "org/m", "replicas": 1, **spec},
    }


def pod(
    name: str = "m-1",
    *,
    template: str = "",
    node: str = "node-a",
    ready: bool = False,
    restarts: int = 0,
    waiting: tuple[str, str] | None = None,
    ended: dict[str, Any] | None = None,
    last_ended: dict[str, Any] | None = None,
    running: bool = True,
    created: str = "2026-01-01T11:59:00Z",
    unschedulable: str = "",
    deleting: bool = False,
    phase: str = "",
    requests: dict[str, str] | None = None,
    labels: dict[str, str] | None = None,
    command: tuple[str, ...] = ("modelfleet", "server"),
) -> dict[str, Any]:
    """A Pod of model `m` as the API server returns it."""
    state: dict[str, Any] = {"running": {"startedAt": "2026-01-01T11:59:04Z"}} if running else {}
    if waiting is not None:
        state = {"waiting": {"reason": waiting[0], "message": waiting[1]}}
    if ended is not None:
        state = {"terminated": ended}
    conditions = [
        {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-01T11:59:01Z"}
    ]
    if unschedulable:
        node = ""
        conditions = [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
             "message": unschedulable}
        ]  # fmt: skip
    else:
        conditions.append({"type": "Ready", "status": "True" if ready else "False",
                           "lastTransitionTime": "2026-01-01T11:59:10Z"})  # fmt: skip
    container: dict[str, Any] = {
        "name": "server",
        "command": list(command),
        "ports": [{"name": "http", "containerPort": 8000}],
        "resources": {"requests": requests or {}, "limits": {"memory": "1Gi"}},
    }
    status: dict[str, Any] = {
        "phase": phase or ("Running" if node and running else "Pending"),
        "podIP": "10.0.0.1",
        "conditions": conditions,
    }
    if node:
        status["containerStatuses"] = [
            {"name": "server", "restartCount": restarts, "ready": ready, "state": state,
             "lastState": {"terminated": last_ended} if last_ended else {}}
        ]  # fmt: skip
    meta: dict[str, Any] = {
        "name": name,
        "namespace": "ns",
        "uid": f"uid-{name}",
        "resourceVersion": "9",
        "creationTimestamp": created,
        "labels": {
            "modelfleet.dev/inferencemodel": "m",
            "modelfleet.dev/template": template,
            **(labels or {}),
        },
    }
    if deleting:
        meta["deletionTimestamp"] = created
    return {
        "metadata": meta,
        "spec": {"nodeName": node, "containers": [container]},
        "status": status,
    }


def node(
    name: str = "node-a",
    *,
    labels: dict[str, str] | None = None,
    taints: list[dict[str, str]] | None = None,
    ready: bool = True,
    cordoned: bool = False,
    **allocatable: str,
) -> NodeView:
    amounts = {"cpu": "8", "memory": "32Gi", "pods": "10", **allocatable}
    return NodeView.parse(
        {
            "metadata": {"name": name, "labels": labels or {}},
            "spec": {"taints": taints or [], "unschedulable": cordoned},
            "status": {
                "allocatable": amounts,
                "conditions": [{"type": "Ready", "status": "True" if ready else "Unknown"}],
            },
        }
    )


@pytest.fixture
def observe(settings: OperatorSettings, sources: Sources) -> Callable[..., Observed]:
    """An observed state of a model; `pods` are raw."""

    def build(raw: dict[str, Any], pods: Any = (), **fields: Any) -> Observed:
        return Observed(
            model=raw,
            resolution=resolve(raw["spec"], fields.pop("sources", sources)),
            settings=fields.pop("settings", settings),
            now=fields.pop("now", NOW),
            pods=tuple(PodView.parse(one) for one in pods),
            **fields,
        )

    return build
