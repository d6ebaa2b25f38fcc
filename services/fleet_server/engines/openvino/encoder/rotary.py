"""Rotary position embeddings and attention windows, as graph nodes.

Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding", with the pairs formed of
the two halves of a head, as in transformers' `rotate_half`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from openvino import opset13 as op

from fleet_server.engines.openvino.encoder.nodes import (
    MASKED,
    Node,
    axes,
    constant,
    index,
    length_of,
    scalar,
)
from fleet_server.load_error import LoadError

SLIDING = "sliding_attention"
FULL = "full_attention"


@dataclass(frozen=True, slots=True)
class Rotation:
    """Cosines and sines for the positions of a batch, `[1, 1, length, head_size]` each."""

    cosines: Node
    sines: Node

    @classmethod
    def of(cls, ids: Node, theta: float, head_size: int, positions: int) -> Rotation:
        """For `ids` `[batch, length]`, with positions from 0; `positions` is the maximum length."""
        rates = 1.0 / theta ** (np.arange(0, head_size, 2, dtype=np.float64) / head_size)
        angles = np.outer(np.arange(positions), np.concatenate([rates, rates]))
        length = length_of(ids)

        def rows(table: Any) -> Node:
            whole = constant(np.ascontiguousarray(table, dtype=np.float32)[None, None])
            return op.slice(whole, axes(0), length, axes(1), axes(2))

        return cls(rows(np.cos(angles)), rows(np.sin(angles)))

    def turn(self, x: Node) -> Node:
        """`[batch, heads, length, head_size]` rotated by each token's position."""
        halves = op.split(x, index(3), 2)
        minus = op.multiply(halves.output(1), scalar(-1))
        crossed = op.concat([minus, halves.output(0)], -1)
        return op.add(op.multiply(x, self.cosines), op.multiply(crossed, self.sines))


def windowed(bias: Node, ids: Node, reach: int) -> Node:
    """`[batch, 1, length, length]`: the additive mask `bias` `[batch, 1, 1, length]`, and MASKED
    where two tokens are more than `reach` positions apart."""
    end = op.squeeze(length_of(ids), axes(0))
    row = op.range(index(0), end, index(1), "i64")
    apart = op.abs(op.subtract(op.unsqueeze(row, axes(1)), op.unsqueeze(row, axes(0))))
    return op.select(op.greater(apart, index(reach)), scalar(MASKED), bias)


def theta_of(config: Mapping[str, Any], kind: str, old_name: str, default: float) -> float:
    """The base of the rotation in layers of `kind`, from transformers' older field (`old_name`) or
    its newer one (`rope_parameters`, per kind of layer or for all). Raises LoadError."""
    found: Any = None
    parameters = config.get("rope_parameters")
    if isinstance(parameters, Mapping):
        own = parameters.get(kind)
        found = (own if isinstance(own, Mapping) else parameters).get("rope_theta")
    if found is None:
        found = config.get(old_name)
    if found is None:
        return default
    if not isinstance(found, int | float) or isinstance(found, bool) or found <= 1:
        raise LoadError(f"config.json: {old_name} must be a number above 1, not {found!r}.")
    return float(found)


def layer_kinds(config: Mapping[str, Any], layers: int, default: list[str]) -> list[str]:
    """`layer_types` of a config.json, else `default`. Raises LoadError."""
    kinds = config.get("layer_types")
    if kinds is None:
        return default
    if not isinstance(kinds, list) or len(kinds) != layers or set(kinds) - {SLIDING, FULL}:
        raise LoadError(
            f"config.json: layer_types must have {layers} entries of {SLIDING} or {FULL}."
        )
    return kinds
