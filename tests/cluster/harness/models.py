"""InferenceModels for tests, and predicates on their status."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.api import WAIT_SECONDS, Json
from harness.tenant import Tenant

API = "modelfleet.dev/v1alpha1"
KIND = "InferenceModel"
APPS = "apps/v1"


def model(name: str, **spec: Any) -> Json:
    """An InferenceModel; its model id is `test/NAME` unless `spec` has another."""
    return {
        "apiVersion": API,
        "kind": KIND,
        "metadata": {"name": name},
        "spec": {"model": f"test/{name}", "source": "hf://test/model", **spec},
    }


def condition(found: Json | None, kind: str) -> Json:
    """The condition with type `kind`, `{}` if there is none."""
    conditions = (found or {}).get("status", {}).get("conditions", [])
    return next((condition for condition in conditions if condition["type"] == kind), {})


def phase(*wanted: str) -> Callable[[Json | None], bool]:
    """Predicate: the status is current and its phase is one of `wanted`."""

    def holds(found: Json | None) -> bool:
        status = (found or {}).get("status", {})
        current = status.get("observedGeneration") == (found or {})["metadata"]["generation"]
        return bool(current) and status.get("phase") in wanted

    return lambda found: found is not None and holds(found)


def reason(wanted: str) -> Callable[[Json | None], bool]:
    """Predicate: the status is current and has this reason."""

    def holds(found: Json) -> bool:
        status = found.get("status", {})
        current = status.get("observedGeneration") == found["metadata"]["generation"]
        return bool(current and status.get("reason") == wanted)

    return lambda found: found is not None and holds(found)


def wait(
    tenant: Tenant, name: str, until: Callable[[Json | None], Any], timeout: float = WAIT_SECONDS
) -> Json:
    """Wait for an InferenceModel."""
    return tenant.wait(API, KIND, name, until, timeout)
