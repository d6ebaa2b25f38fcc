"""The logarithmic probabilities of tokens, with their texts, places and parts of the message."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import orjson

from fleet_contract.api.generation import Candidate, TokenScore
from fleet_server.generation.pieces import CallArguments, CallStart, Piece, Text
from fleet_server.protocols import TokenLogprobs


@dataclass(frozen=True, slots=True)
class Scored:
    """A token by its bytes, and the natural logarithm of its probability."""

    piece: bytes
    logprob: float

    def body(self) -> Candidate:
        """The token in chats and responses."""
        return {"token": self.text, "logprob": self.logprob, "bytes": list(self.piece)}

    @property
    def text(self) -> str:
        """The token as text. Part of a character is written as `bytes:\\xe4`, as by OpenAI."""
        try:
            return self.piece.decode()
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in self.piece)


class Part(Enum):
    """The part of a message that a token belongs to."""

    TEXT = auto()
    REASONING = auto()
    CALL = auto()


@dataclass(slots=True)
class ScoredToken:
    """A generated token, the most probable ones at its place, and the number of characters of the
    text before it. `part` is that of the message, the text until more is known."""

    token: Scored
    top: tuple[Scored, ...]
    offset: int
    part: Part = Part.TEXT

    def body(self) -> TokenScore:
        """The token in chats and responses."""
        return {**self.token.body(), "top_logprobs": [each.body() for each in self.top]}

    def json(self) -> Any:
        """`body` for a whole response, as JSON: a fourth of the memory of Python's objects."""
        return orjson.Fragment(orjson.dumps(self.body()))


class Scores:
    """Collects the tokens of one generation; `piece` gives the bytes of a token."""

    def __init__(self, piece: Callable[[int], bytes]) -> None:
        self._piece = piece
        self._held: deque[ScoredToken] = deque()
        self._open: list[ScoredToken] = []
        """Those whose part is not known yet."""

    def add(self, found: TokenLogprobs, offset: int) -> None:
        """Add a token that begins `offset` characters after the beginning of the text."""
        token = scored(found, offset, self._piece)
        self._held.append(token)
        self._open.append(token)

    def settle(self, pieces: Sequence[Piece], *, reasoning: bool) -> None:
        """The tokens added since the last call gave `pieces`, or are counted as `reasoning`. Those
        that gave none belong to the next pieces."""
        if reasoning:
            part = Part.REASONING
        elif any(isinstance(piece, Text) for piece in pieces):
            part = Part.TEXT
        elif any(isinstance(piece, CallStart | CallArguments) for piece in pieces):
            part = Part.CALL
        else:
            return
        for token in self._open:
            token.part = part
        self._open.clear()

    def released(self, length: int, *, final: bool = False) -> list[ScoredToken]:
        """The tokens that begin in the first `length` characters, or with `final` all."""
        found: list[ScoredToken] = []
        while self._held and (final or self._held[0].offset < length):
            found.append(self._held.popleft())
        return found


def scored(found: TokenLogprobs, offset: int, piece: Callable[[int], bytes]) -> ScoredToken:
    """The token with the bytes that `piece` gives."""
    own = piece(found.token_id) if found.piece is None else found.piece
    top = tuple(Scored(piece(each), value) for each, value in found.top)
    return ScoredToken(Scored(own, found.logprob), top, offset)


def pieces_of(model: object) -> Callable[[int], bytes]:
    """The bytes of the tokens of a model that supports `logprobs`."""
    vocabulary: Any = getattr(model, "vocabulary", None)
    return lambda token_id: bytes(vocabulary.piece(token_id))
