"""Checks embeddings: size, length, and equal vectors for equal texts."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import httpx

from traffic.http import json_body
from traffic.kind import BadResponse, Call

TEXTS = tuple(f"{animal} {verb}." for animal in ("A cat", "A dog") for verb in ("sits", "eats"))
TOLERANCE = 0.01
"""Maximum deviation of a vector's length from 1, and of its cosine with the first from 1."""


@dataclass(slots=True)
class Embeddings:
    """Each response must have two vectors of `dimensions` (0: as in the first response) with length
    1 and the direction of the first vector for the same text.
    """

    model: str
    dimensions: int = 0
    name: str = "embeddings"
    _first: dict[str, list[float]] = field(default_factory=dict)

    async def send(self, http: httpx.AsyncClient, call: Call) -> None:
        """Send one request. Raises BadResponse."""
        texts = [TEXTS[(call.number + step) % len(TEXTS)] for step in (0, 1)]
        sent = {"model": self.model, "input": texts, "encoding_format": "float"}
        body = await json_body(http, call, "/embeddings", json=sent)
        try:
            vectors = [item["embedding"] for item in body["data"]]
            places = [item["index"] for item in body["data"]]
        except (KeyError, TypeError):
            raise BadResponse("a response of another shape") from None
        if places != [0, 1]:
            raise BadResponse(f"vectors {places} for two texts")
        for text, vector in zip(texts, vectors, strict=True):
            self._check(text, vector)

    def _check(self, text: str, vector: Any) -> None:
        if not isinstance(vector, list) or not all(isinstance(one, int | float) for one in vector):
            raise BadResponse("a vector is not a list of numbers")
        self.dimensions = self.dimensions or len(vector)
        if len(vector) != self.dimensions:
            raise BadResponse(f"{len(vector)} dimensions instead of {self.dimensions}")
        length = math.hypot(*vector)
        if not abs(length - 1) <= TOLERANCE:
            raise BadResponse(f"a vector of length {length:.3f}")
        first = self._first.setdefault(text, vector)
        cosine = sum(a * b for a, b in zip(first, vector, strict=True))
        if not cosine >= 1 - TOLERANCE:
            raise BadResponse(f"another vector than before for the same text: cosine {cosine:.3f}")
