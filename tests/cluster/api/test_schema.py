"""Validation messages, explanations, columns and scale, as returned by the API server."""

from __future__ import annotations

from typing import Any

import pytest

from harness.api import ApiError
from harness.kubectl import KubectlError
from harness.models import API, KIND, model
from harness.tenant import Tenant

pytestmark = pytest.mark.usefixtures("definition")

POOL = {"endpointPickerRef": {"name": "epp"}}
INVALID: list[tuple[dict[str, Any], str]] = [
    ({"model": "-x"}, "spec.model in body should match"),
    ({"minReplicas": 3, "maxReplicas": 2}, "minReplicas must not exceed maxReplicas"),
    ({"model": "a/b", "aliases": ["a/b"]}, "aliases must differ from model"),
    ({"aliases": ["c", "c"]}, 'Duplicate value: "c"'),
    ({"engine": "remote"}, "engine remote needs remote.address"),
    ({"engine": "custom"}, "engine custom needs a handler"),
    ({"engine": "container"}, "engine container needs container.image"),
    ({"engine": "warp"}, 'Unsupported value: "warp"'),
    ({"vision": True, "task": "embedding"}, "only a chat model reads images"),
    ({"model": "a/b", "fallback": "a/b"}, "fallback must name another model"),
    ({"inferencePool": {}}, "spec.inferencePool.endpointPickerRef: Required value"),
    (
        {"inferencePool": POOL, "engine": "remote", "remote": {"address": "http://a"}},
        "a model with engine remote has no pods",
    ),
    ({"inferencePool": POOL, "scaleToZeroAfter": 60}, "count the requests of routers"),
    ({"source": "ftp://host/file"}, "source must begin with hf://"),
    ({"source": "https://host/file"}, "a source of https:// needs sha256"),
    ({"envFrom": [{"prefix": "A_"}]}, "envFrom needs either secretRef or configMapRef"),
    ({"envFrom": [{"secretRef": {}}]}, "spec.envFrom[0].secretRef.name: Required value"),
    ({"golden": [{"prompt": "x"}]}, "a golden check with a prompt needs contains"),
    ({"golden": [{}]}, "either prompt or similar"),
    ({"golden": [{"similar": ["a"]}]}, "similar needs two texts"),
    ({"limits": {"maxItems": 0}}, "should be greater than or equal to 1"),
    ({"defaults": {"topP": 0}}, "should be greater than 0"),
    ({"resources": {"limits": {"memory": "four"}}}, "should match"),
    ({"resources": {"requests": {"cpu": "1.2.3"}}}, "should match"),
    ({"resources": {"requests": {"cpu": -1}}}, "should be greater than or equal to 0"),
    ({"resources": {"requests": {"cpu": 0.5}}}, "must be of type"),
    ({"files": [{"path": "etc", "content": ""}]}, "spec.files[0].path in body should match"),
    ({"remote": {"address": "host"}}, "spec.remote.address in body should match"),
]


@pytest.mark.parametrize(("spec", "message"), INVALID, ids=[message for _, message in INVALID])
def test_validation_messages(tenant: Tenant, spec: dict[str, Any], message: str) -> None:
    with pytest.raises(ApiError) as error:
        tenant.create(model("wrong", **spec))
    assert error.value.status == 422
    assert message in error.value.message


@pytest.mark.parametrize("name", ["7b", "with.dot", "a" * 53])
def test_invalid_service_names_are_rejected(tenant: Tenant, name: str) -> None:
    with pytest.raises(ApiError, match=r"metadata\.name must be"):
        tenant.create(model(name))


def test_the_minimal_resource_and_its_default(tenant: Tenant) -> None:
    made = tenant.create(
        {"apiVersion": API, "kind": KIND, "metadata": {"name": "m"}, "spec": {"model": "a/b"}}
    )
    assert made["spec"] == {"model": "a/b", "replicas": 1}


def test_defaults_inside_list_items_and_numbers_as_quantities(tenant: Tenant) -> None:
    golden = {"similar": ["a", "b"]}
    limits = {"nvidia.com/gpu": 1, "memory": "4Gi", "cpu": "0.5", "example.com/a": "1e+3"}
    equal = {"minReplicas": 2, "maxReplicas": 2}
    made = tenant.create(model("m", golden=[golden], resources={"limits": limits}, **equal))
    assert made["spec"]["golden"] == [{**golden, "minCosine": 0.5}]
    assert made["spec"]["resources"]["limits"] == limits


def test_only_the_model_id_is_immutable(tenant: Tenant) -> None:
    made = tenant.create(model("m"))
    tenant.api.patch(made, {"spec": {"task": "rerank", "aliases": ["other"]}})
    with pytest.raises(ApiError, match="model is immutable: create another InferenceModel"):
        tenant.api.patch(made, {"spec": {"model": "b/c"}})


def test_kubectl_apply_reports_unknown_fields(tenant: Tenant) -> None:
    with pytest.raises(KubectlError, match=r'unknown field "(spec\.)?temprature"'):
        tenant.kubectl.apply(model("m", temprature=1))


def test_variables_are_strings_or_sources(tenant: Tenant) -> None:
    env = {
        "A": "plain",
        "B": {"valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
        "C": {"valueFrom": {"configMapKeyRef": {"name": "c", "key": "k", "optional": True}}},
    }
    made = tenant.create(model("m", env=env, envFrom=[{"secretRef": {"name": "s"}}]))
    assert made["spec"]["env"] == env


def test_pod_patches_keep_undeclared_fields(tenant: Tenant) -> None:
    patch = {"spec": {"hostNetwork": True, "containers": [{"name": "server", "tty": True}]}}
    made = tenant.create(model("m", podTemplate=patch, affinity={"podAffinity": {}}))
    assert made["spec"]["podTemplate"] == patch


def test_kubectl_explain(tenant: Tenant) -> None:
    text = tenant.kubectl("explain", "inferencemodel.spec.limits.maxQueueSize")
    assert "Requests that may wait; more get a 429. Default: 256." in " ".join(text.split())
    assert "<integer>" in text
    text = tenant.kubectl("explain", "im.status.coldStart")
    assert "fetchSeconds" in text


def test_kubectl_lists_by_short_name_and_category(tenant: Tenant) -> None:
    tenant.create(model("m"))
    header, row = tenant.kubectl("get", "im").splitlines()
    assert header.split() == ["NAME", "MODEL", "TASK", "ENGINE", "PHASE", "READY", "REASON", "AGE"]
    assert row.split()[:2] == ["m", "test/m"]
    assert "inferencemodel.modelfleet.dev/m" in tenant.kubectl("get", "all", "-o", "name")


def test_the_scale_subresource(tenant: Tenant) -> None:
    tenant.create(model("m"))
    tenant.kubectl("scale", "im/m", "--replicas=3")
    scale = tenant.api.request("GET", f"{tenant.api.path(API, KIND, tenant.namespace, 'm')}/scale")
    assert scale["spec"]["replicas"] == 3
    assert tenant.get(API, KIND, "m")["spec"]["replicas"] == 3


def test_the_status_is_a_subresource(tenant: Tenant) -> None:
    made = tenant.create({**model("m"), "status": {"phase": "Ready"}})
    # Not the status that was sent: what tools read before an operator has seen the resource.
    assert made["status"] == {"observedGeneration": -1, "phase": "Pending"}
    with pytest.raises(ApiError, match="Unsupported value"):
        tenant.api.patch(made, {"status": {"phase": "Splendid"}}, sub="status")
