"""The current ReplicaSet, from an API that records its requests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from fleet_kube.client import KubeClient
from fleet_operator.controller.generations import Generations
from fleet_operator.decide.observed import Observed, Ref
from support.operator_objects import model

KEY = ("ns", "m")
Observe = Callable[..., Observed]


class ReplicaSets:
    def __init__(self, *found: dict[str, Any]) -> None:
        self.found = list(found)
        self.lists: list[tuple[str, str, str]] = []

    async def items(self, kind: Any, namespace: str, selector: str) -> list[dict[str, Any]]:
        self.lists.append((kind.kind, namespace, selector))
        return self.found


def replica_set(hashed: str, revision: str, owner: str = "uid-d") -> dict[str, Any]:
    return {
        "metadata": {
            "ownerReferences": [{"uid": owner}],
            "annotations": {"deployment.kubernetes.io/revision": revision},
            "labels": {"pod-template-hash": hashed},
        }
    }


def at(observe: Observe, revision: str) -> Observed:
    annotations = {"deployment.kubernetes.io/revision": revision}
    made = {"metadata": {"uid": "uid-d", "annotations": annotations}}
    return observe(model(), children={Ref("Deployment", "m"): made})


async def test_the_one_with_the_revision_of_the_deployment(observe: Observe) -> None:
    api = ReplicaSets(
        replica_set("x", "2", "another"), replica_set("a", "1"), replica_set("b", "2")
    )
    found = Generations(cast(KubeClient, api))
    assert await found.newest(KEY, at(observe, "2")) == "b"
    assert await found.newest(KEY, at(observe, "2")) == "b"
    assert api.lists == [("ReplicaSet", "ns", "modelfleet.dev/inferencemodel=m")]
    assert await found.newest(KEY, at(observe, "1")) == "a"
    found.forget(KEY)
    assert await found.newest(KEY, at(observe, "1")) == "a"
    assert len(api.lists) == 3


async def test_one_that_does_not_exist_yet_is_searched_again(observe: Observe) -> None:
    api = ReplicaSets(replica_set("a", "1"))
    found = Generations(cast(KubeClient, api))
    assert await found.newest(KEY, at(observe, "2")) == ""
    api.found.append(replica_set("b", "2"))
    assert await found.newest(KEY, at(observe, "2")) == "b"
    assert await found.newest(KEY, observe(model())) == ""
