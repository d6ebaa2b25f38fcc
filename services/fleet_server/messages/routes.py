"""POST /v1/messages, with and without streaming, and /v1/messages/count_tokens."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

from fastapi import APIRouter, Request, Response

from fleet_contract.api.messages import NO_OP_VALUES, MessagesBody, TokenCount
from fleet_contract.errors import ThreadsUnsupported
from fleet_server.chat.tool_messages import uses_tools
from fleet_server.generation import chat_format
from fleet_server.generation.conversation import CONTINUED, NEW_TURN, Conversation, conversation
from fleet_server.generation.options import GenerationOptions
from fleet_server.generation.parameters import Parameters, with_calls, without_tools
from fleet_server.generation.run import Generator, PreparedPrompt
from fleet_server.images import ImageLoader, most_pixels
from fleet_server.messages.render import MessageRenderer, failure
from fleet_server.messages.request import MessagesRequest, parse, parse_count
from fleet_server.messages.thinking import effort_of
from fleet_server.protocols import ChatModel
from fleet_server.state import ServerState
from fleet_web.body import read_json
from fleet_web.client import run_while_connected
from fleet_web.responses import json_response

PARAMETERS = Parameters(MessagesBody, NO_OP_VALUES)


def router(server: ServerState) -> APIRouter:
    """The routes of messages of `server`."""
    routes = APIRouter()
    messages = MessagesService(server)

    @routes.post("/v1/messages")
    async def create(request: Request) -> Response:
        return await messages.create(request)

    @routes.post("/v1/messages/count_tokens")
    async def count_tokens(request: Request) -> Response:
        return await messages.count(request)

    return routes


class MessagesService:
    """Serves messages with the server's model."""

    def __init__(self, server: ServerState) -> None:
        self._server = server
        self._images = ImageLoader(server.spec, server.image_memory)
        self._generator = Generator(server, name="message", param="messages")

    async def create(self, request: Request) -> Response:
        """The response to a request. Raises FleetError."""
        server = self._server
        body = await read_json(request, server.spec.max_body_bytes)
        model: ChatModel = server.ready_model()
        server.check_model_of(body)
        parsed = parse(body, server.spec)
        self._check(body, parsed, model)
        options = with_calls(parsed.options, model)
        chat = self._chat(parsed, options, model)

        async def prepare(held: AsyncExitStack) -> PreparedPrompt:
            images = await self._load(parsed, held, model)
            prompt = await server.run_blocking(chat.prompt, model, images)
            renderer = MessageRenderer(options.model(server.spec), prompt.num_tokens)
            return chat.prepared(model, prompt, renderer)

        return await self._generator.respond(
            request, model, options, prepare, num_chars=parsed.num_chars, failure=failure
        )

    async def count(self, request: Request) -> Response:
        """The number of tokens of a request's prompt. Raises FleetError."""
        server = self._server
        body = await read_json(request, server.spec.max_body_bytes)
        model: ChatModel = server.ready_model()
        server.check_model_of(body)
        parsed = parse_count(body, server.spec)
        self._check(body, parsed, model)
        self._generator.check_length(parsed.num_chars, model.context_length)
        chat = self._chat(parsed, with_calls(parsed.options, model), model)
        return await run_while_connected(request, self._count(chat, parsed, model))

    async def _count(
        self, chat: Conversation, parsed: MessagesRequest, model: ChatModel
    ) -> Response:
        async with self._server.admission.slot() as slot, AsyncExitStack() as held:
            images = await self._load(parsed, held, model)
            prompt = await self._server.run_blocking(chat.prompt, model, images)
            counted: TokenCount = {"input_tokens": prompt.num_tokens}
            return json_response(counted, headers=self._server.headers(slot))

    async def _load(
        self, parsed: MessagesRequest, held: AsyncExitStack, model: ChatModel
    ) -> list[Any]:
        urls = ((each.url, each.place) for each in parsed.images)
        return await self._images.pictures(urls, held, most_pixels(model))

    def _check(self, body: dict[str, Any], parsed: MessagesRequest, model: ChatModel) -> None:
        if body.get("thread") is not None:
            raise ThreadsUnsupported(
                "'thread' is not supported: conversations are not stored; send all messages.",
                param="thread",
            )
        PARAMETERS.check(body, model.supports, self._server.metrics, extra=True)
        if "tools" not in model.supports and uses_tools(parsed.messages):
            raise without_tools("messages")

    def _chat(
        self, parsed: MessagesRequest, options: GenerationOptions, model: ChatModel
    ) -> Conversation:
        form = chat_format.read(getattr(model, "chat_template", ""))
        effort = effort_of(parsed.given, form)
        ending = CONTINUED if parsed.continues else NEW_TURN
        return conversation(model, parsed.messages, options, effort, ending=ending)
