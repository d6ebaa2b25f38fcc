"""Reads catalog and profiles and follows their changes.

A change enqueues every model. What cannot be read stays as it was read last: the catalog, the
profiles if their ConfigMap is missing, and a profile that is not valid.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path

from fleet_contract import catalog
from fleet_contract.spec import ModelSpec
from fleet_kube.client import KubeClient
from fleet_kube.errors import KubeError
from fleet_operator.controller.cache import ClusterCache
from fleet_operator.controller.work_queue import WorkQueue
from fleet_operator.kinds import CONFIG_MAP
from fleet_operator.resources import profiles
from fleet_operator.resources.resolve import Resolver, Sources
from fleet_operator.settings import OperatorSettings
from fleet_web.logs import event as log

logger = logging.getLogger(__name__)

INTERVAL_SECONDS = 10.0


class SourceReader:
    """Reads the sources; an unchanged catalog file is not parsed again."""

    def __init__(self, api: KubeClient, settings: OperatorSettings) -> None:
        self._api = api
        self._settings = settings
        self._catalog: tuple[float, Mapping[str, ModelSpec]] = (-1.0, {})

    async def read(self, known: Sources | None) -> Sources:
        """The current catalog and profiles; `known` are the previous ones.

        Raises CatalogError if the first catalog is invalid, ApiError and ApiUnreachable.
        """
        entries = self._read_catalog(known)
        namespace, name = self._settings.own_namespace, self._settings.profiles_configmap
        images = self._settings.vllm_images
        found = await self._api.get(CONFIG_MAP, namespace, name)
        last = known.profiles if known is not None else {}
        if found is None:
            problems = known.problems if known is not None else {}
            missing = f"The ConfigMap {name!r} in namespace {namespace!r} does not exist."
            return Sources(entries, last, problems, missing, images)
        read, problems = profiles.parse(found.get("data") or {})
        kept = {name: last[name] for name in problems if name in last}
        return Sources(entries, {**read, **kept}, problems, vllm_images=images)

    def _read_catalog(self, known: Sources | None) -> Mapping[str, ModelSpec]:
        path = self._settings.catalog
        changed = _modified(path)
        if changed == self._catalog[0]:
            return self._catalog[1]
        try:
            self._catalog = (changed, catalog.load(path))
        except catalog.CatalogError as error:
            if known is None:
                raise
            log(logger, "catalog_unreadable", level=logging.ERROR, error=str(error))
            # With the time of the broken file: it is logged once, and read again when it changes.
            self._catalog = (changed, known.catalog)
        return self._catalog[1]


async def follow(
    reader: SourceReader, resolver: Resolver, cache: ClusterCache, queue: WorkQueue
) -> None:
    """Read the sources at an interval, for ever."""
    while True:
        await asyncio.sleep(INTERVAL_SECONDS)
        try:
            fresh = await reader.read(resolver.sources)
        except KubeError as error:
            log(logger, "profiles_unreadable", level=logging.WARNING, error=str(error))
            continue
        if resolver.use(fresh):
            # Ids and aliases may come from the catalog.
            cache.reclaim()
            queue.add(list(cache.models))
            log(logger, "sources_changed", models=len(fresh.catalog), profiles=len(fresh.profiles))
            for problem in filter(None, (fresh.missing, *fresh.problems.values())):
                log(logger, "profiles_not_current", level=logging.WARNING, error=problem)


def _modified(path: Path | None) -> float:
    """Modification time of a file, 0 without one, -2 if missing; follows a ConfigMap's symlink."""
    try:
        return 0.0 if path is None else path.stat().st_mtime
    except OSError:
        return -2.0
