"""Runs a prompt on the server's model and answers with what it writes, whole or as a stream.

The routes of chat, text completions and responses use it; they know how prompts are made and
answers told.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

from fastapi import Request, Response

from fleet_contract.errors import FleetError, PromptTooLong
from fleet_contract.names import HEADER_USAGE
from fleet_server.admission import Slot
from fleet_server.generation.options import GenerationOptions
from fleet_server.generation.render import Renderer
from fleet_server.generation.stream import Answer, Piece
from fleet_server.held_stream import HeldStream
from fleet_server.protocols import ChatModel, Prompt
from fleet_server.state import ServerState
from fleet_web.client import run_while_connected
from fleet_web.logs import event
from fleet_web.responses import json_response

logger = logging.getLogger(__name__)

Prepare = Callable[[], Awaitable[tuple[Prompt, Renderer]]]
"""Makes the prompt, and what tells the answer to it. Raises BadRequest."""


class Generator:
    """`name` is the log line's, `param` the field prompts come in."""

    def __init__(self, server: ServerState, *, name: str, param: str) -> None:
        self._server = server
        self._name = name
        self._param = param

    async def answer(
        self,
        request: Request,
        model: ChatModel,
        manner: GenerationOptions,
        prepare: Prepare,
        *,
        slot_first: bool = False,
    ) -> Response:
        """The answer, or a stream that has begun. With `slot_first` only as many prompts are
        prepared as run. Raises FleetError, and ClientDisconnect."""
        server = self._server
        async with AsyncExitStack() as stack:
            if slot_first:
                slot = await run_while_connected(request, self._slot(stack))
            prompt, telling = await run_while_connected(request, prepare())
            room = self._room(prompt.num_tokens, model.context_length)
            started = time.monotonic()
            if not slot_first:
                slot = await run_while_connected(request, self._slot(stack))
            server.metrics.queued(slot.queue_ms / 1000)
            seconds = server.spec.limits.request_timeout
            answer = Answer(model, prompt, manner.sampling(room), manner.stop, seconds)
            stack.callback(answer.cancel)
            stack.callback(self._finished, answer, started, slot.queue_ms)
            pieces = answer.pieces()
            if not manner.stream:
                headers = server.headers(slot)
                return await run_while_connected(request, _whole(pieces, answer, telling, headers))
            first = await run_while_connected(request, anext(pieces))
            return HeldStream(
                _events(first, pieces, answer, telling),
                stack.pop_all(),
                media_type="text/event-stream",
                headers={**server.headers(slot), "cache-control": "no-cache"},
            )

    async def _slot(self, stack: AsyncExitStack) -> Slot:
        return await stack.enter_async_context(self._server.admission.slot())

    def _room(self, num_tokens: int, context_length: int) -> int:
        """Room left for new tokens. Raises PromptTooLong with both numbers."""
        limit = self._server.spec.limits.max_prompt_tokens
        longest = context_length - 1 if limit is None else min(limit, context_length - 1)
        if num_tokens > longest:
            raise PromptTooLong(
                f"The prompt has {num_tokens} tokens; at most {longest} are accepted "
                f"(the model's context is {context_length} tokens).",
                param=self._param,
            )
        return context_length - num_tokens

    def _finished(self, answer: Answer, started: float, queue_ms: float) -> None:
        metrics = self._server.metrics
        metrics.tokens("prompt", answer.prompt_tokens)
        metrics.tokens("completion", answer.completion_tokens)
        first = None
        if answer.first_token_at is not None:
            first = answer.first_token_at - started
            metrics.first_token(first)
        event(
            logger, self._name,
            prompt_tokens=answer.prompt_tokens, completion_tokens=answer.completion_tokens,
            queue_ms=round(queue_ms, 1), first_token_ms=first and round(first * 1000, 1),
            ms=round((time.monotonic() - started) * 1000, 1),
        )  # fmt: skip


def tells_router(request: Request) -> bool:
    """Whether the router asks to be told the usage of a stream."""
    return HEADER_USAGE in request.headers


async def _whole(
    pieces: AsyncIterator[Piece], answer: Answer, telling: Renderer, headers: dict[str, str]
) -> Response:
    text, finish = [], "stop"
    async for piece in pieces:
        text.append(piece.text)
        finish = piece.finish.value if piece.finish else finish
    return json_response(telling.whole(answer, "".join(text), finish), headers=headers)


async def _events(
    first: Piece, pieces: AsyncIterator[Piece], answer: Answer, telling: Renderer
) -> AsyncIterator[bytes]:
    yield telling.opening() + b"".join(telling.piece(first))
    try:
        async for piece in pieces:
            yield b"".join(telling.piece(piece))
    except FleetError as error:
        yield telling.failure(error)
        return
    yield b"".join(telling.closing(answer))
