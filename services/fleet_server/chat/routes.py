"""POST /v1/chat/completions, with and without streaming."""

from __future__ import annotations

from contextlib import AsyncExitStack

from fastapi import APIRouter, Request, Response

from fleet_server.chat.checked import check
from fleet_server.chat.messages import image_places
from fleet_server.chat.render import ChatRenderer
from fleet_server.generation.run import Generator, PreparedPrompt, usage_wanted
from fleet_server.images import ImageLoader, most_pixels
from fleet_server.protocols import ChatModel
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
        self._images = ImageLoader(server.spec, server.image_memory)
        self._generator = Generator(server, name="chat", param="messages")

    async def complete(self, request: Request) -> Response:
        """The response to a request. Raises FleetError."""
        server = self._server
        body = await read_json(request, server.spec.max_body_bytes)
        model: ChatModel = server.ready_model()
        checked = check(server, body, model)
        parsed, options, chat = checked.parsed, checked.options, checked.chat

        async def prepare(held: AsyncExitStack) -> PreparedPrompt:
            urls = zip(parsed.image_urls, image_places(parsed.messages), strict=True)
            images = await self._images.pictures(urls, held, most_pixels(model))
            prompt = await server.run_blocking(chat.prompt, model, images)
            renderer = ChatRenderer(
                options.model(server.spec),
                usage_wanted(request, options),
                scored=options.logprobs is not None,
            )
            return chat.prepared(model, prompt, renderer)

        return await self._generator.respond(
            request, model, options, prepare, num_chars=parsed.num_chars
        )
