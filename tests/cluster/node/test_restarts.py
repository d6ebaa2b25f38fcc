"""Operator and API server restart while the node serves a model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import openai

from harness.control_plane import ControlPlane
from harness.installation import OPERATOR
from harness.models import model, phase, wait
from harness.operator_process import NAMESPACE
from harness.tenant import Tenant

EMBEDDING = "sentence-transformers/all-MiniLM-L6-v2"
SMALL = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}}
TIMEOUT = 300.0

Sources = Callable[[str], str]


def apply(tenant: Tenant, sources: Sources, **spec: Any) -> None:
    fields = {"source": sources(EMBEDDING), "resources": SMALL, **spec}
    tenant.kubectl.apply(model("minilm", model=EMBEDDING, **fields))


def embed(client: openai.OpenAI) -> int:
    return len(client.embeddings.create(model=EMBEDDING, input="A cat sits.").data[0].embedding)


def test_a_killed_operator_resumes(
    tenant: Tenant, client: openai.OpenAI, weights_on_node: Sources
) -> None:
    apply(tenant, weights_on_node)
    wait(tenant, "minilm", phase("Ready"), TIMEOUT)
    pods = tenant.api.items("v1", "Pod", NAMESPACE, labelSelector=f"app={OPERATOR}")
    for pod in pods:
        tenant.api.delete(pod, gracePeriodSeconds="0")
    apply(tenant, weights_on_node, replicas=2)
    assert embed(client) == 384
    found = wait(
        tenant,
        "minilm",
        lambda item: phase("Ready")(item) and (item or {})["status"].get("readyReplicas") == 2,
        TIMEOUT,
    )
    assert found["status"]["replicas"] == 2
    now = tenant.api.items("v1", "Pod", NAMESPACE, labelSelector=f"app={OPERATOR}")
    assert {pod["metadata"]["uid"] for pod in pods}.isdisjoint(p["metadata"]["uid"] for p in now)


def test_requests_succeed_during_an_api_server_outage(
    tenant: Tenant,
    client: openai.OpenAI,
    weights_on_node: Sources,
    control_plane: ControlPlane,
) -> None:
    apply(tenant, weights_on_node)
    wait(tenant, "minilm", phase("Ready"), TIMEOUT)
    assert embed(client) == 384
    control_plane.stop_apiserver(kill=True)
    try:
        assert [embed(client) for _ in range(20)] == [384] * 20
    finally:
        control_plane.start_apiserver()
    apply(tenant, weights_on_node, aliases=["cats"])
    wait(tenant, "minilm", phase("Ready"), TIMEOUT)
    assert embed(client) == 384
