"""The life of an InferenceModel: made, changed, repaired, deleted; the operator restarted."""

from __future__ import annotations

from collections.abc import Callable

from harness.api import Json
from harness.models import APPS, model, phase, said, wait
from harness.operator_process import OperatorProcess
from harness.played_kubelet import PlayedKubelet
from harness.tenant import Tenant


def test_a_short_resource_becomes_a_served_model(
    tenant: Tenant,
    kubelet: PlayedKubelet,
    add_node: Callable[..., Json],
    operator: OperatorProcess,
) -> None:
    add_node("life-a")
    tenant.create(model("chat", task="embedding"))
    found = wait(tenant, "chat", phase("Ready"))
    print(found["status"])
    assert said(found, "Ready")["status"] == "True"
