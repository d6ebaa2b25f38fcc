"""POST /v1/chat/completions, whole and streamed."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

from fastapi import APIRouter, Request, Response

from fleet_contract.errors import FleetError, PromptTooLong
from fleet_contract.names import HEADER_USAGE
from fleet_server.admission import Slot
from fleet_server.chat.answer import Answer, Piece
from fleet_server.chat.messages import image_places
from fleet_server.chat.parameters import refuse_unsupported, unknown_fields
from fleet_server.chat.request import ChatRequest, parse
from fleet_server.chat.shapes import Shapes, failure
from fleet_server.held_stream import HeldStream
from fleet_server.images import ImageLoader
from fleet_server.protocols import ChatModel, Prompt
from fleet_server.state import ServerState
from fleet_web.answers import json_answer
from fleet_web.body import read_json
from fleet_web.disconnect import or_gone
from fleet_web.logs import event

logger = logging.getLogger(__name__)


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

    async def complete(self, request: Request) -> Response:
        server = self._server
        body = await read_json(request, server.spec.limits.max_body_bytes)
        model: ChatModel = server.ready_model()
        asked = self._check(body, model)
        async with AsyncExitStack() as stack:
            if asked.image_urls:  # decoded images are large: only as many as run are held
                slot = await or_gone(request, self._slot(stack))
            prompt = await or_gone(request, self._prompt(asked, model))
            room = check_length(prompt.num_tokens, model.context_length, server)
            started = time.monotonic()
            if not asked.image_urls:
                slot = await or_gone(request, self._slot(stack))
            server.metrics.queued(slot.queue_ms / 1000)
            seconds = server.spec.limits.request_timeout
            answer = Answer(model, prompt, asked.sampling(room), asked.stop, seconds)
            stack.callback(answer.cancel)
            stack.callback(self._finished, answer, started, slot.queue_ms)
            shapes = Shapes(
                server.spec.model, asked.include_usage, tell_router=HEADER_USAGE in request.headers
            )
            pieces = answer.pieces()
            if not asked.stream:
                return await or_gone(
                    request, self._whole(pieces, answer, shapes, server.headers(slot))
                )
            first = await or_gone(request, anext(pieces))
            return HeldStream(
                _events(first, pieces, answer, shapes),
                stack.pop_all(),
                media_type="text/event-stream",
                headers={**server.headers(slot), "cache-control": "no-cache"},
            )

    async def _slot(self, stack: AsyncExitStack) -> Slot:
        return await stack.enter_async_context(self._server.admission.slot())

    def _check(self, body: dict[str, Any], model: ChatModel) -> ChatRequest:
        if isinstance(body.get("model"), str):
            self._server.check_model(body["model"])
        asked = parse(body, self._server.spec)
        refuse_unsupported(body, model.supports)
        if ignored := unknown_fields(body):
            self._server.metrics.ignored_fields(len(ignored))
            event(logger, "ignored_fields", number=len(ignored))
        return asked

    async def _prompt(self, asked: ChatRequest, model: ChatModel) -> Prompt:
        places = image_places(asked.messages)
        images = [
            await self._images.load(url, place)
            for url, place in zip(asked.image_urls, places, strict=True)
        ]
        return await self._server.run_blocking(model.prompt, asked.messages, images)

    async def _whole(
        self,
        pieces: AsyncIterator[Piece],
        answer: Answer,
        shapes: Shapes,
        headers: dict[str, str],
    ) -> Response:
        text, finish = [], "stop"
        async for piece in pieces:
            text.append(piece.text)
            finish = piece.finish.value if piece.finish else finish
        return json_answer(shapes.whole(answer, "".join(text), finish), headers=headers)

    def _finished(self, answer: Answer, started: float, queue_ms: float) -> None:
        metrics = self._server.metrics
        metrics.tokens("prompt", answer.prompt_tokens)
        metrics.tokens("completion", answer.completion_tokens)
        first = None
        if answer.first_token_at is not None:
            first = answer.first_token_at - started
            metrics.first_token(first)
        event(
            logger, "chat",
            prompt_tokens=answer.prompt_tokens, completion_tokens=answer.completion_tokens,
            queue_ms=round(queue_ms, 1), first_token_ms=first and round(first * 1000, 1),
            ms=round((time.monotonic() - started) * 1000, 1),
        )  # fmt: skip


def check_length(num_tokens: int, context_length: int, server: ServerState) -> int:
    """Room left for new tokens. Raises PromptTooLong with both numbers."""
    limit = server.spec.limits.max_prompt_tokens
    longest = context_length - 1 if limit is None else min(limit, context_length - 1)
    if num_tokens > longest:
        raise PromptTooLong(
            f"The prompt has {num_tokens} tokens; at most {longest} are accepted "
            f"(the model's context is {context_length} tokens).",
            param="messages",
        )
    return context_length - num_tokens


async def _events(
    first: Piece, pieces: AsyncIterator[Piece], answer: Answer, shapes: Shapes
) -> AsyncIterator[bytes]:
    yield shapes.opening() + b"".join(shapes.piece(first))
    try:
        async for piece in pieces:
            yield b"".join(shapes.piece(piece))
    except FleetError as error:
        yield failure(error)
        return
    yield b"".join(shapes.closing(answer))
