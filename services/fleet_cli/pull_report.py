"""Pulls models one after the other."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from fleet_cli.pull_output import Output
from fleet_contract.spec import Engine, ModelSpec
from fleet_prepare import machine
from fleet_prepare.errors import CannotServe
from fleet_prepare.machine import Machine
from fleet_prepare.preflight import preflight
from fleet_prepare.prepare import find, prepare
from fleet_prepare.stage import PrepareStage, Report
from fleet_weights.adapters import companions
from fleet_weights.errors import NoRoom, WeightsError
from fleet_weights.eviction import release
from fleet_weights.fetch import fetch, is_there
from fleet_weights.store import Store

NO_WEIGHTS = frozenset({Engine.REMOTE, Engine.CONTAINER})
"""Engines whose servers may have weights of their own."""


def pull_all(
    specs: Sequence[ModelSpec],
    store: Store,
    environ: Mapping[str, str],
    output: Output,
    *,
    force: bool = False,
    convert: bool = True,
) -> list[str]:
    """Pull every model, and convert weights that no engine of this machine can load directly.

    A model that this machine cannot serve fails before it is fetched; with `force` it is fetched
    without conversion. One that does not fit into a store that evicts nothing is skipped. `output`
    gets progress and errors; the ids of models that failed.
    """
    here = machine.here(environ)
    failed: list[str] = []
    for spec in specs:
        if spec.engine in NO_WEIGHTS and not (spec.source or spec.weights):
            output.without_weights(spec.model, spec.engine.value)
            continue
        try:
            one = _Pull(spec, store, environ, output)
            if convert and here.has_engines and not _elsewhere(spec):
                one.prepare(here, force=force)
            else:
                one.fetch()
        except NoRoom as error:
            output.skipped(spec.model, error.message, error.hint)
        except (CannotServe, WeightsError) as error:
            failed.append(spec.model)
            output.failed(spec.model, error.message, error.hint)
        finally:
            if not store.evicts:  # a server may need its room while the others are pulled
                for each in _with_companions(spec):
                    release(each, store)
    return failed


def _elsewhere(spec: ModelSpec) -> bool:
    """Whether the model runs in another image, whose needs are not known here."""
    return spec.is_foreign or spec.engine in NO_WEIGHTS


def _with_companions(spec: ModelSpec) -> list[ModelSpec]:
    """What is fetched for a model: itself first."""
    return [spec, *companions(spec)]


class _Pull:
    """The pull of one model."""

    def __init__(
        self, spec: ModelSpec, store: Store, environ: Mapping[str, str], output: Output
    ) -> None:
        self._spec = spec
        self._store = store
        self._environ = environ
        self._output = output
        self._began = time.monotonic()
        self._was_there = all(is_there(each, store) for each in _with_companions(spec))

    def prepare(self, here: Machine, *, force: bool) -> None:
        """Fetch and convert.

        Raises WeightsError, and without `force` CannotServe before anything is fetched.
        """
        try:
            if (found := find(self._spec, self._store, here)) is not None:
                self._pulled(found.folder, present=True)
                return
            decided = preflight(self._spec, self._store, here, self._environ)
            with self._output.progress(self._spec.model) as report:
                prepared = prepare(
                    self._spec, self._store, here, report, environ=self._environ, decided=decided
                )
            self._pulled(prepared.folder)
        except CannotServe as error:
            if not force and not is_there(self._spec, self._store):
                raise CannotServe(
                    error.message, f"{error.hint} `--force` fetches it for another machine."
                ) from error
            self.fetch()
            self._output.unservable(self._spec.model, error.message, error.hint)

    def fetch(self) -> None:
        """Fetch without conversion. Raises WeightsError."""
        with self._output.progress(self._spec.model) as report:
            path = self._fetch(report)
        self._pulled(path, present=self._was_there)

    def _fetch(self, report: Report) -> Path:
        progress = partial(report, PrepareStage.FETCHING)
        path, *_ = [fetch(each, self._store, progress, environ=self._environ)
                    for each in _with_companions(self._spec)]  # fmt: skip
        return path

    def _pulled(self, folder: Path, *, present: bool = False) -> None:
        seconds = time.monotonic() - self._began
        self._output.pulled(self._spec.model, folder, seconds, present=present)
