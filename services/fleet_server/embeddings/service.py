"""Serves embedding requests: admission, cache, batches, metrics."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from fastapi import Request, Response

from fleet_contract.errors import Timeout
from fleet_server.admission import Slot
from fleet_server.batching.batcher import Batcher
from fleet_server.embeddings.cache import VectorCache
from fleet_server.embeddings.prepare import PreparedInputs, TokenIdsRefused, prepare
from fleet_server.embeddings.request import EmbeddingRequest
from fleet_server.protocols import EmbeddingModel, Float32
from fleet_server.state import ServerState
from fleet_server.tracing import recording as tracing
from fleet_web.body import read_json
from fleet_web.client import run_while_connected
from fleet_web.logs import event

logger = logging.getLogger(__name__)

INLINE_CHARS = 1000
"""Inputs of up to this many characters or ids in total are tokenised on the event loop: that takes
at most half a millisecond, less than a switch to a worker thread and back."""
INLINE_VALUES = 65_536
"""Responses with more values than this are rendered in a worker thread."""

Parse = Callable[[Mapping[str, Any], EmbeddingModel], EmbeddingRequest]
Write = Callable[[Float32, EmbeddingRequest, int], bytes]


class EmbeddingService:
    """Created with the routes; its batcher starts with the first request to the loaded model."""

    def __init__(self, server: ServerState) -> None:
        self._server = server
        self._cache = VectorCache(server.spec.cache.embeddings)
        self._batcher: Batcher | None = None

    async def respond(self, request: Request, parse: Parse, write: Write) -> Response:
        """The response to one request. Raises FleetErrors and ClientDisconnect."""
        server = self._server
        body = await read_json(request, server.spec.max_body_bytes)
        model: EmbeddingModel = server.ready_model()
        parsed = parse(body, model)
        return await run_while_connected(request, self._admitted(parsed, model, write))

    def close(self) -> None:
        """Stop the batcher's threads."""
        if self._batcher is not None:
            self._batcher.close()

    async def _admitted(
        self, parsed: EmbeddingRequest, model: EmbeddingModel, write: Write
    ) -> Response:
        seconds = self._server.spec.limits.request_timeout
        async with self._server.admission.slot() as slot:
            try:
                # Only the work: the wait for a slot has its own timeout.
                async with asyncio.timeout(seconds):
                    raw = await self._work(parsed, model, write, slot)
            except TimeoutError:
                raise Timeout(f"The response took longer than {seconds:g} seconds.") from None
            headers = self._server.headers(slot)
        return Response(raw, headers=headers, media_type="application/json")

    async def _work(
        self, parsed: EmbeddingRequest, model: EmbeddingModel, write: Write, slot: Slot
    ) -> bytes:
        server, started = self._server, time.monotonic()
        prepared = await self._prepared(parsed, model)
        fresh = None
        if prepared.batch:
            fresh = await self._batcher_of(model).run(prepared.batch, slot.caller)
            prepared.remember(fresh, self._cache)
        vectors = prepared.assemble(fresh, model.dimensions)
        if vectors.size <= INLINE_VALUES:
            raw = write(vectors, parsed, prepared.tokens)
        else:
            raw = await server.run_blocking(write, vectors, parsed, prepared.tokens)
        self._account(prepared, slot, time.monotonic() - started)
        return raw

    async def _prepared(self, parsed: EmbeddingRequest, model: EmbeddingModel) -> PreparedInputs:
        server = self._server
        try:
            if sum(map(len, parsed.inputs)) <= INLINE_CHARS:
                return prepare(parsed, model, self._cache)
            return await server.run_blocking(prepare, parsed, model, self._cache)
        except TokenIdsRefused as error:
            server.metrics.token_ids_refused()
            event(logger, "token_ids_refused", level=logging.WARNING, reason=error.message[:200])
            raise

    def _batcher_of(self, model: EmbeddingModel) -> Batcher:
        if self._batcher is None:
            server = self._server
            self._batcher = Batcher.for_model(
                model, model.embed, server.spec, server.admission.max_concurrent
            )
        return self._batcher

    def _account(self, prepared: PreparedInputs, slot: Slot, seconds: float) -> None:
        metrics = self._server.metrics
        hits = len(prepared.rows) - len(prepared.batch)
        metrics.queued(slot.queue_ms / 1000)
        metrics.tokens("prompt", prepared.tokens)
        metrics.embedding_cache_hits.inc(hits)
        metrics.embedding_cache_misses.inc(len(prepared.batch))
        event(
            logger,
            "embedding_request",
            inputs=len(prepared.rows),
            cached=hits,
            prompt_tokens=prepared.tokens,
            queue_ms=round(slot.queue_ms, 1),
            ms=round(seconds * 1000, 1),
        )
        if (recording := tracing.current()) is not None:
            now = time.monotonic()
            recording.computed(slot.queue_ms, now - seconds, now)
            recording.attributes["gen_ai.usage.input_tokens"] = prepared.tokens
