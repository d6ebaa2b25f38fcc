"""POST /v1/chat/completions, with and without streaming."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from fleet_server.chat.messages import image_places, num_chars
from fleet_server.chat.render import ChatRenderer
from fleet_server.chat.request import ChatRequest, parse
from fleet_server.generation.parameters import CHAT
from fleet_server.generation.render import Renderer
from fleet_server.generation.run import Generator, wants_usage_comment
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
    """Serves chat requests with the server's model."""

    def __init__(self, server: ServerState) -> None:
        self._server = server
        self._images = ImageLoader(server.spec)
        self._generator = Generator(server, name="chat", param="messages")

    async def complete(self, request: Request) -> Response:
        """The response to a request. Raises FleetError."""
        server = self._server
        body = await read_json(request, server.spec.max_body_bytes)
        model: ChatModel = server.ready_model()
        parsed = self._check(body, model)
        options = parsed.options

        async def prepare() -> tuple[Prompt, Renderer]:
            prompt = await self._prompt(parsed, model)
            return prompt, ChatRenderer(
                server.spec.model,
                include_usage=options.include_usage,
                usage_comment=wants_usage_comment(request),
            )

        return await self._generator.respond(
            request, model, options, prepare, num_chars=num_chars(parsed.messages)
        )

    def _check(self, body: dict[str, Any], model: ChatModel) -> ChatRequest:
        self._server.check_model_of(body)
        parsed = parse(body, self._server.spec)
        CHAT.check(body, model.supports, self._server.metrics)
        return parsed

    async def _prompt(self, parsed: ChatRequest, model: ChatModel) -> Prompt:
        places = image_places(parsed.messages)
        images = [
            await self._images.load(url, place)
            for url, place in zip(parsed.image_urls, places, strict=True)
        ]
        return await self._server.run_blocking(model.prompt, parsed.messages, images)
