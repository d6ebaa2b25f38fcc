"""Protocols of reference models, one for each task."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

Message = dict[str, Any]


class Unusable(Exception):
    """The reference cannot serve this model."""


class ReferenceChat(Protocol):
    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of a conversation up to the assistant's turn."""

    def generate(self, prompt: Sequence[int], max_tokens: int) -> Iterator[int]:
        """The greedy tokens after `prompt` as they are computed, without end tokens."""

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, without special tokens."""

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of `tokens`, without special tokens."""


class ReferenceEmbedding(Protocol):
    def embed(self, texts: Sequence[str]) -> tuple[list[list[float]], int]:
        """Unit vectors of `texts`, and the number of input tokens."""


class ReferenceSpeech(Protocol):
    def transcribe(
        self, recording: bytes, language: str | None, translate: bool
    ) -> tuple[str, float]:
        """Text of an encoded recording, and its length in seconds."""
