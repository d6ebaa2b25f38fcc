"""Serves rerank requests: admission, tokenisation, batches, metrics."""

from __future__ import annotations

import asyncio
import logging
import time

from fastapi import Request, Response

from fleet_contract.api.rerank import NO_OP_VALUES, RerankBody
from fleet_contract.errors import PromptTooLong, Timeout
from fleet_server.admission import Slot
from fleet_server.batching.batcher import Batcher
from fleet_server.batching.prefixes import tokenized
from fleet_server.protocols import RerankModel
from fleet_server.rerank.render import render
from fleet_server.rerank.request import RerankRequest, check_document_tokens, parse
from fleet_server.state import ServerState
from fleet_server.tracing import recording as tracing
from fleet_server.unknown_fields import count_ignored
from fleet_web.body import read_json
from fleet_web.client import run_while_connected
from fleet_web.logs import event
from fleet_web.responses import json_response

logger = logging.getLogger(__name__)

_KNOWN = RerankBody.model_fields.keys() | NO_OP_VALUES.keys()


class RerankService:
    """Created with the routes; its batcher starts with the first request to the loaded model."""

    def __init__(self, server: ServerState) -> None:
        self._server = server
        self._batcher: Batcher | None = None

    async def respond(self, request: Request, *, cohere: bool) -> Response:
        """The response to one request, of Cohere's v2 API or another one.

        Raises FleetErrors and ClientDisconnect.
        """
        server = self._server
        body = await read_json(request, server.spec.max_body_bytes)
        model: RerankModel = server.ready_model()
        server.check_model_of(body)
        parsed = parse(body, server.spec, cohere=cohere)
        check_document_tokens(parsed, model)
        count_ignored(body, _KNOWN, server.metrics)
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
        logits = await self._batcher_of(model).run(pairs, slot.caller)
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
        if (recording := tracing.current()) is not None:
            recording.computed(slot.queue_ms, started, time.monotonic())
            recording.attributes["gen_ai.usage.input_tokens"] = tokens
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
    most = model.max_tokens
    [query] = tokenized([parsed.query], most, lambda part: model.tokenize_pairs(part[0], [""]))
    alone = len(query.ids)
    if alone > most or (alone == most and parsed.truncate):
        counted = f"{alone}" if query.whole else f"more than {most}"
        raise PromptTooLong(
            f"'query' has {counted} tokens; this model reads at most {most} of query and document "
            f"together.",
            param="query",
        )
    pairs = []
    documents = tokenized(
        parsed.documents, most, lambda part: model.tokenize_pairs(parsed.query, part), alone
    )
    for number, pair in enumerate(documents):
        ids = pair.ids
        if len(ids) > most:
            if not parsed.truncate:
                counted = f"{len(ids)}" if pair.whole else f"more than {most}"
                raise PromptTooLong(
                    f"'{parsed.param}[{number}]' has {counted} tokens together with the query; this"
                    f' model reads at most {most}. Send "truncate": true to truncate it.',
                    param=parsed.param,
                )
            ids = model.truncate_pair(ids)
        pairs.append(ids)
    return pairs
