"""Runs a prompt on the server's model and responds with its text, whole or as a stream."""

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
from fleet_server.generation.stream import TextUpdate, TokenStream
from fleet_server.held_stream import HeldStream
from fleet_server.protocols import ChatModel, Prompt
from fleet_server.state import ServerState
from fleet_web.client import run_while_connected
from fleet_web.logs import event
from fleet_web.responses import json_response

logger = logging.getLogger(__name__)

Prepare = Callable[[], Awaitable[tuple[Prompt, Renderer]]]
"""Builds the prompt and the renderer of its response. Raises BadRequest."""


class Generator:
    """`name` is the name of the log event, `param` the request field that holds the prompt."""

    def __init__(self, server: ServerState, *, name: str, param: str) -> None:
        self._server = server
        self._name = name
        self._param = param

    async def respond(
        self,
        request: Request,
        model: ChatModel,
        options: GenerationOptions,
        prepare: Prepare,
        *,
        slot_first: bool = False,
    ) -> Response:
        """The response, or a stream whose first token has been generated.

        With `slot_first` the prompt is prepared once the request may run, which bounds the number
        of prepared prompts. Raises FleetError, and ClientDisconnect.
        """
        server = self._server
        async with AsyncExitStack() as stack:
            if slot_first:
                slot = await run_while_connected(request, self._slot(stack))
            prompt, renderer = await run_while_connected(request, prepare())
            most = self._max_new_tokens(prompt.num_tokens, model.context_length)
            started = time.monotonic()
            if not slot_first:
                slot = await run_while_connected(request, self._slot(stack))
            server.metrics.queued(slot.queue_ms / 1000)
            seconds = server.spec.limits.request_timeout
            stream = TokenStream(model, prompt, options.sampling(most), options.stop, seconds)
            # Callbacks run in reverse order: counts are taken before the engine's slot is freed.
            stack.callback(stream.cancel)
            stack.callback(self._finished, stream, started, slot.queue_ms)
            updates = stream.updates()
            if not options.stream:
                headers = server.headers(slot)
                return await run_while_connected(
                    request, _whole(updates, stream, renderer, headers)
                )
            # Wait for the first token, so that an engine's error still gets a status of its own.
            first = await run_while_connected(request, anext(updates))
            return HeldStream(
                _events(first, updates, stream, renderer),
                stack.pop_all(),
                media_type="text/event-stream",
                headers={**server.headers(slot), "cache-control": "no-cache"},
            )

    async def _slot(self, stack: AsyncExitStack) -> Slot:
        return await stack.enter_async_context(self._server.admission.slot())

    def _max_new_tokens(self, num_tokens: int, context_length: int) -> int:
        """The context left after the prompt. Raises PromptTooLong with both numbers."""
        limit = self._server.spec.limits.max_prompt_tokens
        longest = context_length - 1 if limit is None else min(limit, context_length - 1)
        if num_tokens > longest:
            raise PromptTooLong(
                f"The prompt has {num_tokens} tokens; at most {longest} are accepted "
                f"(the model's context is {context_length} tokens).",
                param=self._param,
            )
        return context_length - num_tokens

    def _finished(self, stream: TokenStream, started: float, queue_ms: float) -> None:
        metrics = self._server.metrics
        metrics.tokens("prompt", stream.prompt_tokens)
        metrics.tokens("completion", stream.completion_tokens)
        first = None
        if stream.first_token_at is not None:
            first = stream.first_token_at - started
            metrics.first_token(first)
        event(
            logger, self._name,
            prompt_tokens=stream.prompt_tokens, completion_tokens=stream.completion_tokens,
            queue_ms=round(queue_ms, 1), first_token_ms=first and round(first * 1000, 1),
            ms=round((time.monotonic() - started) * 1000, 1),
        )  # fmt: skip


def wants_usage_comment(request: Request) -> bool:
    """Whether the request comes from a router that wants a stream's usage."""
    return HEADER_USAGE in request.headers


async def _whole(
    updates: AsyncIterator[TextUpdate],
    stream: TokenStream,
    renderer: Renderer,
    headers: dict[str, str],
) -> Response:
    text, finish = [], "stop"
    async for update in updates:
        text.append(update.text)
        finish = update.finish.value if update.finish else finish
    return json_response(renderer.whole(stream, "".join(text), finish), headers=headers)


async def _events(
    first: TextUpdate, updates: AsyncIterator[TextUpdate], stream: TokenStream, renderer: Renderer
) -> AsyncIterator[bytes]:
    yield renderer.opening() + b"".join(renderer.update(first))
    try:
        async for update in updates:
            yield b"".join(renderer.update(update))
    except FleetError as error:
        yield renderer.failure(error)
        return
    yield b"".join(renderer.closing(stream))
