"""The thread that steps OpenVINO's continuous-batching pipeline.

Sequences are submitted through an inbox, join the batch before the next step and leave it when
they end or are cancelled. No other thread may call `step`.

A step computes a bounded number of prompt tokens, first come, first served: one caller's long
prompts would delay the first tokens of all others by minutes. So one long prompt at a time is in
the pipeline, and callers take turns with theirs.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import openvino_genai

from fleet_contract.errors import NotReady, TooLarge
from fleet_server.engines.openvino.guided_backend import Backend, TokenMasks
from fleet_server.protocols import Finish, Step
from fleet_server.turns import Turns

logger = logging.getLogger(__name__)

NOTICE_SECONDS = 30.0
"""Interval of the warnings while `close` waits for a step."""
STEP_TOKENS = 256
"""Prompt tokens of a step: the default `max_num_batched_tokens` of openvino_genai. A longer prompt
takes several steps."""
GONE = "The engine is stopping; please try again."

Emit = Callable[[Step], None]


class Guide:
    """The masks of a sequence, known to the backend from `open` to `close`."""

    def __init__(self, backend: Backend, masks: TokenMasks) -> None:
        self._backend = backend
        self._masks = masks
        self._number: int | None = None

    def open(self) -> Any:
        """The structured output configuration that refers to the masks."""
        self._number, config = self._backend.add(self._masks)
        return config

    @property
    def error(self) -> Exception | None:
        """Why the masks cannot be computed any more."""
        error: Exception | None = self._masks.error
        return error

    def close(self) -> None:
        if self._number is not None:
            self._backend.remove(self._number)


class Sequence:
    """One running generation of a prompt with `num_tokens`. `cancel` may be called from any
    thread."""

    def __init__(
        self,
        input_ids: Any,
        config: Any,
        emit: Emit,
        guide: Guide | None = None,
        *,
        num_tokens: int = 0,
        caller: str = "",
    ) -> None:
        self.caller = caller
        self.is_long = num_tokens > STEP_TOKENS
        self.started = False
        """Whether it has generated a token, so that its prompt is computed."""
        self.input_ids = input_ids
        self.config = config
        self.emit = emit
        self.guide = guide
        self.cancelled = False
        self.handle: Any = None

    def cancel(self) -> None:
        self.cancelled = True

    def leave(self, *, finished: bool = False) -> None:
        """Leave the pipeline, which goes on generating unless it has `finished`."""
        if self.handle is not None and not finished:
            self.handle.cancel()
        if self.guide is not None:
            self.guide.close()


class StepLoop:
    """Owns the pipeline. `step` runs one step; `stop_ids` end a generation and are not emitted.

    A failed step leaves the pipeline in an unknown state: all sequences end with an error and
    `broken` turns True, so that the process is restarted.
    """

    def __init__(self, pipeline: Any, step: Callable[[], None], stop_ids: frozenset[int]) -> None:
        self._pipeline = pipeline
        self._step = step
        self._stop_ids = stop_ids
        self._inbox: deque[Sequence] = deque()
        self._long: Turns[Sequence] = Turns()
        """Sequences with long prompts that are not in the pipeline yet."""
        self._running: list[Sequence] = []
        self._wake = threading.Event()
        self._closing = False
        self.broken = False
        self._cache_percent = 0.0
        self._next_id = 0
        self._thread = threading.Thread(target=self._run, name="openvino-step", daemon=True)
        self._thread.start()

    @property
    def cache_usage(self) -> float:
        """Share of the key/value cache in use after the last step, 0..1; 0 if nothing runs."""
        return self._cache_percent / 100 if self._running else 0.0

    def submit(self, sequence: Sequence) -> None:
        """Let the sequence join the batch at the next step. Never blocks. Raises NotReady."""
        if self._closing or self.broken:
            raise NotReady(GONE, retry_after=1)
        # No lock: appending to and popping from a deque is atomic.
        self._inbox.append(sequence)
        self._wake.set()

    def close(self) -> None:
        """End all sequences with an error step and stop the thread, after the step that runs: the
        pipeline must not be freed under it."""
        self._closing = True
        self._wake.set()
        while self._thread.is_alive():
            self._thread.join(NOTICE_SECONDS)
            if self._thread.is_alive():
                logger.warning("waiting for the end of a step")

    def _run(self) -> None:
        while not self._closing and not self.broken:
            if not self._inbox and not self._running and not self._long:
                # Cleared before the inbox is checked again, so that no sequence is missed.
                self._wake.wait()
                self._wake.clear()
                continue
            try:
                self._admit()
                self._drop_cancelled()
                if self._pipeline.has_non_finished_requests():
                    self._step()
                    # Not read by other threads: the pipeline writes its metrics without a lock.
                    self._cache_percent = self._pipeline.get_metrics().cache_usage
                self._collect()
            except Exception as error:
                logger.exception("the step loop failed")
                self.broken = True
                self._fail_all(error)
        self._fail_all(NotReady(GONE, retry_after=1))

    def _admit(self) -> None:
        while self._inbox:
            sequence = self._inbox.popleft()
            if sequence.is_long:
                self._long.append(sequence)
            else:
                self._start(sequence)
        while self._long and not any(one.is_long and not one.started for one in self._running):
            sequence = next(iter(self._long))
            self._long.remove(sequence)
            self._long.served(sequence.caller)
            self._start(sequence)

    def _start(self, sequence: Sequence) -> None:
        if sequence.cancelled:
            return
        try:
            if sequence.guide is not None:
                sequence.config.structured_output_config = sequence.guide.open()
            sequence.handle = self._pipeline.add_request(
                self._next_id, sequence.input_ids, sequence.config
            )
        except Exception as error:
            sequence.leave()
            sequence.emit(Step((), error=error))
            return
        self._next_id += 1
        self._running.append(sequence)

    def _drop_cancelled(self) -> None:
        still = []
        for sequence in self._running:
            # Read once: another thread sets it, and one that is dropped must leave the pipeline.
            if sequence.cancelled:
                sequence.leave()
            else:
                still.append(sequence)
        self._running = still

    def _collect(self) -> None:
        still = []
        for sequence in self._running:
            if (step := self._read(sequence)) is not None:
                sequence.started = True
                sequence.emit(step)
            if step is None or (step.finish is None and step.error is None):
                still.append(sequence)
            else:
                sequence.leave(finished=step.finish is not None)
        self._running = still

    def _read(self, sequence: Sequence) -> Step | None:
        token_ids: list[int] = []
        reason = openvino_genai.GenerationFinishReason.NONE
        while sequence.handle.can_read():
            for output in sequence.handle.read().values():
                token_ids.extend(output.generated_ids)
                reason = output.finish_reason
        if sequence.guide is not None and sequence.guide.error is not None:
            return Step((), error=sequence.guide.error)
        # The pipeline ignores a request that does not fit an empty cache.
        if sequence.handle.get_status() == openvino_genai.GenerationStatus.IGNORED:
            return Step((), error=TooLarge("The conversation does not fit the key/value cache."))
        finish = _finish(reason)
        if finish is None and not token_ids:
            return None
        return Step(_without_stop(token_ids, self._stop_ids), finish)

    def _fail_all(self, error: Exception) -> None:
        failed = [*self._running, *self._long, *self._inbox]
        self._running, self._inbox = [], deque()
        self._long.clear()
        for sequence in failed:
            sequence.leave()
            sequence.emit(Step((), error=error))


def _finish(reason: Any) -> Finish | None:
    if reason == openvino_genai.GenerationFinishReason.NONE:
        return None
    if reason == openvino_genai.GenerationFinishReason.LENGTH:
        return Finish.LENGTH
    return Finish.STOP


def _without_stop(token_ids: list[int], stop_ids: frozenset[int]) -> list[int]:
    return token_ids[:-1] if token_ids and token_ids[-1] in stop_ids else token_ids
