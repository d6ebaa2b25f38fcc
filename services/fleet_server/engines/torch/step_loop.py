"""The thread that runs a chat model.

Each step prefills a bounded number of prompt tokens of the waiting sequences, one after the other
in turns between callers, and then generates one token for every sequence in the batch. Sequences
join after their prefill and leave when they end or are cancelled. No other thread may call the
model.
"""

from __future__ import annotations

import logging
import threading
from collections import deque

import torch

from fleet_contract.errors import NotReady, TooLarge
from fleet_server.engines.start_queue import StartQueue
from fleet_server.engines.torch.batch import Batch
from fleet_server.engines.torch.forward import ForwardPass
from fleet_server.engines.torch.runtime import Runtime, is_out_of_memory
from fleet_server.engines.torch.sampler import sample
from fleet_server.engines.torch.scheduler import StepLimits, may_join, prefill_length
from fleet_server.engines.torch.sequence import Sequence

logger = logging.getLogger(__name__)

GONE = "The engine is stopping; please try again."
NO_MEMORY = "This request does not fit into the free memory."


class StepLoop:
    """Owns the model. `stop_ids` are the tokens that end a sequence; they are not emitted.

    A sequence that does not fit into memory fails alone, and so does one whose prompt the model
    cannot read, if it can still read another: until it joins the batch, a prompt has a cache of its
    own. Any other failure of a step ends all sequences with the error and turns `broken` True, so
    that the process is restarted.
    """

    def __init__(
        self, forward: ForwardPass, runtime: Runtime, bounds: StepLimits, stop_ids: frozenset[int]
    ) -> None:
        self._forward = forward
        self._runtime = runtime
        self._bounds = bounds
        self._stop_ids = stop_ids
        self._inbox: deque[Sequence] = deque()
        self._waiting: StartQueue[Sequence] = StartQueue()
        self._joining: Sequence | None = None
        """The sequence whose prompt is being prefilled."""
        self._batch = self._new_batch()
        self._wake = threading.Condition()
        self._closing = False
        self.broken = False
        self._cached_tokens = 0
        self._thread = threading.Thread(target=self._run, name="torch-step", daemon=True)
        self._thread.start()

    @property
    def active(self) -> int:
        """Number of sequences that have not ended."""
        joining = self._joining is not None
        return len(self._inbox) + len(self._waiting) + joining + len(self._batch.rows)

    @property
    def cache_usage(self) -> float:
        """Share of the key/value cache in use after the last step, 0..1."""
        return min(self._cached_tokens / max(self._bounds.kv_tokens, 1), 1.0)

    def submit(self, row: Sequence) -> None:
        """Let the sequence start at the next step. Does not block. Raises NotReady once closed."""
        with self._wake:
            if self._closing or self.broken:
                raise NotReady(GONE, retry_after=1)
            self._inbox.append(row)
            self._wake.notify()

    def close(self) -> None:
        """End all sequences with an error step and stop the thread."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join(timeout=30)

    def _new_batch(self) -> Batch:
        forward = self._forward
        return Batch(forward.device, self._bounds, shared=forward.can_batch)

    def _run(self) -> None:
        with torch.inference_mode():
            while self._has_work():
                try:
                    self._drop()
                    self._prefill_prompts()
                    self._decode()
                    self._cached_tokens = self._count_tokens()
                except Exception as error:
                    logger.exception("the step loop failed")
                    self._end(error)
        self._end(NotReady(GONE, retry_after=1))

    def _has_work(self) -> bool:
        """Wait for sequences; False once the loop is closed or broken."""
        with self._wake:
            while not (self._closing or self.broken or self.active):
                self._wake.wait()
            for row in self._inbox:
                self._waiting.append(row)
            self._inbox.clear()
            return not (self._closing or self.broken)

    def _drop(self) -> None:
        for row in [row for row in self._waiting if row.over]:
            self._waiting.remove(row)
        if self._joining is not None and self._joining.over:
            self._joining = None
        self._batch.drop()

    def _prefill_prompts(self) -> None:
        budget = self._bounds.prefill
        while budget > 0 and (row := self._next_to_join()) is not None:
            number = prefill_length(row, budget, chunked=self._forward.can_batch)
            budget -= number
            try:
                self._prefill(row, number)
            except Exception as error:
                if is_out_of_memory(error):
                    self._refuse(row, error)
                else:
                    self._fail(row, error)
            if row.over or row.filled == len(row.token_ids):
                self._joining = None

    def _next_to_join(self) -> Sequence | None:
        """The sequence that is being prefilled, or the next one that may join the batch."""
        if self._joining is None:
            rows = self._batch.rows
            self._joining = self._waiting.take(lambda row: may_join(row, rows, self._bounds))
        return self._joining

    def _prefill(self, row: Sequence, number: int) -> None:
        logits = self._forward.prefill(row, number)
        if row.filled < len(row.token_ids):
            return
        row.take(sample(logits, [row.sampler])[0], self._stop_ids)
        if not row.over:
            self._batch.join(row)

    def _decode(self) -> None:
        self._batch.drop()
        batch = self._batch
        if not batch.rows:
            return
        try:
            logits = self._forward.step(batch)
            tokens = sample(logits, [row.sampler for row in batch.rows])
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            self._refuse(batch.newest, error)  # so that the others can continue
            return
        batch.advance()
        for row, token in zip(batch.rows, tokens, strict=True):
            row.take(token, self._stop_ids)
        batch.drop()

    def _count_tokens(self) -> int:
        """Tokens in the cache, padding and prompts that are being prefilled included."""
        row = self._joining
        return self._batch.num_tokens + (0 if row is None or row.over else row.filled)

    def _refuse(self, row: Sequence, error: Exception) -> None:
        logger.warning("a sequence does not fit into memory: %s", error)
        row.fail(TooLarge(NO_MEMORY))
        row.release()
        self._batch.drop()
        self._runtime.free_memory()

    def _fail(self, row: Sequence, error: Exception) -> None:
        """End a sequence whose prompt failed. Raises `error` if the model fails without it too."""
        try:
            self._forward.probe()
        except Exception as cause:
            raise error from cause
        logger.error("a prompt failed; other sequences continue", exc_info=error)
        row.fail(error)
        row.release()

    def _end(self, error: Exception) -> None:
        with self._wake:
            self.broken = self.broken or not self._closing
            joining = [] if self._joining is None else [self._joining]
            left = [*self._batch.rows, *joining, *self._waiting, *self._inbox]
            self._batch = self._new_batch()
            self._joining = None
            self._cached_tokens = 0
            self._waiting.clear()
            self._inbox.clear()
        for row in left:
            row.fail(error)
            row.release()
