"""The model server's web app: the endpoints of its model's task, probes, metrics.

Imports no engine; everything a model does goes through fleet_server.protocols.
"""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response

from fleet_contract.endpoints import TASK_OF_PATH
from fleet_contract.names import PATH_HEALTH, PATH_LIVE, PATH_METRICS, PATH_OPENAPI, PATH_READY
from fleet_contract.server_protocol import ServerPhase
from fleet_contract.spec import Task
from fleet_server.access import AccessMiddleware
from fleet_server.document import document
from fleet_server.model_info import model_info
from fleet_server.state import ServerState
from fleet_server.tokens import routes as tokens
from fleet_server.wrong_task import mount_wrong_tasks
from fleet_web import errors
from fleet_web.answers import json_answer
from fleet_web.direct import DirectMiddleware, posted
from fleet_web.openapi.serving import Serving
from fleet_web.request_id import RequestIdMiddleware

ROUTES: dict[Task, tuple[str, ...]] = {
    Task.CHAT: (
        "fleet_server.chat.routes", "fleet_server.completions.routes",
        "fleet_server.responses.routes",
    ),
    Task.EMBEDDING: ("fleet_server.embeddings.routes",),
    Task.RERANK: ("fleet_server.rerank.routes",),
    Task.SPEECH: ("fleet_server.audio.routes",),
}  # fmt: skip

SENDS_NOTHING: Any = {"tracing": False, "metrics": False, "logs": False}
"""FastAPI would look for an OpenTelemetry set-up at every request."""

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def create_app(
    server: ServerState, *, lifespan: Lifespan | None = None, with_metrics: bool = True
) -> FastAPI:
    """The app that serves `server`; `lifespan` loads the model."""
    app = FastAPI(
        title="Modelfleet model server", docs_url=None, redoc_url=None, openapi_url=None,
        lifespan=lifespan or _nothing, redirect_slashes=False, telemetry=SENDS_NOTHING,
    )  # fmt: skip
    served = [importlib.import_module(module).router(server) for module in ROUTES[server.spec.task]]
    endpoints = {path: endpoint for each in served for path, endpoint in posted(each).items()}
    app.add_middleware(DirectMiddleware, endpoints=endpoints)
    errors.install(app)
    _mount_probes(app, server)
    _mount_models(app, server)
    if with_metrics:
        _mount_metrics(app, server)
    for each in served:
        app.include_router(each)
    mount_wrong_tasks(app, server.spec)
    if server.spec.task is not Task.SPEECH:
        app.include_router(tokens.router(server))
    serving = Serving(lambda: document(server.spec, with_metrics=with_metrics))
    app.add_api_route(PATH_OPENAPI, serving.answer, methods=["GET"])
    known = tokens.PATHS | TASK_OF_PATH.keys()
    app.add_middleware(AccessMiddleware, metrics=server.metrics, routes=known)
    app.add_middleware(RequestIdMiddleware)
    return app


def _mount_probes(app: FastAPI, server: ServerState) -> None:
    @app.get(PATH_LIVE)
    async def livez() -> Response:
        status = 200 if server.is_healthy else 503
        return json_answer({"status": "ok" if status == 200 else "failed"}, status=status)

    @app.get(PATH_READY)
    @app.get(PATH_HEALTH)
    async def readyz() -> Response:
        ready = server.phase is ServerPhase.READY and server.is_healthy
        return json_answer(server.health(), status=200 if ready else 503)


def _mount_models(app: FastAPI, server: ServerState) -> None:
    @app.get("/v1/models")
    async def list_models() -> Response:
        return json_answer({"object": "list", "data": [model_info(server)]})

    @app.get("/v1/models/{model_id:path}")
    async def get_model(model_id: str) -> Response:
        server.check_model(model_id)
        return json_answer(model_info(server))


def _mount_metrics(app: FastAPI, server: ServerState) -> None:
    @app.get(PATH_METRICS)
    async def metrics(request: Request) -> Response:
        return Response(server.metrics.render(), media_type="text/plain; version=0.0.4")


@asynccontextmanager
async def _nothing(app: FastAPI) -> AsyncIterator[None]:
    yield
