"""The objects of one kind and namespace in memory, kept current by list and watch.

Known objects stay in place while they are listed again. A namespace that was deleted, or whose
objects may not be read any more, is retried slowly and becomes empty after some time.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from fleet_kube.client import Json, KubeClient
from fleet_kube.errors import ApiError
from fleet_kube.kind import Kind
from fleet_kube.reflector import Reflector
from fleet_web.logs import event

logger = logging.getLogger(__name__)

T = TypeVar("T")
Key = tuple[str, str]

REFUSALS = 3
"""A namespace is unreadable after so many refusals in a row: rights take effect with a delay."""
KEPT_SECONDS = 600.0
"""How long the objects of an unreadable namespace are kept: a mistake in its roles must not end
the service of its models."""
SLOW_DELAY = 60.0
"""Maximum seconds between two tries to read an unreadable namespace; the minimum is half of it."""


def key_of(item: Json) -> Key:
    """Namespace and name of an object."""
    meta = item["metadata"]
    return meta.get("namespace", ""), meta["name"]


class Informer(Reflector[Key], Generic[T]):
    """`objects` by namespace and name, converted by `read`. `changed` is called with the key of
    each object that was added, changed or removed (None), and with None after a list.

    `namespace` None stands for all namespaces.
    """

    def __init__(
        self,
        client: KubeClient,
        kind: Kind,
        namespace: str | None,
        read: Callable[[Json], T],
        changed: Callable[[Key | None, T | None], None],
        selector: str = "",
    ) -> None:
        super().__init__(
            client, kind, namespace, self._store, self._remove, self._forget, key_of, selector
        )
        self._read = read
        self._changed = changed
        self._versions: dict[Key, str] = {}
        self._refusals = 0
        self._refused_at = 0.0
        self.objects: dict[Key, T] = {}
        self.synced = False
        self.unreadable = False
        """Whether the API server refuses to list the objects: 403, or 404 without the namespace."""
        self.last_response = 0.0
        """Monotonic time of the last list, event, refusal or end of a watch."""

    @property
    def settled(self) -> bool:
        """Whether `objects` is all that can be known."""
        return self.synced or self.unreadable

    async def _refused(self, error: ApiError) -> None:
        now = self.last_response = time.monotonic()
        self._refused_at = self._refused_at or now
        self._refusals += 1
        if self._refusals < REFUSALS:
            await self._back_off(str(error), error.retry_after)
            return
        if not self.unreadable:
            self.unreadable = True
            event(logger, "namespace_unreadable", level=logging.WARNING, path=self._path,
                  error=str(error))  # fmt: skip
            self._changed(None, None)
        if self.objects and now - self._refused_at >= KEPT_SECONDS:
            event(logger, "namespace_emptied", level=logging.WARNING, path=self._path,
                  objects=len(self.objects))  # fmt: skip
            self._keep_only(set())
        pause = SLOW_DELAY * random.uniform(0.5, 1.0)  # noqa: S311 (jitter)
        await asyncio.sleep(max(pause, error.retry_after))

    async def _list(self) -> None:
        await super()._list()
        self.synced = True
        self._changed(None, None)

    def _store(self, item: Json) -> None:
        """Convert one object; one that cannot be read is left out, one with a known version is not
        read again."""
        key, version = key_of(item), str(item["metadata"].get("resourceVersion", ""))
        if version and self._versions.get(key) == version:
            return
        self._versions[key] = version
        known = self.objects.pop(key, None)
        try:
            self.objects[key] = self._read(item)
        finally:
            if known is not None or key in self.objects:
                self._changed(key, self.objects.get(key))

    def _remove(self, item: Json) -> None:
        self._forget(key_of(item))

    def _forget(self, key: Key) -> None:
        self._versions.pop(key, None)
        if self.objects.pop(key, None) is not None:
            self._changed(key, None)

    def _succeeded(self) -> None:
        super()._succeeded()
        if self.unreadable:
            event(logger, "namespace_readable", path=self._path)
        self._refusals = 0
        self._refused_at = 0.0
        self.unreadable = False
        self.last_response = time.monotonic()
