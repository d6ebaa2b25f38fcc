"""The objects of one kind and namespace, kept current by list and watch.

A watch that ends is resumed at the last resourceVersion. If that has expired (410) the objects are
listed again; until then the known ones stay in place. A namespace that was deleted, or whose
objects may not be read any more, is retried slowly and becomes empty after some time. (The
`kubernetes` package's informer needs a thread for each kind.)
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from contextlib import aclosing
from typing import Generic, TypeVar

from fleet_kube.backoff import delay
from fleet_kube.client import GONE, Json, KubeClient
from fleet_kube.errors import ApiError, KubeError
from fleet_kube.kind import Kind
from fleet_web.logs import event

logger = logging.getLogger(__name__)

T = TypeVar("T")
Key = tuple[str, str]

WATCH_SECONDS = (120, 180)
"""Bounds of a watch's length: a connection that died unnoticed is replaced by then."""
FIRST_DELAY = 0.25
LONGEST_DELAY = 30.0
"""Seconds before the first retry, and at most."""
REFUSALS = 3
"""A namespace is unreadable after so many refusals in a row: rights take effect with a delay."""
KEPT_SECONDS = 600.0
"""How long the objects of an unreadable namespace are kept: a mistake in its roles must not end
the service of its models."""
SLOW_DELAY = 60.0
"""Maximum seconds between two tries to read an unreadable namespace; the minimum is half of it."""
SLICE = 100
"""Objects of a list that are read before other tasks run."""


class Informer(Generic[T]):
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
        self._client = client
        self.kind = kind
        self.namespace = namespace
        self._path = kind.path(namespace)
        self._read = read
        self._changed = changed
        self._selector = selector
        self._version = ""
        self._versions: dict[Key, str] = {}
        self._failures = 0
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

    async def follow(self) -> None:
        """Keep `objects` current, for ever; errors are logged and retried."""
        while True:
            try:
                if not self._version:
                    await self._list()
                await self._watch()
            except ApiError as error:
                if error.status == GONE:
                    self._version = ""
                    event(logger, "watch_expired", path=self._path)
                elif error.is_unreadable:
                    await self._refused(str(error), error.retry_after)
                else:
                    await self._back_off(str(error), error.retry_after)
            except KubeError as error:
                await self._back_off(str(error))
            except Exception as error:
                # Without this task the objects would go stale, so no response may end it.
                logger.error("unexpected error on %s", self._path, exc_info=error)
                self._version = ""
                await self._back_off(repr(error))

    async def _refused(self, why: str, retry_after: float) -> None:
        now = self.last_response = time.monotonic()
        self._version = ""  # a namespace that is created again has other objects
        self._refused_at = self._refused_at or now
        self._refusals += 1
        if self._refusals < REFUSALS:
            await self._back_off(why, retry_after)
            return
        if not self.unreadable:
            self.unreadable = True
            event(logger, "namespace_unreadable", level=logging.WARNING, path=self._path, error=why)
            self._changed(None, None)
        if self.objects and now - self._refused_at >= KEPT_SECONDS:
            event(logger, "namespace_emptied", level=logging.WARNING, path=self._path,
                  objects=len(self.objects))  # fmt: skip
            await self._replace([])
        self._failures += 1
        await asyncio.sleep(max(SLOW_DELAY * random.uniform(0.5, 1.0), retry_after))  # noqa: S311

    async def _back_off(self, why: str, at_least: float = 0.0) -> None:
        self._failures += 1
        seconds = max(delay(self._failures, FIRST_DELAY, LONGEST_DELAY), at_least)
        event(logger, "watch_failed", level=logging.WARNING, path=self._path, error=why,
              retry_in=round(seconds, 2))  # fmt: skip
        await asyncio.sleep(seconds)

    async def _list(self) -> None:
        items, version = await self._client.snapshot(self.kind, self.namespace, self._selector)
        await self._replace(items)
        self._version = version
        self.synced = True
        self._succeeded()
        self._changed(None, None)

    async def _replace(self, items: list[Json]) -> None:
        """Make `items` the known objects; those with a known version are not read again."""
        listed = set()
        for index, item in enumerate(items):
            listed.add(_key(item))
            self._put(item)
            if index % SLICE == SLICE - 1:
                await asyncio.sleep(0)  # streams in progress go first
        for key in [key for key in self._versions if key not in listed]:
            self._drop(key)

    async def _watch(self) -> None:
        seconds = random.randint(*WATCH_SECONDS)  # noqa: S311 (spreads load, not a secret)
        events = self._client.watch(
            self.kind, self.namespace, self._selector, self._version, seconds
        )
        async with aclosing(events):
            async for kind, item in events:
                self._succeeded()
                self._apply(kind, item)
        self._succeeded()

    def _apply(self, kind: str, item: Json) -> None:
        if kind == "DELETED":
            self._drop(_key(item))
        elif kind != "BOOKMARK":
            self._put(item)
        self._version = str(item["metadata"]["resourceVersion"])

    def _put(self, item: Json) -> None:
        """Convert one object; one that cannot be read is left out, and the others stay."""
        key, version = _key(item), str(item["metadata"].get("resourceVersion", ""))
        if version and self._versions.get(key) == version:
            return
        try:
            self.objects[key] = self._read(item)
        except Exception as error:
            self.objects.pop(key, None)
            logger.error("an object of %s cannot be read", self._path, exc_info=error)
        self._versions[key] = version
        self._changed(key, self.objects.get(key))

    def _drop(self, key: Key) -> None:
        self._versions.pop(key, None)
        if self.objects.pop(key, None) is not None:
            self._changed(key, None)

    def _succeeded(self) -> None:
        if self.unreadable:
            event(logger, "namespace_readable", path=self._path)
        self._failures = self._refusals = 0
        self._refused_at = 0.0
        self.unreadable = False
        self.last_response = time.monotonic()


def _key(item: Json) -> Key:
    meta = item["metadata"]
    return meta.get("namespace", ""), meta["name"]
