"""Opens the work queue once the cache holds everything that existed at the start.

An earlier reconcile would miss children and names that are taken.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from fleet_kube.errors import KubeError
from fleet_kube.kind import Kind
from fleet_operator.controller.cache import ClusterCache
from fleet_operator.controller.listing import Listing
from fleet_operator.controller.work_queue import WorkQueue
from fleet_web.logs import event as log

logger = logging.getLogger(__name__)

EVERY_SECONDS = 0.1
CHECKS = 50
"""Checks before missing objects are listed again, since they may have been deleted."""


class InitialSync:
    """Lists the metadata of all objects and waits until the watches have delivered them."""

    def __init__(
        self,
        cache: ClusterCache,
        queue: WorkQueue,
        listing: Listing,
        kinds: Sequence[Kind],
    ) -> None:
        self._cache = cache
        self._queue = queue
        self._listing = listing
        self._kinds = kinds

    async def run(self) -> None:
        """Wait, open the queue, then sleep for ever.

        Objects missing for two rounds in a row, in which nothing else was delivered either, are
        given up: one object that cannot be read must not keep all models from being reconciled.
        `resync` detects a stuck watch.
        """
        before: dict[Kind, set[str]] = {}
        while not self._queue.is_open:
            try:
                missing = await self._await(await self._listed())
                if not missing or missing == before:
                    for kind, ids in missing.items():
                        log(logger, "not_seen", level=logging.WARNING, kind=kind.kind,
                            objects=len(ids))  # fmt: skip
                    self._queue.open()
                before = missing
            except KubeError as error:
                log(logger, "first_list_failed", level=logging.WARNING, error=str(error))
                await asyncio.sleep(1)
        log(logger, "synced", models=len(self._cache.models), pods=len(self._cache.pods))
        # A task that returns would be started again by its supervisor.
        await asyncio.Event().wait()

    async def _listed(self) -> dict[Kind, set[str]]:
        return {kind: await self._ids(kind) for kind in self._kinds}

    async def _ids(self, kind: Kind) -> set[str]:
        return {meta["uid"] async for meta in self._listing.metadata(kind)}

    async def _await(self, listed: dict[Kind, set[str]]) -> dict[Kind, set[str]]:
        """Wait until all listed objects are cached, for `CHECKS` checks; returns the others."""
        for _ in range(CHECKS):
            listed = {
                kind: missing
                for kind, ids in listed.items()
                if (missing := ids - self._cache.seen(kind.kind))
            }
            if not listed:
                break
            await asyncio.sleep(EVERY_SECONDS)
        return listed
