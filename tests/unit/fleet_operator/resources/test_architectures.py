"""Node affinity by the architectures of the images."""

from __future__ import annotations

from typing import Any

from fleet_operator.resources.architectures import LABEL, REQUIRED, with_architectures

ARM = {"key": LABEL, "operator": "In", "values": ["arm64"]}


def terms(pod: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pod["affinity"]["nodeAffinity"][REQUIRED]["nodeSelectorTerms"]
    return found


def test_without_architectures_nothing_changes() -> None:
    pod = {"containers": [], "affinity": {"podAffinity": {}}}
    assert with_architectures(pod, ()) == pod


def test_a_pod_without_affinity_gets_one_term() -> None:
    found = with_architectures({"containers": []}, ("arm64",))
    assert terms(found) == [{"matchExpressions": [ARM]}]


def test_every_alternative_gets_the_requirement_and_the_rest_stays() -> None:
    zone = {"key": "zone", "operator": "Exists"}
    preferred = [{"weight": 1, "preference": {}}]
    node = {
        REQUIRED: {"nodeSelectorTerms": [{"matchExpressions": [zone]}, {"matchFields": [zone]}]},
        "preferredDuringSchedulingIgnoredDuringExecution": preferred,
    }
    pod = {"affinity": {"nodeAffinity": node, "podAffinity": {"a": 1}}}
    found = with_architectures(pod, ("arm64",))
    assert terms(found) == [
        {"matchExpressions": [zone, ARM]},
        {"matchFields": [zone], "matchExpressions": [ARM]},
    ]
    assert found["affinity"]["podAffinity"] == {"a": 1}
    assert found["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert pod["affinity"]["nodeAffinity"] == node
