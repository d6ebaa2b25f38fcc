"""The masks of one sequence: which tokens may come next, and what computing them costs.

The mask of the next token is computed by a thread of its own while the engine computes the token's
logits: after them it would be work of a single core, one sequence after the other. What is left to
do then is one addition.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fleet_contract.errors import BadRequest
from fleet_server.engines.guided.ahead import Ahead

STEP_SECONDS = 0.003
"""What all masks of a step may cost on average."""
SOURCE = re.compile(r"\n +\d+ \| ")
"""Between a message of llguidance and the lines of the grammar that it is about."""
PLACE = re.compile(r"^(at )?\d+\(\d+\): (failed to compile JSON schema: )?")
BURST_SECONDS = 0.05
"""What the masks of one sequence may cost beyond that; the first ones of a grammar cost most."""

OF_BYTES = np.where(
    np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little"),
    np.float32(0), np.float32(-np.inf),
)  # fmt: skip
"""What is added to the logits of eight tokens, by the byte of their bits, float32 `[256, 8]`."""


class Masks:
    """Not thread-safe. After an error only the end of the text is allowed; `error` holds it.

    `matcher` is an `llguidance.LLMatcher`, `size` the number of tokens in its vocabulary, `stop_id`
    a token that ends a text, `param` the place of the format in the request. `seconds` is the
    processor time spent so far. `ahead` computes masks ahead of their use.
    """

    def __init__(
        self,
        matcher: Any,
        size: int,
        stop_id: int,
        param: str = "response_format",
        ahead: Ahead | None = None,
    ) -> None:
        self.error: BadRequest | None = None
        self.seconds = 0.0
        self._matcher = matcher
        self._size = size
        self._stop_id = stop_id
        self._param = param
        self._bits = np.zeros((size + 31) // 32, dtype=np.int32)
        self._added = np.zeros((len(self._bits) * 4, 8), dtype=np.float32)
        """What the mask adds to the logits, by the bytes of the mask."""
        self._accepted: list[int] = []
        """Tokens that the matcher has not consumed yet."""
        self._allowed_seconds = BURST_SECONDS
        self._ahead = ahead
        self._computing = threading.Lock()
        """Held while another thread uses the matcher."""
        self._computed = False
        self._failed: BadRequest | None = None
        """Why the next mask cannot be computed: no error of a text that ends before it."""
        self._begin()

    def apply(self, logits: NDArray[np.float32], sequences: int = 1) -> None:
        """Set the logits `[vocabulary]` of tokens that may not come next to minus infinity.

        `sequences` is the number of guided sequences that share a step.
        """
        with self._computing:
            # Processor time: waiting for other threads does not count against the schema.
            started = time.thread_time()
            if not self._computed:
                self._try_to_compute()
            self.error = self.error or self._failed
            if self.error is not None:
                logits[: self._stop_id] = -np.inf
                logits[self._stop_id + 1 :] = -np.inf
                return
            known = logits[: self._size]
            known += self._added.reshape(-1)[: len(known)]
            logits[self._size :] = -np.inf
            self._spend(time.thread_time() - started, sequences)

    def accept(self, token_ids: Sequence[int]) -> None:
        """Continue after these tokens, which the next mask takes into account."""
        with self._computing:
            self._accepted += token_ids
            self._computed = False
        self._begin()

    def compute(self) -> None:
        """Compute the next mask, in the thread of `ahead`."""
        started = time.thread_time()
        try:
            self._try_to_compute(ahead=True)
        finally:
            self.seconds += time.thread_time() - started
            self._computing.release()

    def _try_to_compute(self, *, ahead: bool = False) -> None:
        """Compute the next mask; `ahead`, unless the text is complete. An error is kept."""
        try:
            self._consume()
            if not (ahead and self._matcher.is_stopped()):
                self._compute()
        except BaseException as error:  # a panic in Rust is not an Exception
            self._failed = refusal(str(error), self._param)

    def _begin(self) -> None:
        """Let the next mask be computed; until then the matcher is the other thread's."""
        if self._ahead is not None and self.error is None:
            self._computing.acquire()
            if not self._ahead.submit(self):
                self._computing.release()

    def _consume(self) -> None:
        for token_id in self._accepted:
            if self.error is None and self._failed is None and not self._matcher.is_stopped():
                self._matcher.consume_token(token_id)
                self._failed = self._refused()
        self._accepted.clear()

    def _compute(self) -> None:
        if self.error is None and self._failed is None:
            self._matcher.unsafe_compute_mask_ptr(self._bits.ctypes.data, self._bits.nbytes)
            self._failed = self._refused()
            # Without a buffer, which the default mode needs.
            np.take(OF_BYTES, self._bits.view(np.uint8), 0, out=self._added, mode="clip")
        self._computed = True

    def _refused(self) -> BadRequest | None:
        """The error of the matcher."""
        failed = self._matcher.is_error()
        return refusal(self._matcher.get_error(), self._param) if failed else None

    def _spend(self, seconds: float, sequences: int) -> None:
        self.seconds += seconds
        if sequences:
            self._allowed_seconds += STEP_SECONDS / sequences
        if self.seconds > self._allowed_seconds and self.error is None:
            self.error = BadRequest(
                f"Following the schema takes too long: {self.seconds * 1000:.0f} ms so far. Use a "
                f"schema with fewer alternatives and simpler patterns.",
                param=self._param,
                code="schema_too_expensive",
            )


def refusal(reason: str, param: str, what: str = "schema") -> BadRequest:
    """The error for a format of the kind `what` that llguidance refuses with `reason`."""
    lines = PLACE.sub("", SOURCE.split(reason)[0]).strip().splitlines()
    text = lines[0][:300] if lines else "no text follows it"
    if text.startswith("oneOf "):
        text = "the alternatives of 'oneOf' may overlap; use 'anyOf'"
    elif text.endswith(":"):  # of a pattern, whose text is in between
        text += " " + lines[-1].removeprefix("error: ")[:300]
    elif text == "NoExtensionBias":
        text = "a reference leads back to itself, or is of an unsupported kind"
    return BadRequest(f"The {what} cannot be followed: {text}", param=param, code=f"invalid_{what}")
