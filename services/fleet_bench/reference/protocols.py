"""What the server needs of a model, one small protocol per task."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

Message = dict[str, Any]


class Unusable(Exception):
    """The reference does not serve this model or request; the text says why."""


class ReferenceChat(Protocol):
    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of a conversation, up to the assistant's turn."""

    def generate(self, prompt: Sequence[int], max_tokens: int) -> Iterator[int]:
        """The greedy tokens after `prompt`, as they are computed; ends before an end token."""

    def encode(self, text: str) -> list[int]:
        """Token ids of a plain text, without special tokens."""

    def decode(self, tokens: Sequence[int]) -> str:
        """Their text, special tokens left out."""


class ReferenceEmbedding(Protocol):
    def embed(self, texts: Sequence[str]) -> tuple[list[list[float]], int]:
        """Unit vectors of `texts` in their order, and the number of tokens read."""


class ReferenceSpeech(Protocol):
    def transcribe(
        self, recording: bytes, language: str | None, translate: bool
    ) -> tuple[str, float]:
        """Text of an encoded recording, and its length in seconds."""
