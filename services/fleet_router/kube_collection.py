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
from typing import Generic, TypeVar

from fleet_router.kube_client import GONE, Json, KubeClient, KubeError
from fleet_web.logs import event

logger = logging.getLogger(__name__)

T = TypeVar("T")
Key = tuple[str, str]

WATCH_SECONDS = (120, 180)
"""A watch's length: bounded, so that one that died unnoticed is soon replaced."""
FIRST_DELAY = 0.25
LONGEST_DELAY = 30.0


class Collection(Generic[T]):
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
                    self._failures += 1
                    pause = max(delay(self._failures), error.after)
                    event(logger, "watch_failed", level=logging.WARNING, path=self._path,
                          error=str(error), retry_in=round(pause, 2))  # fmt: skip
                    await asyncio.sleep(pause)

    async def _list(self) -> None:
        items, version = await self._client.list(self._path, self._selector)
        self.objects = {_key(item): self._read(item) for item in items}
        self._version = version
        self.synced = True
        self._good()
        self._changed()

    async def _watch(self) -> None:
        seconds = random.randint(*WATCH_SECONDS)  # noqa: S311 (spreads load, guards nothing)
        events = self._client.watch(self._path, self._selector, self._version, seconds)
        async for kind, item in events:
            self._good()
            self._version = str(item["metadata"]["resourceVersion"])
            if kind == "BOOKMARK":
                continue
            if kind == "DELETED":
                self.objects.pop(_key(item), None)
            else:
                self.objects[_key(item)] = self._read(item)
            self._changed()
        self._good()

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
