"""The masks of one sequence: which tokens may come next, and what computing them costs."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fleet_contract.errors import BadRequest

STEP_SECONDS = 0.003
"""What all masks of a step may cost on average."""
SOURCE = re.compile(r"\n +\d+ \| ")
"""Between a message of llguidance and the lines of the grammar that it is about."""
PLACE = re.compile(r"^(at )?\d+\(\d+\): (failed to compile JSON schema: )?")
BURST_SECONDS = 0.05
"""What the masks of one sequence may cost beyond that; the first ones of a grammar cost most."""


class Masks:
    """Not thread-safe. After an error only the end of the text is allowed; `error` holds it.

    `matcher` is an `llguidance.LLMatcher`, `size` the number of tokens in its vocabulary, `stop_id`
    a token that ends a text, `param` the place of the format in the request. `seconds` is the
    processor time spent so far.
    """

    def __init__(
        self, matcher: Any, size: int, stop_id: int, param: str = "response_format"
    ) -> None:
        self.error: BadRequest | None = None
        self.seconds = 0.0
        self._matcher = matcher
        self._size = size
        self._stop_id = stop_id
        self._param = param
        self._bits = np.zeros((size + 31) // 32, dtype=np.int32)
        self._allowed_seconds = BURST_SECONDS

    def apply(self, logits: NDArray[np.float32], sequences: int = 1) -> None:
        """Set the logits `[vocabulary]` of tokens that may not come next to minus infinity.

        `sequences` is the number of guided sequences that share a step.
        """
        # Processor time: waiting for other threads does not count against the schema.
        started = time.thread_time()
        if self.error is None:
            self._matcher.unsafe_compute_mask_ptr(self._bits.ctypes.data, self._bits.nbytes)
            self._check()
        if self.error is not None:
            logits[: self._stop_id] = -np.inf
            logits[self._stop_id + 1 :] = -np.inf
            return
        allowed = np.unpackbits(self._bits.view(np.uint8), bitorder="little")
        known = min(len(logits), self._size)
        logits[:known][allowed[:known] == 0] = -np.inf
        logits[known:] = -np.inf
        self._spend(time.thread_time() - started, sequences)

    def accept(self, token_ids: Sequence[int]) -> None:
        """Continue after these tokens."""
        started = time.thread_time()
        for token_id in token_ids:
            if self.error is None and not self._matcher.is_stopped():
                self._matcher.consume_token(token_id)
                self._check()
        self._spend(time.thread_time() - started, 0)

    def _check(self) -> None:
        if self._matcher.is_error():
            self.error = refusal(self._matcher.get_error(), self._param)

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
