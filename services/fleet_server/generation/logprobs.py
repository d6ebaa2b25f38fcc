"""The logarithmic probabilities of tokens, with their texts and places."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fleet_contract.api.generation import Candidate, TokenScore
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


@dataclass(frozen=True, slots=True)
class ScoredToken:
    """A generated token, the most probable ones at its place, and the number of characters of the
    text before it."""

    token: Scored
    top: tuple[Scored, ...]
    offset: int

    def body(self) -> TokenScore:
        """The token in chats and responses."""
        return {**self.token.body(), "top_logprobs": [each.body() for each in self.top]}


class Scores:
    """Collects the tokens of one generation; `piece` gives the bytes of a token."""

    def __init__(self, piece: Callable[[int], bytes]) -> None:
        self._piece = piece
        self._held: deque[ScoredToken] = deque()

    def add(self, found: TokenLogprobs, offset: int) -> None:
        """Add a token that begins `offset` characters after the beginning of the text."""
        self._held.append(scored(found, offset, self._piece))

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
