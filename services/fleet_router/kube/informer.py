"""The objects of one kind and namespace, kept current by list and watch.

A watch that ends is resumed at the last resourceVersion. If that has expired (410) the objects are
listed again; until then the known ones stay in place. (The `kubernetes` package's informer needs a
thread for each kind.)
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from contextlib import aclosing
from typing import Generic, TypeVar

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


class Informer(Generic[T]):
    """`objects` by namespace and name, converted by `read`; `changed` is called after a change.

    `namespace` None stands for all namespaces.
    """

    def __init__(
        self,
        client: KubeClient,
        kind: Kind,
        namespace: str | None,
        read: Callable[[Json], T],
        changed: Callable[[], None],
        selector: str = "",
    ) -> None:
        self._client = client
        self._kind = kind
        self._namespace = namespace
        self._path = kind.path(namespace)
        self._read = read
        self._changed = changed
        self._selector = selector
        self._version = ""
        self._failures = 0
        self.objects: dict[Key, T] = {}
        self.synced = False
        self.last_response = 0.0
        """Monotonic time of the last list, event or end of a watch."""

    async def follow(self) -> None:
        """Keep `objects` current, for ever; errors are logged and retried."""
        while True:
            try:
                if not self._version:
                    await self._list()
                await self._watch()
            except KubeError as error:
                status, retry_after = 0, 0.0
                if isinstance(error, ApiError):
                    status, retry_after = error.status, error.retry_after
                if status == GONE:
                    self._version = ""
                    event(logger, "watch_expired", path=self._path)
                else:
                    await self._back_off(str(error), retry_after)
            except Exception as error:
                # Without this task the objects would go stale, so no response may end it.
                logger.error("unexpected error on %s", self._path, exc_info=error)
                self._version = ""
                await self._back_off(repr(error))

    async def _back_off(self, why: str, at_least: float = 0.0) -> None:
        self._failures += 1
        seconds = max(delay(self._failures), at_least)
        event(logger, "watch_failed", level=logging.WARNING, path=self._path, error=why,
              retry_in=round(seconds, 2))  # fmt: skip
        await asyncio.sleep(seconds)

    async def _list(self) -> None:
        items, version = await self._client.snapshot(self._kind, self._namespace, self._selector)
        self.objects = {}
        for item in items:
            self._put(item)
        self._version = version
        self.synced = True
        self._succeeded()
        self._changed()

    async def _watch(self) -> None:
        seconds = random.randint(*WATCH_SECONDS)  # noqa: S311 (spreads load, not a secret)
        events = self._client.watch(
            self._kind, self._namespace, self._selector, self._version, seconds
        )
        async with aclosing(events):
            async for kind, item in events:
                self._succeeded()
                self._apply(kind, item)
        self._succeeded()

    def _apply(self, kind: str, item: Json) -> None:
        if kind == "DELETED":
            self.objects.pop(_key(item), None)
        elif kind != "BOOKMARK":
            self._put(item)
        self._version = str(item["metadata"]["resourceVersion"])
        if kind != "BOOKMARK":
            self._changed()

    def _put(self, item: Json) -> None:
        """Convert one object; one that cannot be read is left out, and the others stay."""
        try:
            self.objects[_key(item)] = self._read(item)
        except Exception as error:
            self.objects.pop(_key(item), None)
            logger.error("an object of %s cannot be read", self._path, exc_info=error)

    def _succeeded(self) -> None:
        self._failures = 0
        self.last_response = time.monotonic()


def delay(failures: int) -> float:
    """Seconds to wait after `failures` in a row: exponential, with jitter of up to a half."""
    whole = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(failures - 1, 16))
    return whole * (0.5 + random.random() / 2)  # noqa: S311 (spreads load, not a secret)


def _key(item: Json) -> Key:
    meta = item["metadata"]
    return meta.get("namespace", ""), meta["name"]
