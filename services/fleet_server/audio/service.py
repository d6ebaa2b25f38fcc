"""Serves speech requests: upload, admission, transcription, response formats, streams."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass

from fastapi import Request, Response

from fleet_contract.api.speech import MEDIA_TYPES
from fleet_contract.errors import BadRequest, FleetError, InternalError, Timeout
from fleet_contract.names import HEADER_USAGE
from fleet_server.admission import Slot
from fleet_server.audio import events, formats
from fleet_server.audio.form import Form, read_form
from fleet_server.audio.request import (
    SpeechRequest,
    Task,
    check_languages,
    parse,
    without_recording,
)
from fleet_server.audio.scratch import Scratch
from fleet_server.audio.work import Work
from fleet_server.caller import current_caller
from fleet_server.early_stream import stream_events
from fleet_server.held_stream import HeldStream
from fleet_server.protocols import Segment, SpeechModel, Transcript
from fleet_server.state import ServerState
from fleet_server.tracing import recording as tracing
from fleet_web.client import run_while_connected
from fleet_web.logs import event

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Started:
    """A request that holds a slot since `at` (monotonic), and its results."""

    slot: Slot
    at: float
    results: AsyncIterator[Segment | Transcript]


class SpeechService:
    """Created with the routes; its threads start with the first request to the loaded model."""

    def __init__(self, server: ServerState) -> None:
        self._server = server
        self._scratch = Scratch(server.spec.limits.max_scratch_bytes)
        self._pool: ThreadPoolExecutor | None = None

    async def respond(self, request: Request, task: Task) -> Response:
        """The response to one request. Raises FleetErrors and ClientDisconnect."""
        server = self._server
        model: SpeechModel = server.ready_model()
        async with AsyncExitStack() as stack:
            form = stack.enter_context(Form(self._scratch, current_caller()))
            await read_form(request, form, server.spec.limits.max_audio_bytes)
            parsed = self._check(form, task, model)
            if not parsed.stream:
                return await run_while_connected(
                    request, self._complete(stack.pop_all(), form, parsed, model)
                )
            start = self._stream(stack.pop_all(), form, parsed, model)
            return await stream_events(
                request, start, events.failure, server.early_headers(), server.heartbeat
            )

    def close(self) -> None:
        """Stop the threads."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    async def _complete(
        self, held: AsyncExitStack, form: Form, parsed: SpeechRequest, model: SpeechModel
    ) -> Response:
        async with held as stack:
            started = await self._started(stack, form, parsed, model)
            transcript = await _last(started.results)
            self._account(transcript, started, parsed.task)
            headers = self._server.headers(started.slot)
            return Response(
                formats.write(transcript, parsed),
                headers={**headers, HEADER_USAGE: formats.usage_header(transcript)},
                media_type=MEDIA_TYPES[parsed.format],
            )

    async def _stream(
        self, held: AsyncExitStack, form: Form, parsed: SpeechRequest, model: SpeechModel
    ) -> HeldStream:
        async with held as stack:
            started = await self._started(stack, form, parsed, model)
            first = await anext(started.results)
            headers = self._server.headers(started.slot)
            return HeldStream(
                self._events(first, started),
                stack.pop_all(),
                media_type="text/event-stream",
                headers={**headers, "cache-control": "no-cache"},
            )

    async def _started(
        self, stack: AsyncExitStack, form: Form, parsed: SpeechRequest, model: SpeechModel
    ) -> Started:
        """Wait for a slot and start the work; both end with `stack`."""
        server = self._server
        slot = await stack.enter_async_context(server.admission.slot())
        started = time.monotonic()
        server.metrics.queued(slot.queue_ms / 1000)
        work = Work(
            parsed, form.take(), server.spec.limits, self._scratch, slot.caller, threading.Event()
        )
        stack.callback(work.gone.set)
        return Started(slot, started, within(work.results(self._threads(), model), server))

    def _check(self, form: Form, task: Task, model: SpeechModel) -> SpeechRequest:
        server = self._server
        parsed = parse(form.fields, task)
        if parsed.model is not None:
            server.check_model(parsed.model)
        if parsed.ignored:
            server.metrics.ignored_fields(parsed.ignored)
            event(logger, "ignored_fields", number=parsed.ignored)
        check_languages(parsed, model, server.spec.model)
        if form.file is None:
            raise without_recording(form.fields)
        if form.file_bytes == 0:
            raise BadRequest("The recording is empty.", param="file", code="invalid_audio")
        return parsed

    def _threads(self) -> ThreadPoolExecutor:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(
                self._server.admission.max_concurrent, thread_name_prefix="audio"
            )
        return self._pool

    async def _events(
        self,
        first: Segment | Transcript,
        started: Started,
    ) -> AsyncIterator[bytes]:
        written = events.TranscriptionEvents()
        try:
            result = first
            while isinstance(result, Segment):
                if delta := written.delta(result):
                    yield delta
                result = await anext(started.results)
            self._account(result, started, "transcribe")
            yield written.done(result)
        except FleetError as error:
            yield events.failure(error)
        except Exception:
            logger.exception("a stream failed")
            yield events.failure(InternalError("The engine failed during this request."))

    def _account(self, transcript: Transcript, started: Started, task: Task) -> None:
        metrics = self._server.metrics
        tokens = sum(len(segment.tokens) for segment in transcript.segments)
        metrics.audio_seconds(transcript.duration)
        metrics.tokens("completion", tokens)
        event(
            logger, "speech", task=task, language=transcript.language,
            audio_seconds=round(transcript.duration, 2), segments=len(transcript.segments),
            queue_ms=round(started.slot.queue_ms, 1),
            ms=round((time.monotonic() - started.at) * 1000, 1),
        )  # fmt: skip
        if (recording := tracing.current()) is not None:
            recording.computed(started.slot.queue_ms, started.at, time.monotonic())
            recording.attributes["gen_ai.usage.output_tokens"] = tokens


async def _last(results: AsyncIterator[Segment | Transcript]) -> Transcript:
    async for result in results:
        if isinstance(result, Transcript):
            return result
    raise InternalError("The engine returned no transcript.")


async def within(
    results: AsyncIterator[Segment | Transcript], server: ServerState
) -> AsyncIterator[Segment | Transcript]:
    """The results, within the request timeout in total. Raises Timeout."""
    seconds = server.spec.limits.request_timeout
    deadline = time.monotonic() + seconds
    while True:
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                result = await anext(results)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise Timeout(f"The response took longer than {seconds:g} seconds.") from None
        yield result
