"""Delivers the objects of one kind and namespace by list and watch, page by page.

Objects are passed on as they are read and none is kept, so that memory does not grow with foreign
objects. A relist reports what was deleted meanwhile. A namespace that cannot be read is tried again
at long intervals.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from contextlib import aclosing

from fleet_kube.backoff import delay
from fleet_kube.client import GONE, Json, KubeClient
from fleet_kube.errors import ApiError, KubeError
from fleet_kube.kind import Kind
from fleet_operator.controller.listing import RETRY_SECONDS
from fleet_web.logs import event as log

logger = logging.getLogger(__name__)

WATCH_SECONDS = (240, 300)
"""Bounds of a watch's length: a connection that died unnoticed is replaced by then."""
FIRST_DELAY = 0.5
LONGEST_DELAY = 10.0
"""Seconds before the first retry, and at most."""


class Reflector:
    """`put` and `drop` get whole objects, `gone` the uids of those that a relist lacks."""

    def __init__(
        self,
        api: KubeClient,
        kind: Kind,
        namespace: str | None,
        put: Callable[[Json], None],
        drop: Callable[[Json], None],
        gone: Callable[[str], None],
    ) -> None:
        self._api = api
        self._kind = kind
        self._namespace = namespace
        self._path = kind.path(namespace)
        self._put = put
        self._drop = drop
        self._gone = gone
        self._version = ""
        self._failures = 0
        self._uids: set[str] = set()

    async def follow(self) -> None:
        """Deliver objects, for ever; errors are logged and retried."""
        while True:
            try:
                if not self._version:
                    await self.relist()
                await self._watch()
            except ApiError as error:
                if error.status == GONE:
                    self._version = ""
                elif self._namespace is not None and error.is_unreadable:
                    self._version = ""  # the namespace may be another one when it is back
                    await asyncio.sleep(RETRY_SECONDS)
                else:
                    await self._back_off(str(error), error.retry_after)
            except KubeError as error:
                await self._back_off(str(error))
            except Exception as error:
                # Without this task the cache would go stale, so no response may end it.
                logger.error("unexpected error on %s", self._path, exc_info=error)
                self._version = ""
                await self._back_off(repr(error))

    async def relist(self) -> None:
        """Deliver all objects, and the deletion of those that were known and are gone."""
        listed: set[str] = set()
        pages = self._api.pages(self._kind, self._namespace)
        version = ""
        async with aclosing(pages):
            async for items, listed_at in pages:
                version = listed_at
                for item in items:
                    listed.add(item["metadata"]["uid"])
                    # Items of a list lack both, objects of watch events have them.
                    item["apiVersion"], item["kind"] = self._kind.api_version, self._kind.kind
                    self._deliver(self._put, item)
                await asyncio.sleep(0)  # a long list must not hold up all other tasks
        for uid in self._uids - listed:
            self._gone(uid)
        self._uids = listed
        # Set last: a list that fails in between starts over.
        self._version = version
        self._failures = 0

    async def _watch(self) -> None:
        seconds = random.randint(*WATCH_SECONDS)  # noqa: S311 (spreads load, not a secret)
        events = self._api.watch(self._kind, self._namespace, "", self._version, seconds)
        async with aclosing(events):
            async for change, item in events:
                self._failures = 0
                uid = item["metadata"].get("uid", "")
                if change == "DELETED":
                    self._uids.discard(uid)
                    self._deliver(self._drop, item)
                elif change != "BOOKMARK":
                    self._uids.add(uid)
                    self._deliver(self._put, item)
                self._version = str(item["metadata"]["resourceVersion"])
        self._failures = 0

    def _deliver(self, to: Callable[[Json], None], item: Json) -> None:
        """Pass on one object; one that cannot be read does not hold up the others."""
        try:
            to(item)
        except Exception as error:
            logger.error("an object of %s cannot be read", self._path, exc_info=error)

    async def _back_off(self, why: str, at_least: float = 0.0) -> None:
        self._failures += 1
        seconds = max(delay(self._failures, FIRST_DELAY, LONGEST_DELAY), at_least)
        log(logger, "watch_failed", level=logging.WARNING, path=self._path, error=why,
            retry_in=round(seconds, 2))  # fmt: skip
        await asyncio.sleep(seconds)
