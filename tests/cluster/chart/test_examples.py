"""The examples under configs/: a real API server takes each, and the operator makes pods of it."""

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


def test_there_is_one_for_every_task() -> None:
    names = {path.stem for path in EXAMPLES}
    wanted = {"chat", "embedding", "rerank", "speech", "vision", "gpu", "scale-to-zero", "remote"}
    assert wanted | {"vllm", "container", "golden"} <= names


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_api_server_takes_it(api: Api, kinds: list[Json], tenant: Tenant, path: Path) -> None:
    for manifest in manifests(path):
        inside = tenant.inside(manifest)
        api.request("PATCH", api.path_of(inside), inside, content_type=APPLY, params=STRICT)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_charts_operator_makes_a_pod_of_it(
    renderer: Helm, api: Api, restricted: Tenant, path: Path
) -> None:
    """With the profiles, catalog and settings that the chart gives it; an API server takes it."""
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
        namespace = "default" if found.spec.engine in FOREIGN else restricted.namespace
        params = {"dryRun": "All", "fieldValidation": "Strict"}
        api.request("POST", api.path("v1", "Pod", namespace), pod, params=params)


FOREIGN = (Engine.VLLM, Engine.CONTAINER)
"""Engines whose images run as they please; "restricted" refuses most of them."""
