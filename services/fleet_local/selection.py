"""The models of a fleet: from manifests, catalog ids or the demo."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fleet_contract import catalog, manifests
from fleet_contract.spec import ModelSpec
from fleet_local import cluster_fields, replicas
from fleet_local.errors import StartError
from fleet_local.settings import UpSettings


def select(settings: UpSettings) -> list[ModelSpec]:
    """The specs to serve, complete and with unique ids and aliases. Raises StartError."""
    try:
        known = catalog.load(settings.catalog)
        specs = [spec for path in settings.files for spec in from_file(path, known)]
        names = settings.models or (() if settings.files else catalog.DEMO)
        specs += catalog.resolve(names, known)
    except (ValueError, OSError) as error:
        raise StartError(str(error)) from error
    check(specs)
    return specs


def from_file(path: Path, known: catalog.Catalog) -> list[ModelSpec]:
    """The specs of a file of manifests, completed from the catalog. Raises ValueError."""
    specs: list[ModelSpec] = []
    for manifest in manifests.load(path):
        try:
            specs.append(manifests.complete(manifest.spec, known).spec)
        except ValueError as error:
            raise ValueError(f"{manifest.where}: spec.{error}") from error
    return specs


def check(specs: Sequence[ModelSpec]) -> None:
    """Raises StartError when these models cannot be served together on one machine."""
    if not specs:
        raise StartError("There is no model to serve.", "Name some with --models or -f.")
    taken: dict[str, str] = {}
    for spec in specs:
        for name in spec.ids:
            if name in taken:
                raise StartError(
                    f"{name!r} is an id or alias of both {taken[name]!r} and {spec.model!r}."
                )
            taken[name] = spec.model
    for spec in specs:
        cluster_fields.check(spec)
        for name in filter(taken.__contains__, spec.adapter_ids):
            raise StartError(
                f"{name!r} is an adapter of {spec.model!r}, and an id or alias of {taken[name]!r}."
            )
    if not any(replicas.number(spec) or spec.remote is not None for spec in specs):
        raise StartError(
            "Every model is stopped.",
            "Remove `stopped: true` of one, and set its `replicas` to 1 or more.",
        )
