"""The servers of a comparison, running or started here, and one comparison of each model."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from fleet_bench import models as listings
from fleet_bench.compare.cases import Cases
from fleet_bench.compare.errors import CannotCompare
from fleet_bench.compare.listing import TASKS, common, task_of
from fleet_bench.compare.load import RequestLoad
from fleet_bench.compare.results.outcome import ModelComparison
from fleet_bench.compare.sides.servers import (
    OWN_ENGINE,
    reference_of,
    referred,
    served,
    torch_variant,
)
from fleet_bench.compare.sides.side import Side
from fleet_bench.compare.turns import Pair, Tick, agree, measure
from fleet_contract import catalog
from fleet_contract.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class Addresses:
    """Two running servers; `b_model` is the model's id at B where it differs from A's."""

    a: str
    b: str
    b_model: str | None
    task: str | None
    a_pid: int | None
    b_pid: int | None
    api_key: str | None


@dataclass(frozen=True, slots=True)
class LocalServers:
    """Servers to start here: the reference as A, Modelfleet as B."""

    reference: str
    device: str
    dtype: str


def compared(
    model: str, task: str, pair: Pair, cases: Cases, load: RequestLoad, tick: Tick
) -> ModelComparison:
    """Measure a pair, then compare its outputs. Raises CannotCompare."""

    async def work() -> ModelComparison:
        rows = await measure(pair, task, cases, load, tick)
        facts = await agree(pair, task, cases, load, tick)
        return ModelComparison(
            model, task, pair.a.name, pair.b.name, load.requests, load.concurrency,
            tuple(rows), tuple(facts),
        )  # fmt: skip

    return asyncio.run(work())


def of_addresses(names: list[str], addresses: Addresses) -> Iterator[tuple[str, str, Pair]]:
    """Model, task and sides of each comparison of running servers. Raises CannotCompare."""
    sides = [
        Side(url.partition("://")[2], url, "", pid, addresses.api_key)
        for url, pid in ((addresses.a, addresses.a_pid), (addresses.b, addresses.b_pid))
    ]
    both_settings = [side.settings(1, 1, 1) for side in sides]
    entries = [_listed(settings.root, settings.headers) for settings in both_settings]
    if addresses.b_model is not None and len(names) != 1:
        raise CannotCompare("--b-model needs exactly one model.", "Name A's with --models.")
    known = {name: spec.task.value for spec in catalog.load().values() for name in spec.ids}
    for model in names or common(*entries):
        task = addresses.task or task_of(model, entries, known)
        other = addresses.b_model or model
        a, b = (
            Side(side.name, side.url, name, side.pid, side.api_key)
            for side, name in zip(sides, (model, other), strict=True)
        )
        yield model, task, Pair(a, b)


@contextmanager
def of_spec(
    spec: ModelSpec, local: LocalServers, environ: Mapping[str, str], tick: Tick
) -> Iterator[Pair]:
    """The reference and a Modelfleet server of one model, both ready. Raises CannotCompare."""
    from fleet_bench.compare.sides.weights import weights_of

    if spec.task.value not in TASKS:
        raise CannotCompare(f"{spec.model}: the task {spec.task.value} cannot be compared.")
    path, models = weights_of(spec, environ, tick)
    with ExitStack() as stack:
        if local.reference == OWN_ENGINE:
            variant = torch_variant(spec, "float32" if local.dtype == "auto" else local.dtype)
            tick(f"starting the torch engine for {spec.model}")
            a = stack.enter_context(served(variant, models, environ, local.device))
        else:
            reference = reference_of(spec, path, local.reference, environ)
            tick(f"starting {reference.library} for {spec.model}")
            a = stack.enter_context(
                referred(spec, path, reference, environ, local.device, local.dtype)
            )
        tick(f"starting the server of {spec.model}")
        b = stack.enter_context(served(spec, models, environ, local.device))
        yield Pair(a, b)


def _listed(root: str, headers: dict[str, str]) -> list[dict[str, object]]:
    try:
        return listings.listed(root, headers)
    except listings.NoModel as error:
        raise CannotCompare(str(error)) from None
