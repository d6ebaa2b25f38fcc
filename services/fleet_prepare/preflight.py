"""Decides whether this machine can serve a model before any weights are fetched."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from fleet_contract.spec import ModelSpec
from fleet_prepare import model_files
from fleet_prepare.choose import EngineChoice, check, choose
from fleet_prepare.errors import CannotServe
from fleet_prepare.machine import Machine
from fleet_prepare.model_files import ModelFiles
from fleet_weights.address import Hub, Package, parse
from fleet_weights.allowed import is_allowed
from fleet_weights.fetch import is_there, locate
from fleet_weights.plan import plan
from fleet_weights.store import Store
from fleet_weights.transfer.retry_policy import RETRY_POLICY, RetryPolicy


def preflight(
    spec: ModelSpec,
    store: Store,
    machine: Machine,
    environ: Mapping[str, str],
    *,
    stop: threading.Event | None = None,
    retry_policy: RetryPolicy = RETRY_POLICY,
) -> EngineChoice | None:
    """The engine that will serve `spec`; None where that depends on the weights themselves.

    A repository of the hub is listed and its small JSON documents are read. Raises CannotServe with
    what would make it run, and WeightsError if the source cannot be listed.
    """
    if is_there(spec, store):
        return choose(spec, model_files.from_folder(locate(spec, store)), machine)
    check(spec, machine)
    files = before_fetch(spec, environ, stop=stop, retry_policy=retry_policy)
    try:
        return choose(spec, files, machine)
    except CannotServe:
        if files.known and files.names:
            raise
        return None


def before_fetch(
    spec: ModelSpec,
    environ: Mapping[str, str],
    *,
    stop: threading.Event | None = None,
    retry_policy: RetryPolicy = RETRY_POLICY,
) -> ModelFiles:
    """The files a spec names, from the hub's listing or from their addresses.

    Names are empty if the source is a whole package. Raises WeightsError.
    """
    address = parse(spec.source) if spec.source is not None else None
    named = frozenset(file.path for file in plan(spec).files)
    if isinstance(address, Hub):
        # Imported here: a server whose weights are on disk starts without an HTTP client.
        from fleet_weights.hub.listing import list_repository

        names, documents = list_repository(
            address, _wanted, environ, stop=stop, retry_policy=retry_policy
        )
        return ModelFiles(names | named, documents, on_disk=False)
    if isinstance(address, Package):
        inside = address.path.rpartition("/")[2]
        named |= {inside} if is_allowed(inside) else set()
    return ModelFiles(named, on_disk=False)


def _wanted(names: frozenset[str], documents: Mapping[str, Any]) -> list[str]:
    first = model_files.wanted_documents(names, documents)
    return first or model_files.module_documents(names, documents)
