"""A real API server accepts everything the chart renders, and all pods are "restricted"."""

from __future__ import annotations

import json

import pytest

from chart.cases import CASES
from harness.api import APPLY, Api, ApiError, Json
from harness.helm import Helm, pod_specs, release_models
from harness.tenant import Tenant

STRICT = {"fieldManager": "test", "fieldValidation": "Strict", "dryRun": "All", "force": "true"}


@pytest.mark.parametrize("case", CASES)
def test_values_are_accepted(
    renderer: Helm, api: Api, kinds: list[Json], restricted: Tenant, case: str
) -> None:
    with Tenant(api, "other") as other:
        values = json.loads(json.dumps(CASES[case]).replace("other-team", other.namespace))
        objects = renderer.template(values, restricted.namespace)
        assert len(objects) > 10
        for item in [*objects, *release_models(objects)]:
            api.request("PATCH", api.path_of(item), item, content_type=APPLY, params=STRICT)
        for name, spec in pod_specs(objects).items():
            _is_restricted(restricted, name, spec)


def _is_restricted(tenant: Tenant, name: str, spec: Json) -> None:
    """Pod Security rejects pods; for workload objects it only warns."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name.lower().replace("/", "-")},
        "spec": {
            **{k: v for k, v in spec.items() if k not in ("serviceAccountName",)},
            "topologySpreadConstraints": [],
        },
    }
    manifest = tenant.namespaced(pod)
    path = tenant.api.path_of(manifest).rsplit("/", 1)[0]
    tenant.api.request("POST", path, manifest, params={"dryRun": "All"})


def test_unrestricted_pods_are_rejected(restricted: Tenant) -> None:
    with pytest.raises(ApiError, match="violates PodSecurity"):
        _is_restricted(restricted, "Pod/bad", {"containers": [{"name": "a", "image": "b"}]})
