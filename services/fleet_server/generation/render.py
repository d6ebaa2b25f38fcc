"""Base classes that render a generation as JSON or as server-sent events."""

from __future__ import annotations

import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from fleet_contract.api.generation import GenerationUsage
from fleet_contract.errors import FleetError
from fleet_server.generation.choices import Choice
from fleet_server.generation.stream import Update
from fleet_server.generation.timings import Timings


class Counts(Protocol):
    """The tokens of a response."""

    @property
    def prompt_tokens(self) -> int: ...

    @property
    def completion_tokens(self) -> int: ...

    @property
    def cached_tokens(self) -> int | None: ...

    @property
    def reasoning_tokens(self) -> int | None: ...


class Renderer(ABC):
    """Renders one response; its objects share id, time and model."""

    def __init__(self, id_prefix: str, model: str) -> None:
        self._id = f"{id_prefix}{uuid.uuid4().hex}"
        self._created = int(time.time())
        self._model = model
        self._counts: Counts | None = None

    def begin(self, counts: Counts) -> None:
        """Called before the first event; `counts` grow with the response."""
        self._counts = counts

    @abstractmethod
    def whole(self, choices: Sequence[Choice], counts: Counts) -> Any:
        """The response as one object."""

    @abstractmethod
    def opening(self, index: int) -> bytes:
        """The bytes before the first update of a choice in a stream."""

    @abstractmethod
    def update(self, update: Update) -> Iterator[bytes]:
        """Events for new pieces and for the finish reason."""

    @abstractmethod
    def closing(self, counts: Counts, timings: Timings) -> Iterator[bytes]:
        """Events after the last update."""

    def failure(self, error: FleetError) -> bytes:
        """The last event of a stream that failed; no `[DONE]` follows."""
        return event_of_error(error)


@dataclass(frozen=True, slots=True)
class StreamUsage:
    """`included` adds a last chunk with the usage; otherwise `as_comment` adds it as an SSE
    comment, which clients ignore and the router reads. With `continuous` as well, each chunk has
    the usage up to then."""

    included: bool = False
    continuous: bool = False
    as_comment: bool = False


class ChunkRenderer(Renderer):
    """Renders a stream as chunks, ended by `[DONE]`."""

    def __init__(self, id_prefix: str, model: str, usage: StreamUsage) -> None:
        super().__init__(id_prefix, model)
        self._usage = usage

    @abstractmethod
    def _chunk(self, choices: list[Any]) -> Any:
        """The object of one event."""

    def closing(self, counts: Counts, timings: Timings) -> Iterator[bytes]:
        """The usage, if requested, and `[DONE]`."""
        if self._usage.included:
            yield sse(self._chunk([]) | {"usage": usage(counts), "timings": timings.body()})
        elif self._usage.as_comment:
            yield b": usage " + orjson.dumps(usage(counts)) + b"\n\n"
        yield b"data: [DONE]\n\n"

    def _event(self, choice: Any) -> bytes:
        chunk = self._chunk([choice])
        if self._usage.included:
            counts = self._counts if self._usage.continuous else None
            chunk["usage"] = None if counts is None else usage(counts)
        return sse(chunk)


def usage(counts: Counts) -> GenerationUsage:
    """Token counts of a response."""
    made: GenerationUsage = {
        "prompt_tokens": counts.prompt_tokens,
        "completion_tokens": counts.completion_tokens,
        "total_tokens": counts.prompt_tokens + counts.completion_tokens,
    }
    if counts.cached_tokens is not None:
        made["prompt_tokens_details"] = {"cached_tokens": counts.cached_tokens}
    if counts.reasoning_tokens is not None:
        made["completion_tokens_details"] = {"reasoning_tokens": counts.reasoning_tokens}
    return made


def event_of_error(error: FleetError) -> bytes:
    """An error as a server-sent event."""
    return sse(error.body())


def sse(data: Any) -> bytes:
    """A server-sent event."""
    return b"data: " + orjson.dumps(data) + b"\n\n"
