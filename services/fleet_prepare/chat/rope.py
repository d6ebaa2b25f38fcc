"""Rotary position embeddings: the angle of each pair of channels for one position.

Formulas: arxiv.org/abs/2104.09864 (rotation), arxiv.org/abs/2309.00071 (YaRN) and, for `llama3`,
the model card of Llama 3.1. Key names are those of transformers' configurations.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

TYPES = ("default", "linear", "llama3", "yarn")
DEFAULT_THETA = 10_000.0

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Rope:
    """`parameters` are those of `kind`, as floats by transformers' names."""

    kind: str
    theta: float
    parameters: Mapping[str, float]


def read(config: Mapping[str, Any]) -> Rope:
    """The rotary embedding of a configuration in the form of transformers 4 or 5.

    Raises ValueError that names a type or key which is unknown or missing.
    """
    given = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if not isinstance(given, Mapping):
        raise ValueError("rope_scaling is not an object")
    kind = str(given.get("rope_type", given.get("type", "default")))
    if kind not in TYPES:
        raise ValueError(f"the rope type {kind!r} is not one of {', '.join(TYPES)}")
    if float(given.get("partial_rotary_factor", config.get("partial_rotary_factor", 1))) != 1:
        raise ValueError("partial_rotary_factor other than 1 is not supported")
    theta = float(given.get("rope_theta", config.get("rope_theta", DEFAULT_THETA)))
    numbers = {
        name: float(value)
        for name, value in given.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    if kind == "yarn":
        numbers.setdefault(
            "original_max_position_embeddings", float(config["max_position_embeddings"])
        )
        if given.get("truncate") is False:
            numbers["truncate"] = 0.0
    for name in REQUIRED[kind]:
        if name not in numbers:
            raise ValueError(f"rope type {kind!r} has no {name}")
    return Rope(kind, theta, numbers)


REQUIRED: dict[str, tuple[str, ...]] = {
    "default": (),
    "linear": ("factor",),
    "llama3": (
        "factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings",
    ),
    "yarn": ("factor",),
}  # fmt: skip


def frequencies(rope: Rope, head_size: int) -> tuple[Float32, float]:
    """Radians for each position, `[head_size / 2]`, and the factor of cosine and sine."""
    exponents = np.arange(0, head_size, 2, dtype=np.float64) / head_size
    plain = 1.0 / rope.theta**exponents
    if rope.kind == "linear":
        return (plain / rope.parameters["factor"]).astype(np.float32), 1.0
    if rope.kind == "llama3":
        return _llama3(plain, rope.parameters).astype(np.float32), 1.0
    if rope.kind == "yarn":
        return _yarn(plain, rope, head_size).astype(np.float32), _yarn_scale(rope.parameters)
    return plain.astype(np.float32), 1.0


def _llama3(plain: NDArray[np.float64], given: Mapping[str, float]) -> NDArray[np.float64]:
    """Long waves are stretched by `factor`, short ones kept, those between blended."""
    turns = given["original_max_position_embeddings"] * plain / (2 * math.pi)
    low, high = given["low_freq_factor"], given["high_freq_factor"]
    share = np.clip((turns - low) / (high - low), 0, 1)
    return (1 - share) * plain / given["factor"] + share * plain


def _yarn(plain: NDArray[np.float64], rope: Rope, head_size: int) -> NDArray[np.float64]:
    given = rope.parameters
    length = given["original_max_position_embeddings"]

    def channel(turns: float) -> float:
        """Pair of channels that makes `turns` turns over the original length."""
        return head_size * math.log(length / (turns * 2 * math.pi)) / (2 * math.log(rope.theta))

    low, high = channel(given.get("beta_fast", 32)), channel(given.get("beta_slow", 1))
    if given.get("truncate", 1.0):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, head_size - 1)
    high = high if high > low else low + 0.001
    pairs: NDArray[np.float64] = np.arange(head_size // 2, dtype=np.float64)
    share: NDArray[np.float64] = np.clip((pairs - low) / (high - low), 0, 1)
    return share * plain / given["factor"] + (1 - share) * plain


def _yarn_scale(given: Mapping[str, float]) -> float:
    if "attention_factor" in given:
        return given["attention_factor"]

    def scale(weight: float) -> float:
        factor = given["factor"]
        return 0.1 * weight * math.log(factor) + 1.0 if factor > 1 else 1.0

    if given.get("mscale") and given.get("mscale_all_dim"):
        return scale(given["mscale"]) / scale(given["mscale_all_dim"])
    return scale(1.0)
