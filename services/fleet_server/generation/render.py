"""How an answer is told: what the JSON of chat and of text completions has in common."""

from __future__ import annotations

import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import orjson

from fleet_contract.api.generation import GenerationUsage
from fleet_contract.errors import FleetError
from fleet_server.generation.stream import Answer, Piece


class Renderer(ABC):
    """Builds the objects of one answer, which share id, time and model."""

    def __init__(self, id_prefix: str, model: str) -> None:
        self._id = f"{id_prefix}{uuid.uuid4().hex}"
        self._created = int(time.time())
        self._model = model

    @abstractmethod
    def whole(self, answer: Answer, text: str, finish: str) -> Any:
        """The answer as one object."""

    @abstractmethod
    def opening(self) -> bytes:
        """What comes before the first piece of a stream."""

    @abstractmethod
    def piece(self, piece: Piece) -> Iterator[bytes]:
        """Events for new text and for the end."""

    @abstractmethod
    def closing(self, answer: Answer) -> Iterator[bytes]:
        """What comes after the last piece."""

    def failure(self, error: FleetError) -> bytes:
        """The event that ends a stream which failed half-way; no end mark follows."""
        return sse(error.body())


class ChunkRenderer(Renderer):
    """Tells a stream in chunks like the whole, and `[DONE]`.

    Its usage is in a last chunk where `include_usage` asks for it, in a comment where only the
    router does (`tell_router`).
    """

    def __init__(
        self, id_prefix: str, model: str, *, include_usage: bool, tell_router: bool
    ) -> None:
        super().__init__(id_prefix, model)
        self._include_usage = include_usage
        self._tell_router = tell_router

    @abstractmethod
    def _chunk(self, choices: list[Any]) -> Any:
        """An event's object."""

    def closing(self, answer: Answer) -> Iterator[bytes]:
        """Usage where it was asked for, and the end mark."""
        if self._include_usage:
            yield sse(self._chunk([]) | {"usage": usage(answer)})
        elif self._tell_router:
            yield b": usage " + orjson.dumps(usage(answer)) + b"\n\n"
        yield b"data: [DONE]\n\n"

    def _event(self, choice: Any) -> bytes:
        chunk = self._chunk([choice])
        if self._include_usage:
            chunk["usage"] = None
        return sse(chunk)


def usage(answer: Answer) -> GenerationUsage:
    """Token counts of an answer."""
    return {
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "total_tokens": answer.prompt_tokens + answer.completion_tokens,
    }


def sse(data: Any) -> bytes:
    """A server-sent event."""
    return b"data: " + orjson.dumps(data) + b"\n\n"
