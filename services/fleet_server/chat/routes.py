"""POST /v1/chat/completions, whole and streamed."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from fleet_server.chat.messages import image_places
from fleet_server.chat.render import ChatRenderer
from fleet_server.chat.request import ChatRequest, parse
from fleet_server.generation.parameters import CHAT
from fleet_server.generation.render import Renderer
from fleet_server.generation.run import Generator, tells_router
from fleet_server.images import ImageLoader
from fleet_server.protocols import ChatModel, Prompt
from fleet_server.state import ServerState
from fleet_web.body import read_json


def router(server: ServerState) -> APIRouter:
    """The chat routes of `server`."""
    routes = APIRouter()
    chat = ChatService(server)

    @routes.post("/v1/chat/completions")
    async def create(request: Request) -> Response:
        return await chat.complete(request)

    return routes


class ChatService:
    """Answers chat requests with the server's model."""

    def __init__(self, server: ServerState) -> None:
        self._server = server
        self._images = ImageLoader(server.spec)
        self._answering = Generator(server, name="chat", param="messages")

    async def complete(self, request: Request) -> Response:
        """The answer to a request."""
        server = self._server
        body = await read_json(request, server.spec.limits.max_body_bytes)
        model: ChatModel = server.ready_model()
        asked = self._check(body, model)
        manner = asked.manner

        async def prepare() -> tuple[Prompt, Renderer]:
            prompt = await self._prompt(asked, model)
            return prompt, ChatRenderer(
                server.spec.model,
                include_usage=manner.include_usage,
                tell_router=tells_router(request),
            )

        # Decoded images are large: only as many as run are held.
        slot_first = bool(asked.image_urls)
        return await self._answering.answer(request, model, manner, prepare, slot_first=slot_first)

    def _check(self, body: dict[str, Any], model: ChatModel) -> ChatRequest:
        self._server.check_model_of(body)
        asked = parse(body, self._server.spec)
        CHAT.check(body, model.supports, self._server.metrics)
        return asked

    async def _prompt(self, asked: ChatRequest, model: ChatModel) -> Prompt:
        places = image_places(asked.messages)
        images = [
            await self._images.load(url, place)
            for url, place in zip(asked.image_urls, places, strict=True)
        ]
        return await self._server.run_blocking(model.prompt, asked.messages, images)
