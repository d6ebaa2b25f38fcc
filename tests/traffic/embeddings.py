"""Embeddings: vectors of the right size and length, and the same ones for the same texts."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import httpx

from traffic.http import whole
from traffic.kind import Call, Wrong

TEXTS = tuple(f"{animal} {verb}." for animal in ("A cat", "A dog") for verb in ("sits", "eats"))
MOST_OFF = 0.01
"""How far a vector's length may be from 1, and its cosine with the first answer below 1."""


@dataclass(slots=True)
class Embeddings:
    """Good are two vectors of `dimensions` (0: as many as the first answer) and of length 1, each
    in the direction of the first that was given for its text."""

    model: str
    dimensions: int = 0
    name: str = "embeddings"
    _first: dict[str, list[float]] = field(default_factory=dict)

    async def ask(self, http: httpx.AsyncClient, call: Call) -> None:
        """Send one request. Raises Wrong."""
        texts = [TEXTS[(call.number + step) % len(TEXTS)] for step in (0, 1)]
        sent = {"model": self.model, "input": texts, "encoding_format": "float"}
        body = await whole(http, call, "/embeddings", json=sent)
        try:
            vectors = [item["embedding"] for item in body["data"]]
            places = [item["index"] for item in body["data"]]
        except (KeyError, TypeError):
            raise Wrong("an answer of another shape") from None
        if places != [0, 1]:
            raise Wrong(f"vectors {places} came for two texts")
        for text, vector in zip(texts, vectors, strict=True):
            self._check(text, vector)

    def _check(self, text: str, vector: Any) -> None:
        if not isinstance(vector, list) or not all(isinstance(one, int | float) for one in vector):
            raise Wrong("a vector that is no list of numbers")
        self.dimensions = self.dimensions or len(vector)
        if len(vector) != self.dimensions:
            raise Wrong(f"{len(vector)} dimensions instead of {self.dimensions}")
        length = math.hypot(*vector)
        if not abs(length - 1) <= MOST_OFF:
            raise Wrong(f"a vector of length {length:.3f}")
        first = self._first.setdefault(text, vector)
        cosine = sum(a * b for a, b in zip(first, vector, strict=True))
        if not cosine >= 1 - MOST_OFF:
            raise Wrong(f"another vector than before for the same text: cosine {cosine:.3f}")
