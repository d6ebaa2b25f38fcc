"""A real API server accepts the examples in configs/, and the operator creates their pods."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import yaml

from fleet_contract.spec import Engine
from fleet_operator.resources import profiles
from fleet_operator.resources.images import Problem
from fleet_operator.resources.pod import pod_template
from fleet_operator.resources.resolve import Sources, resolve
from fleet_operator.settings import OperatorSettings
from harness.api import APPLY, Api, Json
from harness.helm import Helm, find
from harness.paths import REPOSITORY
from harness.tenant import Tenant

EXAMPLES = sorted((REPOSITORY / "configs" / "examples").glob("*.yaml"))
STRICT = {"fieldManager": "test", "fieldValidation": "Strict", "dryRun": "All"}


def manifests(path: Path) -> list[Json]:
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def test_every_task_has_an_example() -> None:
    names = {path.stem for path in EXAMPLES}
    wanted = {"chat", "embedding", "rerank", "speech", "vision", "gpu", "scale-to-zero", "remote"}
    assert wanted | {"vllm", "container", "golden"} <= names


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_accepted(api: Api, kinds: list[Json], tenant: Tenant, path: Path) -> None:
    for manifest in manifests(path):
        namespaced = tenant.namespaced(manifest)
        api.request("PATCH", api.path_of(namespaced), namespaced, content_type=APPLY, params=STRICT)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_operator_creates_pods_of_examples(
    renderer: Helm, api: Api, restricted: Tenant, path: Path
) -> None:
    """The operator has the chart's settings, profiles and catalog; an API server takes the pod."""
    from fleet_contract import catalog

    objects = renderer.template({"server.cuda.enabled": True}, restricted.namespace)
    data = find(objects, "ConfigMap", "modelfleet-profiles")["data"]
    operator = find(objects, "Deployment", "operator")["spec"]["template"]["spec"]["containers"][0]
    environ = {one["name"]: one["value"] for one in operator["env"] if "value" in one}
    settings = OperatorSettings.read(environ | {"POD_NAMESPACE": restricted.namespace})
    known, problems = profiles.parse(data)
    for manifest in manifests(path):
        found = resolve(manifest["spec"], Sources(catalog.load(), known, problems))
        assert found.spec is not None, found.problem
        if found.spec.engine is Engine.REMOTE:
            continue
        template = pod_template(manifest["metadata"]["name"], found, settings)
        assert not isinstance(template, Problem), template
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {**template["metadata"], "name": f"pod-{time.monotonic_ns()}"},
            "spec": template["spec"],
        }
        namespace = "default" if found.spec.engine in UNRESTRICTED else restricted.namespace
        params = {"dryRun": "All", "fieldValidation": "Strict"}
        api.request("POST", api.path("v1", "Pod", namespace), pod, params=params)


UNRESTRICTED = (Engine.VLLM, Engine.CONTAINER)
"""Engines with images that run as root or write to their root; "restricted" rejects most."""
