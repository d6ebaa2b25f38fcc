"""The model server's web app: the endpoints of the model's task, probes, metrics.

Imports no engine; models are used through fleet_server.protocols.
"""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.middleware import Middleware

from fleet_contract.api.models import ModelObject
from fleet_contract.endpoints import TASK_OF_PATH, wrong_task
from fleet_contract.names import PATH_HEALTH, PATH_LIVE, PATH_METRICS, PATH_OPENAPI, PATH_READY
from fleet_contract.server_protocol import ServerPhase
from fleet_contract.spec import ModelSpec, Task
from fleet_server.access import AccessMiddleware
from fleet_server.document import document
from fleet_server.memory import family_bytes
from fleet_server.state import ServerState
from fleet_server.tokens import routes as tokens
from fleet_server.tracing.middleware import TracingMiddleware
from fleet_web import errors
from fleet_web.direct import DirectAPI, Handlers, post_handlers
from fleet_web.exposition import exposition
from fleet_web.instance import probe_headers
from fleet_web.loopback_guard import LoopbackGuard
from fleet_web.openapi.document import DocumentEndpoint
from fleet_web.request_id import RequestIdMiddleware
from fleet_web.responses import json_response
from fleet_web.tracing import Tracing

ROUTES: dict[Task, tuple[str, ...]] = {
    Task.CHAT: (
        "fleet_server.chat.routes", "fleet_server.completions.routes",
        "fleet_server.responses.routes", "fleet_server.messages.routes",
    ),
    Task.EMBEDDING: ("fleet_server.embeddings.routes",),
    Task.RERANK: ("fleet_server.rerank.routes",),
    Task.SPEECH: ("fleet_server.audio.routes",),
}  # fmt: skip

NO_TELEMETRY: Any = {"tracing": False, "metrics": False, "logs": False}
"""By default FastAPI looks for an OpenTelemetry setup at every request."""

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def create_app(
    server: ServerState,
    *,
    lifespan: Lifespan | None = None,
    with_metrics: bool = True,
    loopback: bool = False,
    tracing: Tracing | None = None,
) -> FastAPI:
    """The app of `server`; `lifespan` loads the model. On a `loopback` address web pages are
    refused."""
    known = tokens.PATHS | TASK_OF_PATH.keys()
    middleware = [Middleware(RequestIdMiddleware)]
    if tracing is not None:
        middleware.append(Middleware(TracingMiddleware, tracing=tracing, model=server.spec.model))
    middleware.append(Middleware(AccessMiddleware, metrics=server.metrics, routes=known))
    if loopback:
        middleware.append(Middleware(LoopbackGuard))
    app = DirectAPI(
        title="Modelfleet model server", docs_url=None, redoc_url=None, openapi_url=None,
        lifespan=lifespan or _nothing, redirect_slashes=False, telemetry=NO_TELEMETRY,
        middleware=middleware,
    )  # fmt: skip
    served = [importlib.import_module(module).router(server) for module in ROUTES[server.spec.task]]
    handlers = {path: handler for each in served for path, handler in post_handlers(each).items()}
    app.bypass(handlers.keys(), Handlers(handlers), middleware)
    errors.install(app)
    _mount_probes(app, server)
    _mount_models(app, server)
    if with_metrics:
        _mount_metrics(app, server, exemplars=tracing is not None)
    for each in served:
        app.include_router(each)
    _mount_wrong_tasks(app, server.spec)
    if server.spec.task is not Task.SPEECH:
        app.include_router(tokens.router(server))
    endpoint = DocumentEndpoint(lambda: document(server.spec, with_metrics=with_metrics))
    app.add_api_route(PATH_OPENAPI, endpoint.get, methods=["GET"])
    return app


def _mount_probes(app: FastAPI, server: ServerState) -> None:
    @app.get(PATH_LIVE)
    async def livez() -> Response:
        # A failure makes the kubelet restart the container, so only where that helps.
        status = 200 if server.is_healthy else 503
        body = {"status": "ok" if status == 200 else "failed"}
        return json_response(body, status=status, headers=probe_headers())

    @app.get(PATH_READY)
    @app.get(PATH_HEALTH)
    async def readyz() -> Response:
        ready = server.phase is ServerPhase.READY and server.is_healthy
        status = 200 if ready else 503
        return json_response(server.health(), status=status, headers=probe_headers())


def _mount_models(app: FastAPI, server: ServerState) -> None:
    @app.get("/v1/models")
    async def list_models() -> Response:
        base = model_object(server)
        adapters = [adapter_object(base, each) for each in base["adapters"]]
        return json_response({"object": "list", "data": [base, *adapters]})

    @app.get("/v1/models/{model_id:path}")
    async def get_model(model_id: str) -> Response:
        server.check_model(model_id)
        base, adapter = model_object(server), server.spec.adapter_named(model_id)
        is_adapter = adapter is not None and model_id not in server.spec.ids
        return json_response(
            adapter_object(base, f"{base['id']}:{adapter}") if is_adapter else base
        )


def _mount_metrics(app: FastAPI, server: ServerState, *, exemplars: bool) -> None:
    @app.get(PATH_METRICS)
    async def metrics(request: Request) -> Response:
        chosen = exposition(request.headers.get("accept", ""), exemplars=exemplars)
        return Response(server.metrics.render(chosen), media_type=chosen.media_type)


def _mount_wrong_tasks(app: FastAPI, spec: ModelSpec) -> None:
    """Mount a refusal with the right endpoint on the inference paths of other tasks."""

    async def refuse(request: Request) -> None:
        raise wrong_task(spec.model, spec.task, request.url.path)

    for path, task in TASK_OF_PATH.items():
        if task is not spec.task:
            app.add_api_route(path, refuse, methods=["POST"])


def model_object(server: ServerState) -> ModelObject:
    """The OpenAI model object of /v1/models, with additional fields."""
    spec, model = server.spec, server.loaded
    return {
        "id": spec.model,
        "object": "model",
        "created": server.created,
        "owned_by": spec.model.split("/")[0] if "/" in spec.model else "modelfleet",
        "task": spec.task.value,
        "engine": server.choice.engine.value if server.choice else spec.engine.value,
        "engine_reason": server.choice.reason if server.choice else None,
        "device": getattr(model, "device", server.choice.device if server.choice else None),
        "state": server.phase.value if server.is_healthy else "failed",
        "modalities": {
            "input": [modality.value for modality in spec.input_modalities],
            "output": [modality.value for modality in spec.output_modalities],
        },
        "dimensions": getattr(model, "dimensions", None) or spec.dimensions,
        "context_length": _context_length(spec, model),
        "aliases": list(spec.aliases),
        "adapters": list(spec.adapter_ids),
        "parent": None,
        "memory_bytes": int(family_bytes()),
    }


def adapter_object(base: ModelObject, model: str) -> ModelObject:
    """The object of an adapter with the id `model`, of the model that `base` describes."""
    return {**base, "id": model, "aliases": [], "adapters": [], "parent": base["id"]}


def _context_length(spec: ModelSpec, model: Any) -> int | None:
    name = "context_length" if spec.task is Task.CHAT else "max_tokens"
    length: int | None = getattr(model, name, None) or spec.context_length
    return length


@asynccontextmanager
async def _nothing(app: FastAPI) -> AsyncIterator[None]:
    yield
