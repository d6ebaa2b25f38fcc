"""Rights in a cluster, from an API server that answers reviews."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from fleet_cli.doctor.cluster import gpus, rights
from fleet_cli.doctor.finding import Level


def kubeconfig(folder: Path, port: int) -> dict[str, str]:
    """The environment of a user whose context has the namespace `models`."""
    path = folder / "kubeconfig"
    context = {"cluster": "c", "user": "u", "namespace": "models"}
    path.write_text(yaml.safe_dump({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "c", "context": context}],
    }))  # fmt: skip
    return {"KUBECONFIG": str(path)}


@pytest.fixture
def reviews() -> list[Any]:
    return []


@pytest.fixture
def api(reviews: list[Any]) -> FastAPI:
    """Refuses whatever concerns roles of the cluster."""
    app = FastAPI(openapi_url=None)

    @app.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews")
    async def review(request: Request) -> JSONResponse:
        body = await request.json()
        attributes = body["spec"]["resourceAttributes"]
        reviews.append(attributes)
        allowed = "role" not in attributes["resource"]
        return JSONResponse({**body, "status": {"allowed": allowed}}, 201)

    @app.get("/apis/modelfleet.dev/v1alpha1")
    async def resources() -> Any:
        return {"resources": [{"name": "inferencemodels"}]}

    @app.get("/api/v1/nodes")
    async def nodes() -> Any:
        return {"metadata": {}, "items": [node("plain")]}

    return app


def node(name: str, labels: dict[str, str] | None = None, **allocatable: str) -> dict[str, Any]:
    named = {f"nvidia.com/{key}": number for key, number in allocatable.items()}
    return {"metadata": {"name": name, "labels": labels or {}}, "status": {"allocatable": named}}


def test_rights_are_reviewed(api: FastAPI, reviews: list[Any], listen: Any, tmp_path: Path) -> None:
    with listen(api) as port:
        install, use, definition, gpu = rights(kubeconfig(tmp_path, port))
    assert install.level is Level.WARNING
    assert install.message == "may not create clusterroles, create clusterrolebindings"
    assert (use.level, use.message) == (Level.OK, "may use InferenceModels in models")
    assert {"verb": "patch", "group": "modelfleet.dev", "resource": "inferencemodels",
            "namespace": "models"} in reviews  # fmt: skip
    assert "namespace" not in reviews[0]
    assert (definition.level, definition.message) == (Level.OK, "InferenceModel is installed")
    assert (gpu.level, gpu.message) == (Level.OK, "no node offers a GPU: models run on CPUs")


def test_gpus_without_a_device_plugin() -> None:
    present = {"nvidia.com/gpu.present": "true"}
    found = gpus([node("a", present), node("b", present, gpu="2"), node("c", present, gpu="0")])
    assert found.level is Level.WARNING
    assert found.message == "NVIDIA GPUs that no device plugin offers to pods: a, c"
    assert "device plugin" in found.remedy
    found = gpus([node("b", present, gpu="2"), node("d", gpu="1"), node("e")])
    assert (found.level, found.message) == (Level.OK, "3 nvidia.com/gpu in 3 nodes")
    assert gpus(None).message == "unknown: nodes may not be listed"


def test_a_cluster_that_cannot_be_used_prevents_nothing(tmp_path: Path) -> None:
    for environ in (kubeconfig(tmp_path, 9), {"KUBECONFIG": str(tmp_path / "none")}):
        [finding] = rights(environ)
        assert finding.level is Level.WARNING
        assert "kubectl version" in finding.remedy
