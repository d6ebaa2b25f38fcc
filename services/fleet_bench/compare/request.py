"""What `modelfleet bench compare` was asked, and the comparisons it makes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from fleet_bench import models as listings
from fleet_bench.compare.cases import Cases
from fleet_bench.compare.errors import CannotCompare
from fleet_bench.compare.listing import TASKS, common, task_of
from fleet_bench.compare.load import Load
from fleet_bench.compare.results.outcome import Outcome
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
    """Two running servers; `b_model` is B's id of the model where it differs from A's."""

    a: str
    b: str
    b_model: str | None
    task: str | None
    a_pid: int | None
    b_pid: int | None
    api_key: str | None


@dataclass(frozen=True, slots=True)
class Own:
    """Servers to start here: the reference as A, ours as B."""

    reference: str
    device: str
    dtype: str


def compared(model: str, task: str, pair: Pair, cases: Cases, load: Load, tick: Tick) -> Outcome:
    """Measure a pair, then compare its answers. Raises CannotCompare."""

    async def work() -> Outcome:
        rows = await measure(pair, task, cases, load, tick)
        facts = await agree(pair, task, cases, load, tick)
        return Outcome(
            model, task, pair.a.name, pair.b.name, load.requests, load.concurrency,
            tuple(rows), tuple(facts),
        )  # fmt: skip

    return asyncio.run(work())


def of_addresses(names: list[str], asked: Addresses) -> Iterator[tuple[str, str, Pair]]:
    """Model, task and sides of each comparison. Raises CannotCompare."""
    sides = [
        Side(url.partition("://")[2], url, "", pid, asked.api_key)
        for url, pid in ((asked.a, asked.a_pid), (asked.b, asked.b_pid))
    ]
    plans = [side.plan(1, 1, 1) for side in sides]
    entries = [_listed(plan.root, plan.headers) for plan in plans]
    if asked.b_model is not None and len(names) != 1:
        raise CannotCompare("--b-model goes with one model.", "Name A's with --models.")
    known = {name: spec.task.value for spec in catalog.load().values() for name in spec.ids}
    for model in names or common(*entries):
        task = asked.task or task_of(model, entries, known)
        other = asked.b_model or model
        a, b = (
            Side(side.name, side.url, name, side.pid, side.api_key)
            for side, name in zip(sides, (model, other), strict=True)
        )
        yield model, task, Pair(a, b)


@contextmanager
def of_spec(spec: ModelSpec, own: Own, environ: Mapping[str, str], tick: Tick) -> Iterator[Pair]:
    """The reference and our server of a catalog model, both ready. Raises CannotCompare."""
    from fleet_bench.compare.sides.weights import weights_of

    if spec.task.value not in TASKS:
        raise CannotCompare(f"{spec.model} is of task {spec.task.value}; it is not compared.")
    path, models = weights_of(spec, environ, tick)
    with ExitStack() as stack:
        if own.reference == OWN_ENGINE:
            variant = torch_variant(spec, "float32" if own.dtype == "auto" else own.dtype)
            tick(f"starting the torch engine for {spec.model}")
            a = stack.enter_context(served(variant, models, environ, own.device))
        else:
            reference = reference_of(spec, path, own.reference, environ)
            tick(f"starting {reference.library} for {spec.model}")
            a = stack.enter_context(referred(spec, path, reference, environ, own.device, own.dtype))
        tick(f"starting the server of {spec.model}")
        b = stack.enter_context(served(spec, models, environ, own.device))
        yield Pair(a, b)


def _listed(root: str, headers: dict[str, str]) -> list[dict[str, object]]:
    try:
        return listings.listed(root, headers)
    except listings.NoModel as error:
        raise CannotCompare(str(error)) from None
