"""The weights of a model for both servers, fetched if missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from fleet_bench.compare.errors import CannotCompare
from fleet_contract.spec import ModelSpec
from fleet_weights.errors import WeightsError
from fleet_weights.fetch import fetch
from fleet_weights.store import Store, default_root

MEGABYTE = 1_000_000


def weights_of(
    spec: ModelSpec, environ: Mapping[str, str], tick: Callable[[str], None]
) -> tuple[Path, Path]:
    """Path of the model's weights, and root folder of all weights. Raises CannotCompare.

    `tick` gets the progress of a download as text.
    """
    root = default_root(environ)

    def progress(done: int, total: int | None) -> None:
        whole = f" of {total / MEGABYTE:.0f}" if total else ""
        tick(f"fetching the weights of {spec.model}: {done / MEGABYTE:.0f}{whole} MB")

    try:
        path = fetch(spec, Store.of(environ), progress, environ=environ)
    except WeightsError as error:
        raise CannotCompare(error.message, error.hint) from None
    return path, root
