"""POST /v1/embeddings, and llama.cpp's /embedding and /embeddings."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response

from fleet_contract.api.embeddings import NO_OP_VALUES, EmbeddingBody, NativeBody
from fleet_server.embeddings.render import cut, native_json, openai_json, scale
from fleet_server.embeddings.request import EmbeddingRequest, parse, parse_native
from fleet_server.embeddings.service import EmbeddingService
from fleet_server.protocols import EmbeddingModel, Float32
from fleet_server.state import ServerState
from fleet_server.unknown_fields import count_ignored

_KNOWN = EmbeddingBody.model_fields.keys() | NO_OP_VALUES.keys()
_KNOWN_NATIVE = NativeBody.model_fields.keys() | NO_OP_VALUES.keys()


def router(server: ServerState) -> APIRouter:
    """The embedding routes of `server`."""
    spec, service = server.spec, EmbeddingService(server)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    routes = APIRouter(lifespan=lifespan)

    def parse_openai(body: Mapping[str, Any], model: EmbeddingModel) -> EmbeddingRequest:
        server.check_model_of(body)
        parsed = parse(body, spec, model)
        count_ignored(body, _KNOWN, server.metrics)
        return parsed

    def parse_llamacpp(body: Mapping[str, Any], model: EmbeddingModel) -> EmbeddingRequest:
        server.check_model_of(body)
        parsed = parse_native(body, spec, model)
        count_ignored(body, _KNOWN_NATIVE, server.metrics)
        return parsed

    def write_openai(vectors: Float32, parsed: EmbeddingRequest, tokens: int) -> bytes:
        wanted = vectors if parsed.dimensions is None else cut(vectors, parsed.dimensions)
        return openai_json(wanted, parsed.encoding, spec.model, tokens)

    def write_llamacpp(vectors: Float32, parsed: EmbeddingRequest, tokens: int) -> bytes:
        return native_json(scale(vectors, parsed.normalize))

    @routes.post("/v1/embeddings")
    async def create(request: Request) -> Response:
        return await service.respond(request, parse_openai, write_openai)

    @routes.post("/embeddings")
    @routes.post("/embedding")
    async def create_native(request: Request) -> Response:
        return await service.respond(request, parse_llamacpp, write_llamacpp)

    return routes
