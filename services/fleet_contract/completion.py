"""Completes a short spec, such as `{model: BAAI/bge-m3}`, and records the origin of each field.

Pure. A field is taken from the first layer that has it: nested blocks are merged field by field,
lists, scalars, sources of variables (`valueFrom`) and `s3` are taken whole: the keys of one store
are not sent to another. Accelerators are one unit, taken from one layer; those of a layer below the
catalog precede the catalog's, which does not know the nodes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from fleet_contract.accelerators import SpecLayer, one_unit
from fleet_contract.catalog import Catalog, find, first_problem
from fleet_contract.spec import ModelSpec

MANIFEST = "manifest"
CATALOG = "catalog"
DEFAULT = "default"

OF_THE_FILES = ("source", "sha256", "weights", "engine", "dtype", "quantization")
"""Fields of a catalog entry that describe the entry's own files."""
GPU = "nvidia.com/gpu"
TAKEN_WHOLE = frozenset({"valueFrom", "s3"})
"""Blocks that are not merged field by field."""


@dataclass(frozen=True, slots=True)
class Completed:
    """`origins` maps each field that is set, by dotted path (`defaults.temperature`), to its layer;
    other fields have their default. `notes` explains what was left out of a layer."""

    spec: ModelSpec
    origins: dict[str, str]
    notes: tuple[str, ...]

    def origin(self, path: str) -> str:
        """The layer a field was taken from."""
        return self.origins.get(path, DEFAULT)


def complete(
    spec: Mapping[str, Any], catalog: Catalog, below: Sequence[SpecLayer] = ()
) -> Completed:
    """The complete spec of a manifest's `spec`; layers in `below` come after the catalog.

    An alias in `model` is replaced by the entry's id and kept as an alias. Raises ValueError that
    names the field at fault.
    """
    given = _without_nulls(spec)
    _check_spelling(given)
    entry = find(given["model"], catalog) if isinstance(given.get("model"), str) else None
    layers = [SpecLayer(MANIFEST, given)]
    notes: list[str] = []
    if entry is not None:
        if entry.model != given["model"]:
            notes.append(f"{given['model']} is an alias of {entry.model} in the catalog")
            layers = [SpecLayer(MANIFEST, _by_id(given, entry))]
        fields, left_out = _applicable(entry, given)
        layers.append(SpecLayer(CATALOG, fields))
        notes += left_out
    ranks = [0, *range(len(layers), len(layers) + len(below)), *range(1, len(layers))]
    one, left_out = one_unit([*layers, *below], ranks)
    notes += left_out
    merged, origins = merge(one)
    try:
        whole = ModelSpec.model_validate(merged)
    except ValidationError as error:
        raise ValueError(first_problem(error)) from error
    return Completed(whole, origins, tuple(notes))


def merge(layers: Sequence[SpecLayer]) -> tuple[dict[str, Any], dict[str, str]]:
    """The fields of all layers, earlier layers taking precedence, and the layer of each field."""
    merged: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for layer in layers:
        _lay_under(merged, layer.fields, layer.name, "", origins)
    return merged, origins


def _lay_under(
    above: dict[str, Any], fields: Mapping[str, Any], name: str, path: str, origins: dict[str, str]
) -> None:
    for key, value in fields.items():
        where = f"{path}.{key}" if path else key
        if isinstance(value, Mapping) and key not in TAKEN_WHOLE:
            block = above.setdefault(key, {})
            if isinstance(block, dict):
                _lay_under(block, value, name, where, origins)
        elif key not in above:
            above[key] = value
            origins[where] = name


def _applicable(entry: ModelSpec, given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The fields of an entry that apply together with the manifest's, and notes on the others."""
    fields = entry.model_dump(mode="json", by_alias=True, exclude_unset=True)
    notes: list[str] = []
    if "source" in given or "weights" in given:
        dropped = [key for key in OF_THE_FILES if key in fields and key not in given]
        fields = {key: value for key, value in fields.items() if key not in OF_THE_FILES}
        if dropped:
            notes.append(
                f"{', '.join(dropped)} of the catalog left out: the manifest names other weights"
            )
    return fields, notes


def _by_id(given: Mapping[str, Any], entry: ModelSpec) -> dict[str, Any]:
    """The manifest with the entry's id in `model` and the alias it named in `aliases`."""
    alias = given["model"]
    changed = {**given, "model": entry.model}
    aliases = given.get("aliases")
    if isinstance(aliases, list) and alias not in aliases:
        changed["aliases"] = [*aliases, alias]
    return changed


def _without_nulls(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields without nulls, as an API server stores them."""
    return {
        key: _without_nulls(value) if isinstance(value, Mapping) else value
        for key, value in fields.items()
        if value is not None
    }


def _check_spelling(given: Mapping[str, Any]) -> None:
    """Raises ValueError for snake_case names: ModelSpec accepts them, `kubectl apply` does not."""
    for name, field in ModelSpec.model_fields.items():
        if name in given and field.alias is not None and field.alias != name:
            raise ValueError(f"{name}: write {field.alias}")
