"""Ends the reasoning of a text that has reached its bound, by forcing the closing mark's tokens."""

from __future__ import annotations

import codecs
from collections import deque
from collections.abc import Sequence
from enum import Enum, auto
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fleet_server.engines.sampling.wrapped_masks import WrappedMasks
from fleet_server.protocols import ReasoningBudget, Vocabulary

CHARACTER_TOKENS = 3
"""Tokens beyond the bound that may end a character which the last one has begun."""


class _State(Enum):
    BEGINNING = auto()
    BETWEEN = auto()
    REASONING = auto()
    CLOSING = auto()
    OVER = auto()


class ReasoningLimit:
    """Follows the tokens of one text. Not thread-safe.

    Marks are found in the bytes of the tokens, as any tokens may form them. Only a block at the
    beginning of the text is reasoning, unless the budget has `blocks`.
    """

    def __init__(self, budget: ReasoningBudget, vocabulary: Vocabulary) -> None:
        self._piece = vocabulary.piece
        self._open, self._close = budget.open.encode(), budget.close.encode()
        self._ends = deque(
            vocabulary.encode(text, False) for text in budget.blocks or (budget.close,)
        )
        self._closing: deque[int] = deque()
        self._after = _State.BETWEEN if budget.blocks else _State.OVER
        self._left = budget.tokens
        self._text = b""
        self._characters = codecs.getincrementaldecoder("utf-8")("replace")
        self._state = _State.BETWEEN if budget.blocks else _State.BEGINNING
        if budget.is_open:
            self._state = _State.REASONING
        self._bound()

    @property
    def forced(self) -> int | None:
        """The only token that may come next; None if any may."""
        return self._closing[0] if self._state is _State.CLOSING and self._closing else None

    def accept(self, token_ids: Sequence[int]) -> None:
        """Continue after these tokens."""
        for token_id in token_ids:
            match self._state:
                case _State.BEGINNING:
                    self._begin(self._piece(token_id))
                case _State.BETWEEN:
                    self._find(self._piece(token_id))
                case _State.REASONING:
                    self._left -= 1
                    self._reason(self._piece(token_id))
                case _State.CLOSING:
                    self._closing.popleft()
                    if not self._closing:
                        self._state, self._text = self._after, b""
                case _State.OVER:
                    return

    def _begin(self, piece: bytes) -> None:
        self._text = (self._text + piece).lstrip()
        if self._text.startswith(self._open):
            rest, self._text = self._text[len(self._open) :], b""
            self._state = _State.REASONING
            self._reason(rest)
        elif not self._open.startswith(self._text):
            self._state = _State.OVER

    def _find(self, piece: bytes) -> None:
        self._text += piece
        _, found, rest = self._text.partition(self._open)
        if found:
            self._state, self._text = _State.REASONING, b""
            self._reason(rest)
        else:
            self._text = self._text[-len(self._open) :]

    def _reason(self, piece: bytes) -> None:
        self._text += piece
        self._characters.decode(piece)
        if self._close in self._text:
            self._state, self._text = self._after, b""
            return
        self._text = self._text[-len(self._close) :]
        self._bound()

    def _bound(self) -> None:
        unfinished = self._characters.getstate()[0] and self._left > -CHARACTER_TOKENS
        if self._state is _State.REASONING and self._left <= 0 and not unfinished:
            self._state = _State.CLOSING
            self._closing = deque(self._ends[0])
            if len(self._ends) > 1:
                self._ends.popleft()


class LimitedMasks(WrappedMasks):
    """The masks of a sequence whose reasoning is bounded, and which may follow a grammar too:
    `masks` are those of fleet_server.engines.guided.masks."""

    def __init__(self, limit: ReasoningLimit, masks: Any = None) -> None:
        super().__init__(masks)
        self._limit = limit

    def apply(self, logits: NDArray[np.float32], sequences: int = 1) -> None:
        """Set the logits `[vocabulary]` of tokens that may not come next to minus infinity.
        `sequences` is the number of guided sequences that share a step."""
        token = self._limit.forced
        if token is not None and self.error is None:
            logits[:] = -np.inf
            logits[token] = 0.0
        elif self._masks is not None:
            self._masks.apply(logits, sequences)

    def accept(self, token_ids: Sequence[int]) -> None:
        """Continue after these tokens."""
        super().accept(token_ids)
        self._limit.accept(token_ids)
