"""The objects of several operators of one release."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from chart.cases import CASES
from harness.api import Json
from harness.helm import Helm, find, pod_specs
from harness.paths import REPOSITORY

SHARDS = CASES["shards"]
OPERATOR = "fleet-modelfleet-operator"
LABEL = "modelfleet.dev/shard"


def named(objects: list[Json], kind: str) -> dict[str, Json]:
    """The operator's objects of a kind by name."""
    component = "app.kubernetes.io/component"
    return {
        one["metadata"]["name"]: one
        for one in objects
        if one["kind"] == kind and one["metadata"]["labels"].get(component) == "operator"
    }


def selects(selector: dict[str, str], labels: dict[str, str]) -> bool:
    return selector.items() <= labels.items()


def test_each_shard_has_objects_that_select_its_pods_only(renderer: Helm) -> None:
    objects = renderer.template(SHARDS)
    names = [f"{OPERATOR}-{index}" for index in range(3)]
    deployments = named(objects, "Deployment")
    assert list(deployments) == names
    pods = {name: one["spec"]["template"] for name, one in deployments.items()}
    for name in names:
        selectors = [
            deployments[name]["spec"]["selector"]["matchLabels"],
            pods[name]["spec"]["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"],
            named(objects, "Service")[name]["spec"]["selector"],
            named(objects, "PodDisruptionBudget")[name]["spec"]["selector"]["matchLabels"],
        ]
        for selector in selectors:
            matched = [o for o in names if selects(selector, pods[o]["metadata"]["labels"])]
            assert matched == [name], selector
    settings = {
        name: {one["name"]: one.get("value") for one in pod["spec"]["containers"][0]["env"]}
        for name, pod in pods.items()
    }
    assert [found.pop("SHARD") for found in settings.values()] == ["0/3", "1/3", "2/3"]
    assert settings[names[0]] == settings[names[1]] == settings[names[2]]


def test_policies_monitors_and_rights_are_of_all_shards(renderer: Helm) -> None:
    objects = renderer.template(SHARDS)
    pods = [one["spec"]["template"] for one in named(objects, "Deployment").values()]
    policy = find(objects, "NetworkPolicy", "-operator")["spec"]["podSelector"]["matchLabels"]
    monitor = find(objects, "ServiceMonitor", "-operator")["spec"]["selector"]["matchLabels"]
    services = named(objects, "Service").values()
    assert all(selects(policy, pod["metadata"]["labels"]) for pod in pods)
    assert sum(selects(monitor, one["metadata"]["labels"]) for one in services) == 3
    assert {pod["spec"]["serviceAccountName"] for pod in pods} == {OPERATOR}
    assert len(named(objects, "ServiceAccount")) == 1


def test_each_shard_that_is_down_raises_the_alert(renderer: Helm) -> None:
    (group,) = find(renderer.template(SHARDS), "PrometheusRule")["spec"]["groups"]
    (down,) = [rule for rule in group["rules"] if rule["alert"] == "ModelfleetOperatorDown"]
    assert down["expr"] == " or ".join(
        f'absent(up{{job="{OPERATOR}-{index}"}} == 1)' for index in range(3)
    )


@pytest.mark.parametrize(
    ("values", "listed"),
    [
        (SHARDS, True),
        ({"watchNamespaces": ["*"]}, False),
        ({"operator.shards": 2, "watchNamespaces": ["team-a"]}, False),
    ],
    ids=["shards", "one operator", "named namespaces"],
)
def test_only_shards_of_the_cluster_list_namespaces(
    renderer: Helm, values: dict[str, Any], listed: bool
) -> None:
    rules = yaml.safe_load((REPOSITORY / "operator" / "rbac.yaml").read_text())["shards"]
    granted = [
        rule
        for item in renderer.template(values)
        if item["kind"] in ("Role", "ClusterRole")
        for rule in item["rules"]
        if "namespaces" in rule["resources"]
    ]
    assert granted == (rules if listed else [])


def test_one_shard_has_the_names_of_charts_without_shards(renderer: Helm) -> None:
    """An upgrade changes no pod; with --reuse-values there is no `operator.shards`."""
    objects = renderer.template()
    assert objects == renderer.template({"operator.shards": None})
    (deployment,) = named(objects, "Deployment").values()
    assert deployment["metadata"]["name"] == OPERATOR
    assert LABEL not in str(deployment)
    assert "SHARD" not in str(pod_specs(objects))
    assert list(named(objects, "Service")) == [OPERATOR]
