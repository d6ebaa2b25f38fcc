"""The embeddings workload."""

from __future__ import annotations

import base64
import binascii
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from fleet_bench.http import post_json
from fleet_bench.sample import Failed, ResponseStats
from fleet_bench.settings import BenchSettings
from fleet_bench.words import text


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Sends `batch` distinct texts of `words` words in each request, or `prompt` where given."""

    settings: BenchSettings
    prompt: str | None
    words: int
    batch: int
    encoding: str

    async def send(self, http: httpx.AsyncClient, number: int) -> ResponseStats:
        """Send one request; there must be a vector for each input. Raises Failed."""
        first = number * self.batch
        texts = [self.prompt or text(first + at, self.words) for at in range(self.batch)]
        body = await post_json(
            http,
            f"{self.settings.root}/embeddings",
            json={"model": self.settings.model, "input": texts, "encoding_format": self.encoding},
        )
        try:
            vectors = [item["embedding"] for item in body["data"]]
            tokens = int(body["usage"]["prompt_tokens"])
        except (KeyError, TypeError, ValueError):
            raise Failed("unexpected response shape") from None
        if len(vectors) != len(texts):
            raise Failed("wrong number of vectors")
        _check(vectors[0])
        _check(vectors[-1])
        return ResponseStats(prompt_tokens=tokens, items=len(texts))


def _check(vector: Any) -> None:
    """Raises Failed unless the vector has a finite length above 0.

    Only the first and the last vector are checked, so that checking takes no time that counts.
    """
    try:
        values = _decoded(vector) if isinstance(vector, str) else vector
        length = math.sqrt(sum(value * value for value in values))
    except (TypeError, ValueError, struct.error, binascii.Error):
        raise Failed("unexpected vector shape") from None
    if not 0 < length < math.inf:
        raise Failed("vector of length zero or infinity")


def _decoded(encoded: str) -> Sequence[float]:
    raw = base64.b64decode(encoded, validate=True)
    return struct.unpack(f"<{len(raw) // 4}f", raw)
