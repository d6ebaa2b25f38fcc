"""POST /v1/rerank and its aliases; the fields of a request determine its format."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI, Request, Response

from fleet_server.rerank.service import RerankService
from fleet_server.state import ServerState

PATHS = ("/v1/rerank", "/v1/reranking", "/rerank", "/reranking")
COHERE_PATH = "/v2/rerank"


def router(server: ServerState) -> APIRouter:
    """The rerank routes of `server`."""
    service = RerankService(server)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    routes = APIRouter(lifespan=lifespan)

    async def create(request: Request) -> Response:
        return await service.respond(request, cohere=False)

    async def create_cohere(request: Request) -> Response:
        return await service.respond(request, cohere=True)

    for path in PATHS:
        routes.add_api_route(path, create, methods=["POST"])
    routes.add_api_route(COHERE_PATH, create_cohere, methods=["POST"])
    return routes
