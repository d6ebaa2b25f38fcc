"""Creates, changes and deletes the InferenceModels of the release as its ConfigMap requires.

The ConfigMap is read at an interval, like the profiles. While it cannot be read or is missing,
nothing changes: of an uninstalled release, the garbage collector deletes the models.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from fleet_kube.client import KubeClient
from fleet_kube.errors import ApiError
from fleet_operator.controller.cache import ClusterCache, Key
from fleet_operator.decide.release_models import plan
from fleet_operator.kinds import CONFIG_MAP, MODEL, ROLE
from fleet_operator.periodic import repeat
from fleet_operator.resources import release_models
from fleet_operator.resources.release_models import OWNER
from fleet_web.logs import event as log

logger = logging.getLogger(__name__)

INTERVAL_SECONDS = 10.0
SYNC_SECONDS = 0.5
TAKEN = "another InferenceModel, which is not of this release, has the name"


class ReleaseModelsController:
    """`api` writes with a field manager of its own. `is_synced` is whether the cache is complete,
    `may_write` whether a namespace is served by this operator, `queue` takes changed models.

    `namespaces` are those of the release's models; `refused` has the reason for each model that
    cannot be applied.
    """

    def __init__(
        self,
        cache: ClusterCache,
        api: KubeClient,
        may_write: Callable[[str], bool],
        is_synced: Callable[[], bool],
        queue: Callable[[Iterable[Key]], None],
    ) -> None:
        self._cache = cache
        self._api = api
        self._may_write = may_write
        self._is_synced = is_synced
        self._queue = queue
        self._wake = asyncio.Event()
        self.namespaces: frozenset[str] = frozenset()
        self.refused: dict[str, str] = {}

    async def run(self, interval: float = INTERVAL_SECONDS) -> None:
        """Reconcile at an interval in seconds and when woken, for ever."""
        while not self._is_synced():  # noqa: ASYNC110  (there is no event to wait for)
            await asyncio.sleep(SYNC_SECONDS)
        await repeat(self.reconcile, interval, logger, "release_models_failed", self._wake)

    def wake(self, namespace: str) -> None:
        """Reconcile soon: this operator serves the namespace now."""
        if namespace in self.namespaces:
            self._wake.set()

    async def reconcile(self) -> None:
        """Apply and delete models once. Raises ApiError and ApiUnreachable of reads."""
        settings = self._cache.settings
        found = await self._api.get(CONFIG_MAP, settings.own_namespace, settings.models_configmap)
        data = (found or {}).get("data") or {}
        if not data:
            self.namespaces, self.refused = frozenset(), {}
            return
        wanted = release_models.parse(data)
        named = {namespace for namespace, _ in wanted.manifests}
        self.namespaces = frozenset(filter(settings.shard.owns, named))
        if named and not self.namespaces:  # those of another shard
            self.refused = {}
            return
        owners = await self._owners()
        decided = plan(wanted, self._cache.models, owners)
        refused = dict(wanted.problems)
        refused |= {"/".join(key): TAKEN for key in decided.taken if self._may_write(key[0])}
        for manifest in decided.apply:
            key = (manifest["metadata"]["namespace"], manifest["metadata"]["name"])
            # An unknown model of the name must not be taken over.
            known = key in self._cache.models
            try:
                result = await self._api.apply(MODEL, manifest, force=known)
            except ApiError as error:
                refused["/".join(key)] = error.message
                continue
            self._queue(self._cache.put_model(result))
            log(logger, "applied", kind=MODEL.kind, namespace=key[0], object=key[1],
                created=not known)  # fmt: skip
        for raw in decided.delete:
            meta = raw["metadata"]
            try:
                await self._api.delete(MODEL, meta["namespace"], meta["name"], meta["uid"])
            except ApiError as error:
                refused[f"{meta['namespace']}/{meta['name']}"] = error.message
                continue
            log(logger, "deleted", kind=MODEL.kind, namespace=meta["namespace"],
                object=meta["name"])  # fmt: skip
        self._note(refused)

    async def _owners(self) -> dict[str, str]:
        """uid of the Role in each namespace that may be written to; one without it is left out."""
        owners = {}
        for namespace in sorted(self.namespaces):
            if not self._may_write(namespace):
                continue
            role = await self._api.get(ROLE, namespace, OWNER)
            if role is not None and not role["metadata"].get("deletionTimestamp"):
                owners[namespace] = role["metadata"]["uid"]
        return owners

    def _note(self, refused: dict[str, str]) -> None:
        """Log each refusal once, until it changes."""
        for name, reason in refused.items():
            if self.refused.get(name) != reason:
                log(logger, "release_model_refused", level=logging.WARNING, model=name,
                    error=reason)  # fmt: skip
        self.refused = refused
