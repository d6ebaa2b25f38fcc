"""The one thread that steps OpenVINO's continuous-batching pipeline; used by OpenVinoChat.

Requests are handed over through an inbox, join the running batch before the next step and leave it
at their end or when cancelled. Nothing else may call `step`.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import openvino_genai

from fleet_contract.errors import NotReady, TooLarge
from fleet_server.protocols import Finish, Step

logger = logging.getLogger(__name__)

GONE = "The engine is stopping; please try again."

Emit = Callable[[Step], None]


class Running:
    """One answer in the batch. `cancel` may be called from any thread."""

    def __init__(self, input_ids: Any, config: Any, emit: Emit) -> None:
        self.input_ids = input_ids
        self.config = config
        self.emit = emit
        self.cancelled = False
        self.handle: Any = None

    def cancel(self) -> None:
        self.cancelled = True


class StepLoop:
    """Owns the pipeline. `step` runs one of its steps; `stop_ids` are the tokens that end an
    answer, which are not emitted.

    A step that fails leaves the pipeline in an unknown state: every answer ends with an error and
    `broken` turns True, so that whoever supervises the process starts a new one.
    """

    def __init__(self, pipeline: Any, step: Callable[[], None], stop_ids: frozenset[int]) -> None:
        self._pipeline = pipeline
        self._step = step
        self._stop_ids = stop_ids
        self._inbox: deque[Running] = deque()
        self._running: list[Running] = []
        self._wake = threading.Event()
        self._closing = False
        self.broken = False
        self._next_id = 0
        self._thread = threading.Thread(target=self._run, name="openvino-step", daemon=True)
        self._thread.start()

    def submit(self, request: Running) -> None:
        """Let the request join at the next step. Never blocks."""
        if self._closing or self.broken:
            raise NotReady(GONE, retry_after=1)
        self._inbox.append(request)
        self._wake.set()

    def close(self) -> None:
        """End every answer with an error step and stop the thread."""
        self._closing = True
        self._wake.set()
        self._thread.join(timeout=30)

    def _run(self) -> None:
        while not self._closing and not self.broken:
            if not self._inbox and not self._running:
                self._wake.wait()
                self._wake.clear()
                continue
            try:
                self._admit()
                self._drop_cancelled()
                if self._pipeline.has_non_finished_requests():
                    self._step()
                self._collect()
            except Exception as error:
                logger.exception("the step loop failed")
                self.broken = True
                self._fail_all(error)
        self._fail_all(NotReady(GONE, retry_after=1))

    def _admit(self) -> None:
        while self._inbox:
            request = self._inbox.popleft()
            if request.cancelled:
                continue
            try:
                request.handle = self._pipeline.add_request(
                    self._next_id, request.input_ids, request.config
                )
            except Exception as error:
                request.emit(Step((), error=error))
                continue
            self._next_id += 1
            self._running.append(request)

    def _drop_cancelled(self) -> None:
        for request in self._running:
            if request.cancelled:
                request.handle.cancel()
        self._running = [request for request in self._running if not request.cancelled]

    def _collect(self) -> None:
        still = []
        for request in self._running:
            if (step := self._read(request)) is not None:
                request.emit(step)
            if step is None or (step.finish is None and step.error is None):
                still.append(request)
        self._running = still

    def _read(self, request: Running) -> Step | None:
        token_ids: list[int] = []
        reason = openvino_genai.GenerationFinishReason.NONE
        while request.handle.can_read():
            for output in request.handle.read().values():
                token_ids.extend(output.generated_ids)
                reason = output.finish_reason
        if request.handle.get_status() == openvino_genai.GenerationStatus.IGNORED:
            return Step((), error=TooLarge("The conversation does not fit the key/value cache."))
        finish = _finish(reason)
        if finish is None and not token_ids:
            return None
        return Step(_without_stop(token_ids, self._stop_ids), finish)

    def _fail_all(self, error: Exception) -> None:
        failed = [*self._running, *self._inbox]
        self._running, self._inbox = [], deque()
        for request in failed:
            if request.handle is not None:
                request.handle.cancel()
            request.emit(Step((), error=error))


def _finish(reason: Any) -> Finish | None:
    if reason == openvino_genai.GenerationFinishReason.NONE:
        return None
    if reason == openvino_genai.GenerationFinishReason.LENGTH:
        return Finish.LENGTH
    return Finish.STOP


def _without_stop(token_ids: list[int], stop_ids: frozenset[int]) -> Sequence[int]:
    return token_ids[:-1] if token_ids and token_ids[-1] in stop_ids else token_ids
