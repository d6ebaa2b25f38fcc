"""Base classes that render a generation as JSON or as server-sent events."""

from __future__ import annotations

import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from fleet_contract.api.generation import GenerationUsage
from fleet_contract.errors import FleetError
from fleet_server.generation.pieces import Piece
from fleet_server.generation.stream import TokenStream, Update
from fleet_server.protocols import Finish


class Renderer(ABC):
    """Renders one response; its objects share id, time and model."""

    def __init__(self, id_prefix: str, model: str) -> None:
        self._id = f"{id_prefix}{uuid.uuid4().hex}"
        self._created = int(time.time())
        self._model = model

    @abstractmethod
    def whole(self, stream: TokenStream, pieces: Sequence[Piece], finish: Finish) -> Any:
        """The response as one object."""

    @abstractmethod
    def opening(self) -> bytes:
        """The bytes before the first update of a stream."""

    @abstractmethod
    def update(self, update: Update) -> Iterator[bytes]:
        """Events for new pieces and for the finish reason."""

    @abstractmethod
    def closing(self, stream: TokenStream) -> Iterator[bytes]:
        """Events after the last update."""

    def failure(self, error: FleetError) -> bytes:
        """The last event of a stream that failed; no `[DONE]` follows."""
        return event_of_error(error)


class ChunkRenderer(Renderer):
    """Renders a stream as chunks, ended by `[DONE]`.

    `include_usage` adds a last chunk with the usage; otherwise `usage_comment` adds it as an SSE
    comment, which clients ignore and the router reads.
    """

    def __init__(
        self, id_prefix: str, model: str, *, include_usage: bool, usage_comment: bool
    ) -> None:
        super().__init__(id_prefix, model)
        self._include_usage = include_usage
        self._usage_comment = usage_comment

    @abstractmethod
    def _chunk(self, choices: list[Any]) -> Any:
        """The object of one event."""

    def closing(self, stream: TokenStream) -> Iterator[bytes]:
        """The usage, if requested, and `[DONE]`."""
        if self._include_usage:
            yield sse(self._chunk([]) | {"usage": usage(stream)})
        elif self._usage_comment:
            yield b": usage " + orjson.dumps(usage(stream)) + b"\n\n"
        yield b"data: [DONE]\n\n"

    def _event(self, choice: Any) -> bytes:
        chunk = self._chunk([choice])
        if self._include_usage:
            chunk["usage"] = None
        return sse(chunk)


def usage(stream: TokenStream) -> GenerationUsage:
    """Token counts of a generation."""
    counts: GenerationUsage = {
        "prompt_tokens": stream.prompt_tokens,
        "completion_tokens": stream.completion_tokens,
        "total_tokens": stream.prompt_tokens + stream.completion_tokens,
    }
    if stream.reasoning_tokens is not None:
        counts["completion_tokens_details"] = {"reasoning_tokens": stream.reasoning_tokens}
    return counts


def event_of_error(error: FleetError) -> bytes:
    """An error as a server-sent event."""
    return sse(error.body())


def sse(data: Any) -> bytes:
    """A server-sent event."""
    return b"data: " + orjson.dumps(data) + b"\n\n"
