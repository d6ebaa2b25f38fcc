"""Clusters, templates and the state before a step of a rollout."""

from __future__ import annotations

from typing import Any

from fleet_contract.status import Rollout
from fleet_operator.decide.rollout_strategy import Cluster
from support.operator_objects import node

CRASHED = {"ended": {"exitCode": 137, "reason": "OOMKilled"}}
FULL = Cluster([node("node-a", cpu="2")], {"node-a": {"cpu": 2000, "pods": 1000}})
ROOMY = Cluster([node("node-a", cpu="9")], {"node-a": {"cpu": 2000, "pods": 1000}})
BEFORE = Rollout(stable_hash="old")
OLD = ("old", {"ready": True})
QUOTA = ('pods "m-x" is forbidden: exceeded quota: q, requested: requests.cpu=2, '
         "used: requests.cpu=2, limited: requests.cpu=3")  # fmt: skip


def template(version: str = "new") -> dict[str, Any]:
    return {
        "metadata": {"labels": {"modelfleet.dev/template": version}},
        "spec": {
            "containers": [{"name": "server", "resources": {"requests": {"cpu": "2"}}}],
        },
    }


def at(clock: str, **fields: Any) -> dict[str, Any]:
    return {"unschedulable": "0/2 nodes: volume node affinity conflict",
            "created": f"2026-01-01T11:{clock}Z", **fields}  # fmt: skip


def refused(message: str, since: str = "2026-01-01T11:59:40Z") -> list[dict[str, str]]:
    return [{"type": "ReplicaFailure", "status": "True", "message": message,
             "lastTransitionTime": since}]  # fmt: skip
