"""A collection of Kubernetes objects, kept as it is on the cluster by list and watch.

`kube_source` has one for each kind and namespace. After a connection that ended the watch goes on
where it was; when that is too long ago the collection is listed anew (410), and what was known
serves meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from contextlib import aclosing
from typing import Generic, TypeVar

from fleet_router.kube.client import GONE, Json, KubeClient, KubeError
from fleet_web.logs import event

logger = logging.getLogger(__name__)

T = TypeVar("T")
Key = tuple[str, str]

WATCH_SECONDS = (120, 180)
"""A watch's length: bounded, so that one that died unnoticed is soon replaced."""
FIRST_DELAY = 0.25
LONGEST_DELAY = 30.0


class Informer(Generic[T]):
    """`objects` by namespace and name, as `read` made them; `changed` hears of every change."""

    def __init__(
        self,
        client: KubeClient,
        path: str,
        read: Callable[[Json], T],
        changed: Callable[[], None],
        selector: str = "",
    ) -> None:
        self._client = client
        self._path = path
        self._read = read
        self._changed = changed
        self._selector = selector
        self._version = ""
        self._failures = 0
        self.objects: dict[Key, T] = {}
        self.synced = False
        self.heard = 0.0
        """When the cluster last answered, on the monotonic clock."""

    async def follow(self) -> None:
        """Keep `objects` fresh, for ever; whatever goes wrong is logged and tried again."""
        while True:
            try:
                if not self._version:
                    await self._list()
                await self._watch()
            except KubeError as error:
                if error.status == GONE:
                    self._version = ""
                    event(logger, "watch_expired", path=self._path)
                else:
                    await self._pause(str(error), error.after)
            except Exception as error:
                # Whatever the server sent: a watch that ended would leave the routes stale.
                logger.error("unexpected error on %s", self._path, exc_info=error)
                self._version = ""
                await self._pause(repr(error))

    async def _pause(self, why: str, at_least: float = 0.0) -> None:
        self._failures += 1
        seconds = max(delay(self._failures), at_least)
        event(logger, "watch_failed", level=logging.WARNING, path=self._path, error=why,
              retry_in=round(seconds, 2))  # fmt: skip
        await asyncio.sleep(seconds)

    async def _list(self) -> None:
        items, version = await self._client.list(self._path, self._selector)
        self.objects = {}
        for item in items:
            self._put(item)
        self._version = version
        self.synced = True
        self._good()
        self._changed()

    async def _watch(self) -> None:
        seconds = random.randint(*WATCH_SECONDS)  # noqa: S311 (spreads load, guards nothing)
        events = self._client.watch(self._path, self._selector, self._version, seconds)
        async with aclosing(events):
            async for kind, item in events:
                self._good()
                self._apply(kind, item)
        self._good()

    def _apply(self, kind: str, item: Json) -> None:
        if kind == "DELETED":
            self.objects.pop(_key(item), None)
        elif kind != "BOOKMARK":
            self._put(item)
        self._version = str(item["metadata"]["resourceVersion"])
        if kind != "BOOKMARK":
            self._changed()

    def _put(self, item: Json) -> None:
        """One object that cannot be read must not hide all others."""
        try:
            self.objects[_key(item)] = self._read(item)
        except Exception as error:
            self.objects.pop(_key(item), None)
            logger.error("an object of %s cannot be read", self._path, exc_info=error)

    def _good(self) -> None:
        self._failures = 0
        self.heard = time.monotonic()


def delay(failures: int) -> float:
    """Seconds to wait after so many failures in a row: doubled each time, half of it by chance."""
    whole = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(failures - 1, 16))
    return whole * (0.5 + random.random() / 2)  # noqa: S311 (spreads load, guards nothing)


def _key(item: Json) -> Key:
    meta = item["metadata"]
    return meta.get("namespace", ""), meta["name"]
