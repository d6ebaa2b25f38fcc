"""POST /v1/responses, with and without streaming."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

from fastapi import APIRouter, Request, Response

from fleet_contract.api.responses import NO_OP_VALUES, ResponsesBody
from fleet_contract.errors import BadRequest, UnsupportedParameter
from fleet_server.chat.messages import num_chars
from fleet_server.chat.tool_messages import uses_tools
from fleet_server.generation.conversation import Conversation, conversation
from fleet_server.generation.options import GenerationOptions
from fleet_server.generation.parameters import Parameters, with_calls, without, without_tools
from fleet_server.generation.run import Generator, PreparedPrompt
from fleet_server.images import ImageLoader, most_pixels
from fleet_server.protocols import ChatModel
from fleet_server.responses.render import ResponseRenderer, early_failure
from fleet_server.responses.request import ResponsesRequest, parse
from fleet_server.state import ServerState
from fleet_web.body import read_json

PARAMETERS = Parameters(ResponsesBody, NO_OP_VALUES)


def router(server: ServerState) -> APIRouter:
    """The route of responses of `server`."""
    routes = APIRouter()
    responses = ResponsesService(server)

    @routes.post("/v1/responses")
    async def create(request: Request) -> Response:
        return await responses.respond(request)

    return routes


class ResponsesService:
    """Serves stateless responses with the server's model."""

    def __init__(self, server: ServerState) -> None:
        self._server = server
        self._images = ImageLoader(server.spec, server.image_memory)
        self._generator = Generator(server, name="response", param="input")

    async def respond(self, request: Request) -> Response:
        """The response to a request. Raises FleetError."""
        server = self._server
        body = await read_json(request, server.spec.max_body_bytes)
        model: ChatModel = server.ready_model()
        parsed = self._check(body, model)
        options = with_calls(parsed.options, model)
        chat = self._chat(parsed, options, model)

        async def prepare(held: AsyncExitStack) -> PreparedPrompt:
            urls = ((each.url, each.place) for each in parsed.images)
            images = await self._images.pictures(urls, held, most_pixels(model))
            try:
                prompt = await server.run_blocking(chat.prompt, model, images)
            except BadRequest as error:
                raise BadRequest(error.message, param="input", code=error.code) from error
            return chat.prepared(
                model, prompt, ResponseRenderer(options.model(server.spec), parsed)
            )

        return await self._generator.respond(
            request,
            model,
            options,
            prepare,
            num_chars=num_chars(parsed.messages) + options.tools.num_chars,
            failure=early_failure,
        )

    def _chat(
        self, parsed: ResponsesRequest, options: GenerationOptions, model: ChatModel
    ) -> Conversation:
        effort = parsed.given.reasoning.effort if parsed.given.reasoning else None
        try:
            return conversation(model, parsed.messages, options, effort)
        except UnsupportedParameter as error:
            raise UnsupportedParameter(error.message, param="reasoning") from error

    def _check(self, body: dict[str, Any], model: ChatModel) -> ResponsesRequest:
        self._server.check_model_of(body)
        parsed = parse(body, self._server.spec)
        PARAMETERS.check(body, model.supports, self._server.metrics)
        if parsed.options.logprobs is not None and "logprobs" not in model.supports:
            raise without("logprobs", "include")
        if "tools" not in model.supports and uses_tools(parsed.messages):
            raise without_tools("input")
        return parsed
