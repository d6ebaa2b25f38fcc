"""POST /v1/completions, with and without streaming."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request, Response

from fleet_contract.api.completions import CompletionBody
from fleet_contract.endpoints import main_path
from fleet_contract.errors import WrongTask
from fleet_contract.spec import Task
from fleet_server.completions.echo import Echo
from fleet_server.completions.fill import Fill
from fleet_server.completions.render import CompletionRenderer
from fleet_server.completions.request import (
    CompletionRequest,
    check_ids,
    check_scored,
    empty,
    parse,
)
from fleet_server.engines.text_chat import TAIL_TOKENS
from fleet_server.generation.formats.fields import check_output
from fleet_server.generation.parameters import Parameters, check_prompt_logprobs
from fleet_server.generation.run import Generator, PreparedPrompt, place_of, usage_wanted
from fleet_server.protocols import Prompt, TextModel
from fleet_server.state import ServerState
from fleet_web.body import read_json

PARAMETERS = Parameters(CompletionBody, {})


def router(server: ServerState) -> APIRouter:
    """The completion route of `server`."""
    routes = APIRouter()
    completions = CompletionService(server)

    @routes.post("/v1/completions")
    async def create(request: Request) -> Response:
        return await completions.complete(request)

    return routes


class CompletionService:
    """Completes texts with the server's model."""

    def __init__(self, server: ServerState) -> None:
        self._server = server
        self._generator = Generator(server, name="completion", param="prompt")

    async def complete(self, request: Request) -> Response:
        """The response to a request. Raises FleetError."""
        server = self._server
        body = await read_json(request, server.spec.max_body_bytes)
        model = self._text_model()
        parsed = self._check(body, model)
        options = parsed.options

        async def prepare(_held: AsyncExitStack) -> PreparedPrompt:
            fill, found = await server.run_blocking(_read_all, parsed, model, server.spec.model)
            renderer = CompletionRenderer(
                options.model(server.spec),
                [echo for _, echo in found],
                options.n,
                usage_wanted(request, options),
                scored=options.logprobs is not None,
            )
            prompts = [prompt for prompt, _ in found]
            if options.prompt_logprobs:
                check_scored([prompt.num_tokens for prompt in prompts], model.context_length)
            if fill is None:
                return PreparedPrompt(prompts, renderer)
            return PreparedPrompt(prompts, renderer, decode=fill.decode, stop=fill.stop)

        return await self._generator.respond(
            request, model, options, prepare, num_chars=parsed.longest
        )

    def _text_model(self) -> TextModel:
        """Raises WrongTask for a model, such as a custom handler, that only implements chat."""
        model = self._server.ready_model()
        if not isinstance(model, TextModel) or getattr(model, "vocabulary", None) is None:
            raise WrongTask(
                f"The engine of {self._server.spec.model!r} does not support prompts without a "
                f"chat template; use {main_path(Task.CHAT)}.",
                param="model",
            )
        return model

    def _check(self, body: dict[str, Any], model: TextModel) -> CompletionRequest:
        self._server.check_model_of(body)
        parsed = parse(body, self._server.spec)
        extra = self._server.spec.limits.extra_sampling
        PARAMETERS.check(body, model.supports, self._server.metrics, extra=extra)
        if parsed.options.prompt_logprobs:
            check_prompt_logprobs(model.supports)
        check_output(parsed.options.output, model.supports)
        return parsed


def _read_all(
    parsed: CompletionRequest, model: TextModel, name: str
) -> tuple[Fill | None, list[tuple[Prompt, Echo]]]:
    """How a middle is filled in, and the prompts, each with the text to echo. Raises BadRequest."""
    number = len(parsed.prompts)
    fill = Fill(model, parsed.suffix, name) if parsed.suffix else None
    found = [
        _read(given, place_of(at, number), model, fill, echo=parsed.echo)
        for at, given in enumerate(parsed.prompts)
    ]
    return fill, found


def _read(
    given: str | list[int], place: str, model: TextModel, fill: Fill | None, *, echo: bool
) -> tuple[Prompt, Echo]:
    if not isinstance(given, str):
        check_ids(given, model.vocab_size, place)
    if fill is not None:
        ids = fill.around(given)
    else:
        ids = model.vocabulary.encode(given, True) if isinstance(given, str) else given
    if not ids:
        raise empty(place)
    prompt = model.prompt_of(ids)
    if not getattr(model, "emits_text", False):
        prompt = replace(prompt, tail=ids[-TAIL_TOKENS:])
    if not echo:
        return prompt, Echo()
    whole = given if isinstance(given, str) else model.vocabulary.decode(ids)
    return prompt, Echo(whole, ids, model.vocabulary.piece)
