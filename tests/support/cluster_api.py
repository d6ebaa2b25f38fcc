"""An API server with InferenceModels and pods, over HTTP; the real one is in tests/cluster."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse

from fleet_contract.names import GROUP, LABEL_MODEL, VERSION

MODELS = f"/apis/{GROUP}/{VERSION}"
NAMESPACE = "team"
READY = [{"type": "Ready", "status": "True"}]
METRICS = """\
# TYPE modelfleet_router_held gauge
modelfleet_router_held{model="acme/chat"} 2
# TYPE modelfleet_router_tokens_total counter
modelfleet_router_tokens_total{model="acme/chat",kind="completion",key="a"} 40
# TYPE modelfleet_router_servers_price_per_hour gauge
modelfleet_router_servers_price_per_hour{model="acme/chat",currency="EUR"} 0.5
"""


def model(name: str, status: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    """An InferenceModel that the operator has seen."""
    whole = {"observedGeneration": 1, "phase": "Ready", **(status or {})}
    return {
        "metadata": {"name": name, "namespace": NAMESPACE, "generation": 1},
        "spec": {"model": f"acme/{name}", **spec}, "status": whole,
    }  # fmt: skip


class Cluster:
    """Its objects, and the patches it got; `refused` are paths that are answered with 403, and
    `strange` are pods that respond with a page."""

    def __init__(self) -> None:
        self.models: dict[str, dict[str, Any]] = {}
        self.patches: list[dict[str, Any]] = []
        self.refused: set[str] = set()
        self.strange: set[str] = set()
        self.app = FastAPI(openapi_url=None)
        add = self.app.add_api_route
        add(f"{MODELS}/inferencemodels", self.listing)
        add(f"{MODELS}/namespaces/{NAMESPACE}/inferencemodels", self.listing)
        add(f"{MODELS}/namespaces/{NAMESPACE}/inferencemodels/{{name}}", self.get)
        add(
            f"{MODELS}/namespaces/{NAMESPACE}/inferencemodels/{{name}}", self.patch,
            methods=["PATCH"],
        )  # fmt: skip
        add("/api/v1/pods", self.pods)
        add(f"/api/v1/namespaces/{NAMESPACE}/pods", self.pods)
        add("/api/v1/namespaces/{namespace}/pods/{pod}/proxy/{path:path}", self.proxy)

    def _checked(self, request: Request) -> JSONResponse | None:
        if request.url.path not in self.refused:
            return None
        return JSONResponse({"kind": "Status", "reason": "Forbidden", "message": "no"}, 403)

    async def listing(self, request: Request) -> Any:
        return self._checked(request) or {"metadata": {}, "items": list(self.models.values())}

    async def get(self, name: str) -> Any:
        return self.models[name]

    async def patch(self, name: str, request: Request) -> Any:
        body = await request.json()
        self.patches.append(body)
        found = self.models[name]
        found["spec"] |= body.get("spec", {})
        found["metadata"]["generation"] += 1
        running = 0 if found["spec"].get("stopped") else found["spec"].get("replicas", 1)
        found["status"] |= {
            "observedGeneration": found["metadata"]["generation"], "replicas": running,
            "readyReplicas": running, "phase": "Ready" if running else "Stopped",
        }  # fmt: skip
        return found

    async def pods(self, request: Request) -> Any:
        if (refused := self._checked(request)) is not None:
            return refused
        router = {"helm.sh/chart": "modelfleet-0.1.0"}
        if request.query_params["labelSelector"] == LABEL_MODEL:
            names = {"chat-1": {LABEL_MODEL: "chat"}, "chat-2": {LABEL_MODEL: "chat"}}
        else:
            names = {"router-1": router, "other": {"helm.sh/chart": "other-1"}, "router-2": router}
        return {"metadata": {}, "items": [
            {"metadata": {"name": name, "namespace": NAMESPACE, "labels": labels},
             "status": {"conditions": READY}} for name, labels in names.items()]}  # fmt: skip

    async def proxy(self, pod: str, path: str, request: Request) -> Any:
        if (refused := self._checked(request)) is not None:
            return refused
        name, _, port = pod.partition(":")
        if name in self.strange:
            return PlainTextResponse("<html>")
        match name.partition("-")[0], port, path:
            case "router", "8081", "load":
                return {"models": {"acme/chat": {"in_flight": 3, "idle_seconds": 0}}}
            case "router", "8081", "metrics":
                return PlainTextResponse(METRICS)
            case "chat", "8000", "v1/models":
                return {"data": [{"id": "acme/chat", "memory_bytes": 100 << 20}]}
        return JSONResponse({"kind": "Status", "message": f"{pod} {path}"}, 404)
