"""From a spec to files an engine reads: fetches what is missing, converts what needs it.

find(spec, store, machine)     what is complete on disk; no network access
prepare(spec, store, machine)  fetches and converts what is missing, then returns like find
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from fleet_contract.spec import ModelSpec, Quantization
from fleet_prepare import converters, model_files
from fleet_prepare.choose import FACTORIES, EngineChoice, choose
from fleet_prepare.converters import ConversionPlan
from fleet_prepare.machine import Machine
from fleet_prepare.model_files import ModelFiles
from fleet_prepare.stage import PrepareStage, Report
from fleet_weights import eviction
from fleet_weights.adapters import adapter_specs, companions, draft_spec
from fleet_weights.fetch import is_there, locate
from fleet_weights.plan import needs_none
from fleet_weights.record import is_intact
from fleet_weights.store import Store
from fleet_weights.transfer.progress import Progress
from fleet_weights.transfer.retry_policy import RETRY_POLICY, RetryPolicy


@dataclass(frozen=True, slots=True)
class PreparedModel:
    """The folder (or the one file) an engine loads, the choice of that engine, and the folders or
    files of LoRA adapters, by name, and of a draft model."""

    folder: Path
    choice: EngineChoice
    adapters: Mapping[str, Path] = field(default_factory=dict)
    draft: Path | None = None


def find(spec: ModelSpec, store: Store, machine: Machine) -> PreparedModel | None:
    """What is complete on disk, or None. Raises CannotServe and WeightsError."""
    found = _find(spec, store, machine)
    others = companions(spec)
    for one in others:
        eviction.hold(one, store)
    if found is None or not all(is_there(one, store) for one in others):
        return None
    return _with_companions(found, spec, store)


def _with_companions(found: PreparedModel, spec: ModelSpec, store: Store) -> PreparedModel:
    """The model with its adapters and draft model, which are on disk."""
    adapters = {name: locate(one, store) for name, one in adapter_specs(spec)}
    draft = draft_spec(spec)
    return replace(found, adapters=adapters, draft=locate(draft, store) if draft else None)


def _find(spec: ModelSpec, store: Store, machine: Machine) -> PreparedModel | None:
    eviction.hold(spec, store)
    if needs_none(spec):
        return PreparedModel(store.root, choose(spec, ModelFiles(frozenset()), machine))
    if not is_there(spec, store):
        return _without_source(spec, store, machine)
    source = locate(spec, store)
    files = model_files.from_folder(source)
    choice = choose(spec, files, machine)
    if choice.conversion is None:
        return PreparedModel(source, choice)
    from fleet_prepare.convert_once import converted_folder

    folder = converted_folder(spec, choice.conversion, source, files, store)
    return PreparedModel(folder, choice) if is_intact(folder) else None


def prepare(
    spec: ModelSpec,
    store: Store,
    machine: Machine,
    report: Report | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    stop: threading.Event | None = None,
    download: bool = True,
    decided: EngineChoice | None = None,
    retry_policy: RetryPolicy = RETRY_POLICY,
) -> PreparedModel:
    """Fetch and convert until an engine of this machine reads the weights.

    Nothing is fetched unless `download`. `decided` is the result of an earlier preflight; if it is
    None, one is made before anything is fetched. Raises CannotServe and WeightsError, and Stopped
    within about a second of `stop` being set.
    """
    settings = os.environ if environ is None else environ
    prepared = _find(spec, store, machine) or _prepare(
        spec, store, machine, report, settings, stop, download, decided, retry_policy
    )
    for one in companions(spec):
        eviction.hold(one, store)
        if not is_there(one, store) and download:
            from fleet_weights.fetch import fetch

            progress = _begin(report, PrepareStage.FETCHING)
            fetch(one, store, progress, environ=settings, stop=stop, retry_policy=retry_policy)
    return _with_companions(prepared, spec, store)


def _prepare(
    spec: ModelSpec,
    store: Store,
    machine: Machine,
    report: Report | None,
    settings: Mapping[str, str],
    stop: threading.Event | None,
    download: bool,
    decided: EngineChoice | None,
    retry_policy: RetryPolicy,
) -> PreparedModel:
    """The model without its adapters and draft model."""
    if not is_there(spec, store) and download:
        from fleet_prepare.preflight import preflight
        from fleet_weights.fetch import fetch

        if decided is None:
            decided = preflight(
                spec, store, machine, settings, stop=stop, retry_policy=retry_policy
            )
        fetch(
            spec, store, _begin(report, PrepareStage.FETCHING), environ=settings, stop=stop,
            retry_policy=retry_policy, kind=decided.kind if decided is not None else None,
        )  # fmt: skip
    source = locate(spec, store)
    files = model_files.from_folder(source)
    choice = choose(spec, files, machine)
    if choice.conversion is None:
        return PreparedModel(source, choice)
    from fleet_prepare.convert_once import convert_once

    folder = convert_once(
        spec, choice.conversion, source, files, store, _begin(report, PrepareStage.CONVERTING),
        environ=settings, stop=stop,
    )  # fmt: skip
    return PreparedModel(folder, choice)


def _without_source(spec: ModelSpec, store: Store, machine: Machine) -> PreparedModel | None:
    """Converted weights whose source is no longer in the store."""
    if spec.handler is not None or spec.vision:
        return None
    requested = machine.accelerator if spec.device == "auto" else spec.device
    for converter in converters.CONVERTERS:
        if converter.task is not spec.task or spec.engine not in (converter.engine, "auto"):
            continue
        if (package := converter.load()) is None:
            continue
        for device in dict.fromkeys((requested, "cpu") if spec.device == "auto" else (requested,)):
            quantization = converter.quantization(spec, device)
            plan = ConversionPlan(
                converter.module, converter.format, quantization, package.VERSION, ""
            )
            folder = store.folder(spec, plan.suffix)
            if not is_intact(folder):
                continue
            as_it_is = spec.model_copy(update={"quantization": Quantization.AUTO})
            choice = choose(as_it_is, model_files.from_folder(folder), machine)
            if choice.factory == FACTORIES[converter.engine, spec.task]:
                return PreparedModel(folder, replace(choice, reason=f"{choice.reason}, converted"))
    return None


def _begin(report: Report | None, stage: PrepareStage) -> Progress | None:
    """Report that a stage begins; return the function that reports its bytes."""
    if report is None:
        return None
    report(stage, 0, None)
    return partial(report, stage)
