"""Serves rerank requests: admission, tokenisation, batches, metrics."""

from __future__ import annotations

import asyncio
import logging
import time

from fastapi import Request, Response

from fleet_contract.api.rerank import RerankBody
from fleet_contract.errors import PromptTooLong, Timeout
from fleet_server.admission import Slot
from fleet_server.batching.batcher import Batcher
from fleet_server.protocols import RerankModel
from fleet_server.rerank.render import render
from fleet_server.rerank.request import RerankRequest, parse
from fleet_server.state import ServerState
from fleet_server.unknown_fields import count_ignored
from fleet_web.body import read_json
from fleet_web.client import run_while_connected
from fleet_web.logs import event
from fleet_web.responses import json_response

logger = logging.getLogger(__name__)


class RerankService:
    """Created with the routes; its batcher starts with the first request to the loaded model."""

    def __init__(self, server: ServerState) -> None:
        self._server = server
        self._batcher: Batcher | None = None

    async def respond(self, request: Request) -> Response:
        """One request from its body to its answer. Raises FleetErrors and ClientDisconnect."""
        server = self._server
        body = await read_json(request, server.spec.max_body_bytes)
        model: RerankModel = server.ready_model()
        server.check_model_of(body)
        parsed = parse(body, server.spec)
        count_ignored(body, RerankBody, server.metrics)
        return await run_while_connected(request, self._admitted(parsed, model))

    def close(self) -> None:
        """Stop the batcher's threads."""
        if self._batcher is not None:
            self._batcher.close()

    async def _admitted(self, parsed: RerankRequest, model: RerankModel) -> Response:
        server = self._server
        seconds = server.spec.limits.request_timeout
        async with server.admission.slot() as slot:
            try:
                async with asyncio.timeout(seconds):
                    return await self._work(parsed, model, slot)
            except TimeoutError:
                raise Timeout(f"The response took longer than {seconds:g} seconds.") from None

    async def _work(self, parsed: RerankRequest, model: RerankModel, slot: Slot) -> Response:
        server, started = self._server, time.monotonic()
        pairs = await server.run_blocking(prepare, parsed, model)
        logits = await self._batcher_of(model).run(pairs)
        tokens = sum(map(len, pairs))
        server.metrics.queued(slot.queue_ms / 1000)
        server.metrics.tokens("prompt", tokens)
        event(
            logger,
            "rerank_request",
            documents=len(pairs),
            prompt_tokens=tokens,
            queue_ms=round(slot.queue_ms, 1),
            ms=round((time.monotonic() - started) * 1000, 1),
        )
        content = render(logits, parsed, server.spec.model, tokens)
        return json_response(content, headers=server.headers(slot))

    def _batcher_of(self, model: RerankModel) -> Batcher:
        if self._batcher is None:
            server = self._server
            self._batcher = Batcher.for_model(
                model, model.score, server.spec, server.admission.max_concurrent
            )
        return self._batcher


def prepare(parsed: RerankRequest, model: RerankModel) -> list[list[int]]:
    """Token ids of each pair.

    Raises PromptTooLong for a pair that exceeds the model's length and may not be truncated, and
    for a query that leaves no space for a document.
    """
    pairs = model.tokenize_pairs(parsed.query, parsed.documents)
    long = [number for number, ids in enumerate(pairs) if len(ids) > model.max_tokens]
    if not long:
        return pairs
    if not parsed.truncate:
        raise PromptTooLong(
            f"'{parsed.param}[{long[0]}]' has {len(pairs[long[0]])} tokens together with the query;"
            f' this model reads at most {model.max_tokens}. Send "truncate": true to truncate it.',
            param=parsed.param,
        )
    alone = len(model.tokenize_pairs(parsed.query, [""])[0])
    if alone >= model.max_tokens:
        raise PromptTooLong(
            f"'query' has {alone} tokens; this model reads at most {model.max_tokens} of query and "
            f"document together.",
            param="query",
        )
    for number in long:
        pairs[number] = model.truncate_pair(pairs[number])
    return pairs
