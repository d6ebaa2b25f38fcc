"""The thread that steps OpenVINO's continuous-batching pipeline.

Sequences are submitted through an inbox, join the batch before the next step and leave it when
they end or are cancelled. No other thread may call `step`.

A step computes a bounded number of prompt tokens, first come, first served: a long prompt would
delay the first tokens of all others by minutes. So a long prompt is computed in slices, callers
take turns with theirs, and short prompts join between two slices. A slice is a request for the
beginning of the prompt, which leaves its keys and values in the pipeline's prefix cache for the
next one; without that cache, a long prompt is one slice.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import openvino_genai

from fleet_contract.errors import NotReady, TooLarge
from fleet_server import memory
from fleet_server.engines.openvino.guided_backend import Backend, TokenMasks
from fleet_server.engines.sampling.token_sampler import TokenSampler
from fleet_server.protocols import Finish, Step, TokenLogprobs
from fleet_server.turns import Turns

logger = logging.getLogger(__name__)

NOTICE_SECONDS = 30.0
"""Interval of the warnings while `close` waits for a step."""
STEP_TOKENS = 256
"""Prompt tokens of a step: the default `max_num_batched_tokens` of openvino_genai. A longer prompt
takes several steps."""
SLICE_TOKENS = 2 * STEP_TOKENS
"""Whole blocks of the prefix cache, and few enough that others wait for seconds at most."""
GONE = "The engine is stopping; please try again."

Emit = Callable[[Step], None]
Beginning = Callable[[int], Any]
"""The first tokens of a prompt, as the pipeline takes them."""


Replacement = Callable[[], tuple[Any, Callable[[], None]]]
"""Opens a pipeline; it and the function that runs its steps."""


class Guide:
    """What changes the logits of a sequence, known to the backend from `open` to `close`: masks, or
    a `sampler`."""

    def __init__(
        self, backend: Backend, masks: TokenMasks, sampler: TokenSampler | None = None
    ) -> None:
        self._backend = backend
        self._masks = masks
        self._sampler = sampler
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

    @property
    def samples(self) -> bool:
        """Whether its sampler chooses the tokens."""
        return self._sampler is not None

    def logprobs(self, number: int) -> tuple[TokenLogprobs, ...]:
        """Those of the next `number` tokens, if the request wants them."""
        return () if self._sampler is None else self._sampler.taken(number)

    def close(self) -> None:
        if self._number is not None:
            self._backend.remove(self._number)


class Slice:
    """The request for the beginning of a long prompt, up to `end`."""

    def __init__(self, sequence: Sequence, handle: Any, end: int) -> None:
        self.sequence = sequence
        self._handle = handle
        self._end = end

    def has_ended(self) -> bool:
        """Whether the beginning is computed, or cannot be."""
        status = self._handle.get_status()
        if status == openvino_genai.GenerationStatus.RUNNING:
            return False
        # One that does not fit the cache is left to the whole prompt, which fails with the reason.
        ignored = status == openvino_genai.GenerationStatus.IGNORED
        self.sequence.computed = self.sequence.num_tokens if ignored else self._end
        return True

    def cancel(self) -> None:
        self._handle.cancel()


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
        beginning: Beginning | None = None,
        caller: str = "",
    ) -> None:
        """`beginning` gives the first tokens of the prompt, if the pipeline has a prefix cache."""
        self.caller = caller
        self.is_long = num_tokens > STEP_TOKENS
        self.num_tokens = num_tokens
        self.beginning = beginning
        self.computed = 0
        """Prompt tokens of the slices so far."""
        self.started = False
        """Whether it has generated a token, so that its prompt is computed."""
        self.written = 0
        """Tokens generated so far."""
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

    def __init__(
        self,
        pipeline: Any,
        step: Callable[[], None],
        stop_ids: frozenset[int],
        new_config: Callable[[], Any] = openvino_genai.GenerationConfig,
    ) -> None:
        """`new_config` makes the generation configuration of the loop's own requests."""
        self._new_config = new_config
        self._replacement: Replacement | None = None
        self.computed_tokens = 0
        """Tokens of the sequences that this pipeline has ended, prompts included."""
        self._pipeline = pipeline
        self._step = step
        self._stop_ids = stop_ids
        self._inbox: deque[Sequence] = deque()
        self._long: Turns[Sequence] = Turns()
        """Sequences with long prompts of which the last slice is not in the pipeline yet."""
        self._slice: Slice | None = None
        self._last_caller = ""
        self._running: list[Sequence] = []
        self._wake = threading.Event()
        self._closing = False
        self._ended = False
        self.broken = False
        self._cache_percent = 0.0
        self._next_id = 0
        self._thread = threading.Thread(target=self._run, name="openvino-step", daemon=True)
        self._thread.start()

    @property
    def cache_usage(self) -> float:
        """Share of the key/value cache in use after the last step, 0..1; 0 if nothing runs."""
        return self._cache_percent / 100 if self._running or self._slice else 0.0

    def submit(self, sequence: Sequence) -> None:
        """Let the sequence join the batch at the next step. Never blocks. Raises NotReady."""
        if self._closing or self.broken:
            raise NotReady(GONE, retry_after=1)
        # No lock: appending to and popping from a deque is atomic.
        self._inbox.append(sequence)
        self._wake.set()
        if self._ended:
            # The loop has ended since the check above, and may not have seen the sequence.
            self._fail_all(NotReady(GONE, retry_after=1))

    def replace(self, opened: Replacement) -> None:
        """Free the pipeline when nothing runs, and open another one in the loop's thread. Sequences
        that are submitted meanwhile wait for it; if it fails, the loop is `broken`."""
        self._replacement = opened
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
                if self._replacement is not None:
                    self._open_another()
                    continue
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
        self._ended = True
        self._fail_all(NotReady(GONE, retry_after=1))

    def _open_another(self) -> None:
        opened, self._replacement = self._replacement, None
        assert opened is not None  # noqa: S101  (the only thread that takes it)
        self._step = _no_step
        self.computed_tokens = 0
        try:
            with memory.unmapping:
                # Both refer to the pipeline. Its memory is freed before that of another is needed.
                self._pipeline = self._slice = None
                memory.trim()
                self._pipeline, self._step = opened()
        except Exception as error:
            logger.exception("the pipeline could not be opened again")
            self.broken = True
            self._fail_all(error)

    def _admit(self) -> None:
        while self._inbox:
            sequence = self._inbox.popleft()
            if sequence.is_long:
                self._long.append(sequence)
            else:
                self._start(sequence)
        if self._slice is not None and self._slice.has_ended():
            self._slice = None
        while self._long and not self._is_prefilling():
            # When it has ended, so that callers who came meanwhile are before this one.
            self._long.served(self._last_caller)
            sequence = next(iter(self._long))
            self._last_caller = sequence.caller
            end = sequence.computed + SLICE_TOKENS
            if sequence.cancelled or sequence.beginning is None or end >= sequence.num_tokens:
                self._long.remove(sequence)
                self._start(sequence)
            else:
                self._start_slice(sequence, sequence.beginning, end)

    def _is_prefilling(self) -> bool:
        """Whether a long prompt, or a slice of one, is in the pipeline."""
        if self._slice is not None:
            return True
        return any(one.is_long and not one.started for one in self._running)

    def _start_slice(self, sequence: Sequence, beginning: Beginning, end: int) -> None:
        config = self._new_config()
        config.max_new_tokens = 1  # at least one; it is not read
        try:
            handle = self._pipeline.add_request(self._next_id, beginning(end), config)
        except Exception as error:
            self._long.remove(sequence)
            sequence.emit(Step((), error=error))
            return
        self._next_id += 1
        self._slice = Slice(sequence, handle, end)

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
        if self._slice is not None and self._slice.sequence.cancelled:
            self._slice.cancel()
            self._long.remove(self._slice.sequence)
            self._slice = None
        still = []
        for sequence in self._running:
            # Read once: another thread sets it, and one that is dropped must leave the pipeline.
            if sequence.cancelled:
                self.computed_tokens += sequence.num_tokens + sequence.written
                sequence.leave()
            else:
                still.append(sequence)
        self._running = still

    def _collect(self) -> None:
        still = []
        for sequence in self._running:
            if (step := self._read(sequence)) is not None:
                sequence.started = True
                sequence.written += len(step.token_ids)
                sequence.emit(step)
            if step is None or (step.finish is None and step.error is None):
                still.append(sequence)
            else:
                self.computed_tokens += sequence.num_tokens + sequence.written
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
        token_ids = _without_stop(token_ids, self._stop_ids)
        logprobs = () if sequence.guide is None else sequence.guide.logprobs(len(token_ids))
        return Step(token_ids, finish, logprobs=logprobs)

    def _fail_all(self, error: Exception) -> None:
        failed = [*self._running, *self._long]
        self._running, self._slice = [], None
        self._long.clear()
        with suppress(IndexError):
            # One at a time: `submit` may append, and take what is left, at the same time.
            while True:
                failed.append(self._inbox.popleft())
        for sequence in failed:
            sequence.leave()
            sequence.emit(Step((), error=error))


def _no_step() -> None:
    raise RuntimeError("there is no pipeline")


def _finish(reason: Any) -> Finish | None:
    if reason == openvino_genai.GenerationFinishReason.NONE:
        return None
    if reason == openvino_genai.GenerationFinishReason.LENGTH:
        return Finish.LENGTH
    return Finish.STOP


def _without_stop(token_ids: list[int], stop_ids: frozenset[int]) -> list[int]:
    return token_ids[:-1] if token_ids and token_ids[-1] in stop_ids else token_ids
