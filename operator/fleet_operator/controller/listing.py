"""Lists what exists in the watched namespaces; one that was deleted or is forbidden is empty.

Such a namespace is tried again at intervals.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from fleet_kube.client import Json, KubeClient
from fleet_kube.errors import ApiError
from fleet_kube.kind import Kind
from fleet_operator.kinds import MODEL, NODE, POD
from fleet_operator.shard import Shard
from fleet_web.logs import event as log

logger = logging.getLogger(__name__)

RETRY_SECONDS = 60.0
LOST_SECONDS = 300.0
"""A namespace unreadable for this long counts as deleted; until then its roles may be changing."""


class Listing:
    """`namespaces` is empty for the whole cluster."""

    def __init__(
        self,
        api: KubeClient,
        namespaces: tuple[str, ...],
        shard: Shard,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api = api
        self._namespaces: tuple[str | None, ...] = namespaces or (None,)
        self._shard = shard
        self._clock = clock
        self._since: dict[str, float] = {}
        self._retry: dict[str, float] = {}

    @property
    def unreadable(self) -> set[str]:
        """Namespaces that cannot be read at present."""
        return set(self._since)

    @property
    def in_doubt(self) -> bool:
        """Whether a namespace became unreadable so recently that its objects may still exist."""
        return any(self._clock() - since < LOST_SECONDS for since in self._since.values())

    async def metadata(self, kind: Kind, selector: str = "") -> AsyncGenerator[Json, None]:
        """The metadata of all objects of a kind that concern this shard.

        Raises ApiError, except for a namespace that cannot be read, and ApiUnreachable.
        """
        for namespace in self._namespaces if kind.namespaced else (None,):
            if namespace is not None and self._retry.get(namespace, 0.0) > self._clock():
                continue
            pages = self._api.pages(kind, namespace, selector, metadata_only=True)
            try:
                async with aclosing(pages):
                    async for items, _ in pages:
                        for item in items:
                            if self._concerns(kind, selector, item["metadata"]):
                                yield item["metadata"]
            except ApiError as error:
                if namespace is None or not error.is_unreadable:
                    raise
                self._failed(namespace, error)
            else:
                self._succeeded(namespace)

    def _concerns(self, kind: Kind, selector: str, meta: Json) -> bool:
        """Objects of models of other shards are not cached, but their claims and requests are."""
        if kind not in (MODEL, POD, NODE) or selector:
            return self._shard.owns(meta["namespace"])
        return True

    def _failed(self, namespace: str, error: ApiError) -> None:
        now = self._clock()
        self._retry[namespace] = now + RETRY_SECONDS
        if namespace not in self._since:
            self._since[namespace] = now
            log(logger, "namespace_unreadable", level=logging.WARNING, namespace=namespace,
                error=str(error), retry_in=RETRY_SECONDS)  # fmt: skip

    def _succeeded(self, namespace: str | None) -> None:
        if namespace is not None and self._since.pop(namespace, None) is not None:
            self._retry.pop(namespace, None)
            log(logger, "namespace_readable", namespace=namespace)
