"""POST /v1/completions, whole and streamed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request, Response

from fleet_contract.api.completions import NO_OP_VALUES, CompletionBody
from fleet_contract.endpoints import main_path
from fleet_contract.errors import WrongTask
from fleet_contract.spec import Task
from fleet_server.completions.render import CompletionRenderer
from fleet_server.completions.request import CompletionRequest, check_ids, empty, parse
from fleet_server.generation.parameters import Parameters
from fleet_server.generation.render import Renderer
from fleet_server.generation.run import Generator, tells_router
from fleet_server.protocols import Prompt, TextModel
from fleet_server.state import ServerState
from fleet_web.body import read_json

PARAMETERS = Parameters(CompletionBody, NO_OP_VALUES)
TAIL_TOKENS = 8
"""Of the prompt, enough to tell how the text after them begins."""


def router(server: ServerState) -> APIRouter:
    """The completion route of `server`."""
    routes = APIRouter()
    completions = CompletionService(server)

    @routes.post("/v1/completions")
    async def create(request: Request) -> Response:
        return await completions.complete(request)

    return routes


class CompletionService:
    """Goes on from texts with the server's model."""

    def __init__(self, server: ServerState) -> None:
        self._server = server
        self._answering = Generator(server, name="completion", param="prompt")

    async def complete(self, request: Request) -> Response:
        """The answer to a request."""
        server = self._server
        body = await read_json(request, server.spec.limits.max_body_bytes)
        model = self._text_model()
        asked = self._check(body, model)
        manner = asked.manner

        async def prepare() -> tuple[Prompt, Renderer]:
            prompt, echo = await server.run_blocking(_read, asked, model)
            return prompt, CompletionRenderer(
                server.spec.model,
                echo,
                include_usage=manner.include_usage,
                tell_router=tells_router(request),
            )

        return await self._answering.answer(request, model, manner, prepare)

    def _text_model(self) -> TextModel:
        """Raises WrongTask where a handler of one's own can only chat."""
        model = self._server.ready_model()
        if not isinstance(model, TextModel) or getattr(model, "vocabulary", None) is None:
            raise WrongTask(
                f"The engine of {self._server.spec.model!r} takes no prompts without a chat "
                f"template; use {main_path(Task.CHAT)}.",
                param="model",
            )
        return model

    def _check(self, body: dict[str, Any], model: TextModel) -> CompletionRequest:
        self._server.check_model_of(body)
        asked = parse(body, self._server.spec)
        PARAMETERS.check(body, model.supports, self._server.metrics)
        return asked


def _read(asked: CompletionRequest, model: TextModel) -> tuple[Prompt, str]:
    """The prompt, and the text to begin the answer with. Raises BadRequest."""
    if isinstance(asked.prompt, str):
        ids = model.vocabulary.encode(asked.prompt, True)
        if not ids:
            raise empty()
    else:
        ids = asked.prompt
        check_ids(ids, model.vocab_size)
    prompt = replace(model.prompt_of(ids), tail=ids[-TAIL_TOKENS:])
    if not asked.echo:
        return prompt, ""
    whole = asked.prompt if isinstance(asked.prompt, str) else model.vocabulary.decode(ids)
    return prompt, whole
