"""Keeps the DaemonSets that fill node caches as the models of their profiles require.

They are listed at an interval instead of watched: nothing else depends on them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from fleet_kube.client import KubeClient
from fleet_kube.errors import ApiError, KubeError
from fleet_operator.controller.cache import ClusterCache
from fleet_operator.controller.diff import differs
from fleet_operator.decide.weights import prefetch
from fleet_operator.decide.weights.prefetch_progress import Progress, failures, progress
from fleet_operator.kinds import DAEMON_SET, POD
from fleet_operator.names import ANNOTATION_APPLIED, LABEL_PREFETCH
from fleet_operator.periodic import repeat
from fleet_operator.resources.prefetch.daemon_set import may_manage
from fleet_operator.resources.resolve import Resolver
from fleet_web.logs import event as log

logger = logging.getLogger(__name__)


class Prefetcher:
    """`progress` is by namespace and profile. `is_synced` is whether the cache is complete,
    `may_write` whether a namespace is served by this operator."""

    def __init__(
        self,
        cache: ClusterCache,
        resolver: Resolver,
        api: KubeClient,
        may_write: Callable[[str], bool],
        is_synced: Callable[[], bool],
    ) -> None:
        self._cache = cache
        self._resolver = resolver
        self._api = api
        self._may_write = may_write
        self._is_synced = is_synced
        self._applied: dict[prefetch.Key, tuple[str, int]] = {}
        self._left_out: dict[prefetch.Key, int] = {}
        self._failures: dict[prefetch.Key, dict[str, str]] = {}
        self.progress: dict[tuple[str, str], Progress] = {}

    async def run(self, interval: float) -> None:
        """Reconcile at an interval in seconds, for ever."""
        await repeat(self.reconcile, interval, logger, "prefetch_failed")

    async def reconcile(self) -> None:
        """Apply, replace and delete DaemonSets once. A refused request is logged."""
        if not self._is_synced():
            return
        wanted = self._wanted()
        fresh: dict[tuple[str, str], Progress] = {}
        for namespace in self._cache.settings.namespaces or (None,):
            here = {key: one for key, one in wanted.items() if namespace in (None, key[0])}
            try:
                found = await self._found(namespace)
                for key, one in here.items():
                    place = (key[0], prefetch.profile_of(one.object))
                    fresh[place] = await self._kept(key, one, found)
                for raw in prefetch.unwanted(found.values(), here, self._resolver.sources):
                    await self._delete(raw)
            except KubeError as error:
                # Without the right to list them nothing is lost as long as no profile needs them.
                if here or not (isinstance(error, ApiError) and error.is_unreadable):
                    log(logger, "prefetch_failed", level=logging.WARNING, namespace=namespace or "",
                        error=str(error))  # fmt: skip
                for key, one in here.items():
                    place = (key[0], prefetch.profile_of(one.object))
                    fresh.setdefault(place, Progress(left_out=one.left_out, refused=True))
        self._failures = {key: one for key, one in self._failures.items() if key in wanted}
        self.progress = fresh

    def _wanted(self) -> dict[prefetch.Key, prefetch.Wanted]:
        keys = [
            key
            for key, raw in self._cache.models.items()
            if prefetch.cache_of(self._resolver.resolve(raw)) is not None
        ]
        observed = (self._cache.observe(key) for key in keys)
        return prefetch.wanted(one for one in observed if one is not None)

    async def _found(self, namespace: str | None) -> dict[prefetch.Key, dict[str, Any]]:
        owns = self._cache.settings.shard.owns
        found = {}
        for raw in await self._api.items(DAEMON_SET, namespace, LABEL_PREFETCH):
            meta = raw["metadata"]
            if owns(meta["namespace"]):
                # The items of a list have no kind.
                whole = {"apiVersion": DAEMON_SET.api_version, "kind": DAEMON_SET.kind, **raw}
                found[meta["namespace"], meta["name"]] = whole
        return found

    async def _kept(
        self, key: prefetch.Key, one: prefetch.Wanted, found: dict[prefetch.Key, dict[str, Any]]
    ) -> Progress:
        """The progress of one that was applied. Where a request is refused, as by a policy of its
        namespace, the others are not affected."""
        try:
            await self._keep(key, one, found)
            return await self._progress(key, one, found.get(key))
        except ApiError as error:
            if error.is_shed:
                raise
            log(logger, "prefetch_failed", level=logging.WARNING, object="/".join(key),
                error=str(error))  # fmt: skip
            return Progress(left_out=one.left_out, refused=True)

    async def _keep(
        self, key: prefetch.Key, one: prefetch.Wanted, found: dict[prefetch.Key, dict[str, Any]]
    ) -> None:
        if not self._may_write(key[0]):
            return
        if self._left_out.get(key, 0) != one.left_out:
            self._left_out[key] = one.left_out
            log(logger, "prefetch_left_out", level=logging.WARNING, object="/".join(key),
                models=one.left_out)  # fmt: skip
        known = found.get(key)
        if known is None:
            known = await self._api.get(DAEMON_SET, *key)
        if known is not None and not may_manage(known):
            log(logger, "prefetch_name_taken", level=logging.WARNING, object="/".join(key))
            return
        digest = one.object["metadata"]["annotations"][ANNOTATION_APPLIED]
        if known is not None and not (
            differs(one.object, known) and self._applied.get(key) != (digest, _generation(known))
        ):
            return
        result = await self._api.apply(DAEMON_SET, one.object, force=known is not None)
        self._applied[key] = (digest, _generation(result))
        found[key] = result
        log(logger, "applied", kind=DAEMON_SET.kind, namespace=key[0], object=key[1],
            created=known is None)  # fmt: skip

    async def _progress(
        self, key: prefetch.Key, one: prefetch.Wanted, raw: Mapping[str, Any] | None
    ) -> Progress:
        """Pods are listed only while weights are missing; each failure is logged once."""
        if raw is None:
            return Progress(left_out=one.left_out, refused=self._may_write(key[0]))
        made = progress(raw, one.left_out)
        failed: dict[str, str] = {}
        if not made.is_complete:
            label = raw["metadata"]["labels"][LABEL_PREFETCH]
            failed = failures(await self._api.items(POD, key[0], f"{LABEL_PREFETCH}={label}"))
        known = self._failures.get(key, {})
        for node, message in failed.items():
            if known.get(node) != message:
                log(logger, "prefetch_node_failed", level=logging.WARNING, object="/".join(key),
                    node=node, error=message)  # fmt: skip
        self._failures[key] = failed
        return made._replace(failed=made.failed + len(failed))

    async def _delete(self, raw: Mapping[str, Any]) -> None:
        meta = raw["metadata"]
        if meta.get("deletionTimestamp") or not self._may_write(meta["namespace"]):
            return
        await self._api.delete(DAEMON_SET, meta["namespace"], meta["name"], meta["uid"])
        log(logger, "deleted", kind=DAEMON_SET.kind, namespace=meta["namespace"],
            object=meta["name"])  # fmt: skip


def _generation(raw: Mapping[str, Any]) -> int:
    return int(raw["metadata"].get("generation", 0))
