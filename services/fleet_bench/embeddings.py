"""Embeddings: inputs per second, alone or in lists."""

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
from fleet_bench.plan import Plan
from fleet_bench.sample import Answer, Failed
from fleet_bench.words import text


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Sends `batch` distinct texts of `words` words in each request, or `prompt` where given."""

    plan: Plan
    prompt: str | None
    words: int
    batch: int
    encoding: str

    async def send(self, http: httpx.AsyncClient, number: int) -> Answer:
        """One answer, checked: as many vectors as inputs, none of length zero. Raises Failed."""
        first = number * self.batch
        texts = [self.prompt or text(first + at, self.words) for at in range(self.batch)]
        body = await post_json(
            http,
            f"{self.plan.root}/embeddings",
            json={"model": self.plan.model, "input": texts, "encoding_format": self.encoding},
        )
        try:
            vectors = [item["embedding"] for item in body["data"]]
            tokens = int(body["usage"]["prompt_tokens"])
        except (KeyError, TypeError, ValueError):
            raise Failed("answer of another shape") from None
        if len(vectors) != len(texts):
            raise Failed("another number of vectors")
        _check(vectors[0])
        _check(vectors[-1])
        return Answer(prompt_tokens=tokens, items=len(texts))


def _check(vector: Any) -> None:
    """A vector has numbers, and they are not all zero. Checked on the first and the last only, so
    that checking does not become what is measured."""
    try:
        values = _decoded(vector) if isinstance(vector, str) else vector
        length = math.sqrt(sum(value * value for value in values))
    except (TypeError, ValueError, struct.error, binascii.Error):
        raise Failed("vector of another shape") from None
    if not 0 < length < math.inf:
        raise Failed("vector without a length")


def _decoded(encoded: str) -> Sequence[float]:
    raw = base64.b64decode(encoded, validate=True)
    return struct.unpack(f"<{len(raw) // 4}f", raw)
