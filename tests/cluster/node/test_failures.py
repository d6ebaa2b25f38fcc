"""Real failures of servers, and the status of their InferenceModels.

Every test breaks the same small model differently; nothing is simulated.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import openai
import pytest

from harness.api import Json
from harness.models import condition, model, phase, reason, wait
from harness.tenant import Tenant

EMBEDDING = "sentence-transformers/all-MiniLM-L6-v2"
SMALL = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}}
SIMILAR = ["A cat sits on the mat.", "A kitten is sitting on a rug."]
TIMEOUT = 300.0

Sources = Callable[[str], str]


@pytest.fixture
def apply(tenant: Tenant, operator: None, weights_on_node: Sources) -> Callable[..., None]:
    """Apply the model `minilm` with kubectl and the given fields."""

    def apply_model(**spec: Any) -> None:
        source = spec.pop("source", None) or weights_on_node(EMBEDDING)
        fields: Json = {"model": EMBEDDING, "source": source, "resources": SMALL, **spec}
        tenant.kubectl.apply(model("minilm", **fields))

    return apply_model


def wait_for_message(tenant: Tenant, wanted: str) -> str:
    """Wait for a reason and return its message."""
    found = wait(tenant, "minilm", reason(wanted), timeout=TIMEOUT)
    ready = condition(found, "Ready")
    assert ready["status"] == "False"
    return str(ready["message"])


def test_an_image_that_cannot_be_pulled(tenant: Tenant, apply: Callable[..., None]) -> None:
    apply(image="registry.invalid/modelfleet-server:1")
    assert "registry.invalid" in wait_for_message(tenant, "ImagePullFailed")


def test_missing_weights(
    tenant: Tenant, apply: Callable[..., None], weights_on_node: Sources
) -> None:
    weights_on_node(EMBEDDING)
    apply(source="pvc://models/nothing-of-that-name")
    assert "nothing-of-that-name" in wait_for_message(tenant, "WeightsFailed")


def test_unknown_packages(tenant: Tenant, apply: Callable[..., None], package_mirror: Any) -> None:
    apply(source="pypi://no-such-package==1.0/model", env=package_mirror.environ)
    assert "no-such-package" in wait_for_message(tenant, "WeightsFailed")


def test_weights_of_another_task(tenant: Tenant, apply: Callable[..., None]) -> None:
    apply(task="chat")
    assert "no CPU engine reads these files" in wait_for_message(tenant, "LoadFailed")


def test_more_memory_than_the_limit(tenant: Tenant, apply: Callable[..., None]) -> None:
    # The kernel reclaims files, such as libraries, before it kills: allocate anonymous memory.
    server = {"name": "server", "command": ["python", "-c", "bytearray(b'x') * (1 << 30)"]}
    apply(
        resources={"requests": {"memory": "64Mi"}, "limits": {"memory": "96Mi"}},
        podTemplate={"spec": {"containers": [server]}},
    )
    assert "96Mi" in wait_for_message(tenant, "OutOfMemory")


def test_crash_loop(tenant: Tenant, apply: Callable[..., None]) -> None:
    server = {"name": "server", "command": ["python", "-c", "raise SystemExit('no luck')"]}
    apply(podTemplate={"spec": {"containers": [server]}})
    message = wait_for_message(tenant, "CrashLoopBackOff")
    assert "status 1" in message
    assert "no luck" not in message, "the log of another program stays out of the status"


def test_a_golden_check_that_fails(tenant: Tenant, apply: Callable[..., None]) -> None:
    apply(golden=[{"similar": SIMILAR, "minCosine": 0.99}])
    assert "below 0.99" in wait_for_message(tenant, "GoldenCheckFailed")


def test_a_failed_version_keeps_the_old_one(
    tenant: Tenant, apply: Callable[..., None], client: openai.OpenAI
) -> None:
    apply(golden=[{"similar": SIMILAR}])
    tenant.kubectl(
        "wait", "--for=condition=Ready", "inferencemodel/minilm", "--timeout=300s", timeout=320
    )
    before = client.embeddings.create(model=EMBEDDING, input=SIMILAR).data[0].embedding
    apply(golden=[{"similar": SIMILAR, "minCosine": 0.99}])

    def has_failed(found: Json | None) -> bool:
        status = (found or {}).get("status", {})
        return "GoldenCheckFailed" in str(status) or "below 0.99" in str(status)

    found = wait(tenant, "minilm", has_failed, timeout=TIMEOUT)
    assert found["status"]["readyReplicas"] == 1
    after = client.embeddings.create(model=EMBEDDING, input=SIMILAR).data[0].embedding
    assert after == pytest.approx(before, abs=1e-5)
    apply(golden=[{"similar": SIMILAR, "minCosine": 0.5}])
    wait(tenant, "minilm", phase("Ready"), TIMEOUT)
