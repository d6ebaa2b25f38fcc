"""POST /v1/audio/transcriptions and /v1/audio/translations."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI, Request, Response

from fleet_server.audio.service import SpeechService
from fleet_server.state import ServerState


def router(server: ServerState) -> APIRouter:
    """The speech routes of `server`."""
    service = SpeechService(server)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    routes = APIRouter(lifespan=lifespan)

    @routes.post("/v1/audio/transcriptions")
    async def transcribe(request: Request) -> Response:
        return await service.respond(request, "transcribe")

    @routes.post("/v1/audio/translations")
    async def translate(request: Request) -> Response:
        return await service.respond(request, "translate")

    return routes
