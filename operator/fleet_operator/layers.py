"""Fills a short spec from layers (resource, catalog, profile) and remembers what came from where.

Blocks and maps are filled key by key, lists and everything else are taken whole from the first
layer that says them. The address of the weights, its digest and the list of weight files stand or
fall together: a resource that names its own `source` gets no digest from the catalog.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Wire = Mapping[str, Any]

TOGETHER = ("source", "sha256", "weights")
WHOLE = frozenset({"affinity", "podTemplate", "remote"})
"""Maps that only make sense whole."""


def fill(layers: Sequence[tuple[str, Wire]]) -> tuple[dict[str, Any], dict[str, str]]:
    """The filled spec, and the layer each dotted field came from. The first layer wins."""
    filled: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for name, wire in layers:
        taken = any(field in filled for field in TOGETHER)
        usable = {key: value for key, value in wire.items() if not (taken and key in TOGETHER)}
        _merge(filled, usable, name, origin, "")
    return filled, origin


def _merge(into: dict[str, Any], wire: Wire, layer: str, origin: dict[str, str], at: str) -> None:
    for key, value in wire.items():
        path = f"{at}{key}"
        if isinstance(value, Mapping) and path not in WHOLE:
            if not value:
                continue
            inner = into.setdefault(key, {})
            if isinstance(inner, dict):
                _merge(inner, value, layer, origin, f"{path}.")
        elif key not in into:
            into[key] = value
            origin[path] = layer
