"""What is known of a request, for the access log, metrics, traces and the usage log."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import cast

from starlette.types import Scope

from fleet_contract.names import HEADER_QUEUE_MS, HEADER_USAGE
from fleet_contract.spec import ModelSpec
from fleet_contract.spec_parts import Price
from fleet_router.callers.usage import NO_USAGE, RequestUsage
from fleet_router.upstream.connection import Head
from fleet_router.upstream.headers import Headers

KEY = "modelfleet.record"
EXEMPLAR = "modelfleet.exemplar"
"""Key of a scope: the exemplar of measurements of the request, None if it is not traced."""
USAGE = HEADER_USAGE.encode()
QUEUE_MS = HEADER_QUEUE_MS.encode()


@dataclass(slots=True)
class RequestRecord:
    """The fields are safe to log: no text of the client is among them."""

    path: str = ""
    """An allow-listed path, or ""."""
    model: str = ""
    """A configured id, or ""."""
    price: Price | None = None
    """That of the model."""
    adapter: str = ""
    """The name of the LoRA adapter, "" for the model itself."""
    endpoint: str = ""
    status: int = 0
    """Set where it differs from that of the response: 499 for a client that disconnected, 5xx for
    a response that was cut off."""
    attempts: int = 0
    repeats: int = 0
    """Attempts after one that a server may have processed."""
    fallback_for: str = ""
    """The requested model where another one responded."""
    held_ms: float = 0.0
    """How long the request waited for a server to become ready."""
    queue_ms: float = 0.0
    """How long it waited in the queue of the server."""
    cold: bool = False
    """Whether it waited for a server to become ready."""
    caller: str = ""
    """The caller's id: `fleet_router.callers.identity`."""
    key: str = ""
    """The name of the caller's key."""
    images: int = 0
    usage: RequestUsage = NO_USAGE
    estimated: bool = False
    """Whether the usage is an estimate, because the response ended before it reported one."""
    prompt_bytes: int = 0
    """Size of a JSON body without its images."""
    sent_bytes: int = 0
    """Bytes sent to the last server."""
    received: bool = False
    """Whether a server was sent the whole request."""
    limit_headers: Headers | None = None
    """What is left of the limits of the key."""
    first_chunk_at: float = 0.0
    """When the first chunk of the response's body arrived, by time.perf_counter."""
    last_chunk_at: float = 0.0
    chunks: int = 0

    def serve(self, spec: ModelSpec) -> None:
        """Set the model that serves the request."""
        self.model, self.price = spec.model, spec.price

    @property
    def cost(self) -> float:
        """The price of the usage, in the currency of the model's price; 0 without one."""
        return self.price.of_request(*self.usage) if self.price is not None else 0.0

    def read_head(self, head: Head) -> None:
        """Take the queue time from the head of the server's response."""
        if (waited := head.get(QUEUE_MS)) is not None:
            try:
                self.queue_ms = float(waited)
            except ValueError:
                self.queue_ms = 0.0

    def count_chunk(self) -> None:
        """Note that a chunk of the response's body arrived."""
        self.last_chunk_at = time.perf_counter()
        self.first_chunk_at = self.first_chunk_at or self.last_chunk_at
        self.chunks += 1


def record_of(scope: Scope) -> RequestRecord:
    """The record of a request; AccessMiddleware creates it."""
    return cast(RequestRecord, scope[KEY])
