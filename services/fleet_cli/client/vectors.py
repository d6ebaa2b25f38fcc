"""Vectors in a response of embeddings, and their similarity."""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import mul
from typing import Any

Vector = list[float]


def vectors(body: dict[str, Any], count: int) -> list[Vector]:
    """The `count` vectors of a response in the order of its inputs. Raises ValueError."""
    try:
        rows = sorted(body["data"], key=lambda row: row["index"])
        found = [[float(number) for number in row["embedding"]] for row in rows]
    except (KeyError, TypeError, ValueError):
        raise ValueError("the response is not one of embeddings") from None
    if len(found) != count or len({len(vector) for vector in found}) != 1:
        raise ValueError(f"the response does not have {count} vectors of one size")
    return found


def similarities(found: Sequence[Vector]) -> list[list[float]]:
    """Cosine of the angle of each pair, (n, n), from -1 to 1; 0 for a vector of zeros."""
    norms = [math.hypot(*vector) or 1.0 for vector in found]
    units = [
        [number / norm for number in vector] for vector, norm in zip(found, norms, strict=True)
    ]
    return [[sum(map(mul, one, other)) for other in units] for one in units]
