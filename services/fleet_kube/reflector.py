"""Delivers the objects of one kind and namespace by list and watch, like a reflector of client-go.

Objects are passed on page by page as they are read, and none is kept. A watch that ends is resumed
at the last resourceVersion. If that has expired (410), the objects are listed again, and those that
are gone are reported. A namespace that cannot be read is tried again at long intervals. (The
`kubernetes` package's informer needs a thread for each kind.)
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from contextlib import aclosing
from typing import Any, Generic, TypeVar

from fleet_kube.backoff import delay
from fleet_kube.client import GONE, Json, KubeClient
from fleet_kube.errors import ApiError, KubeError
from fleet_kube.kind import Kind

logger = logging.getLogger(__name__)

Id = TypeVar("Id")

WATCH_SECONDS = (120, 180)
"""Bounds of a watch's length: a connection that died unnoticed is replaced by then."""
FIRST_DELAY = 0.25
LONGEST_DELAY = 10.0
"""Seconds before the first retry, and at most."""
UNREADABLE_SECONDS = 60.0
SLICE = 100
"""Objects of a list that are delivered before other tasks run."""


def uid_of(item: Json) -> str:
    """The uid of an object."""
    return str(item["metadata"].get("uid", ""))


class Reflector(Generic[Id]):
    """`put` and `drop` get whole objects, `gone` the identity of those that a list lacks.

    `namespace` None stands for all namespaces.
    """

    def __init__(
        self,
        client: KubeClient,
        kind: Kind,
        namespace: str | None,
        put: Callable[[Json], None],
        drop: Callable[[Json], None],
        gone: Callable[[Id], None],
        identity: Callable[[Json], Id],
        selector: str = "",
    ) -> None:
        self.kind = kind
        self.namespace = namespace
        self._client = client
        self._path = kind.path(namespace)
        self._put = put
        self._drop = drop
        self._gone = gone
        self._id = identity
        self._selector = selector
        self._version = ""
        self._known: set[Id] = set()
        self._failures = 0

    async def follow(self) -> None:
        """Deliver objects, for ever; errors are logged and retried."""
        while True:
            try:
                if not self._version:
                    await self._list()
                await self._watch()
            except ApiError as error:
                if error.status == GONE:
                    self._version = ""
                elif error.is_unreadable:
                    self._version = ""  # a namespace that is created again has other objects
                    await self._refused(error)
                else:
                    await self._back_off(str(error), error.retry_after)
            except KubeError as error:
                await self._back_off(str(error))
            except Exception as error:
                # Without this task the objects would go stale, so no response may end it.
                logger.error("unexpected error on %s", self._path, exc_info=error)
                self._version = ""
                await self._back_off(repr(error))

    async def _refused(self, error: ApiError) -> None:
        """Wait after a 403 or 404."""
        if self.namespace is None:
            await self._back_off(str(error), error.retry_after)
        else:
            await asyncio.sleep(max(UNREADABLE_SECONDS, error.retry_after))

    def _succeeded(self) -> None:
        """After a list, an event, and the end of a watch."""
        self._failures = 0

    async def _list(self) -> None:
        listed: set[Id] = set()
        version = ""
        pages = self._client.pages(self.kind, self.namespace, self._selector)
        async with aclosing(pages):
            async for items, version in pages:  # noqa: B007 (that of the last page)
                for number, item in enumerate(items, 1):
                    # Items of a list lack both, objects of watch events have them.
                    item["apiVersion"], item["kind"] = self.kind.api_version, self.kind.kind
                    listed.add(self._id(item))
                    self._deliver(self._put, item)
                    if number % SLICE == 0:
                        await asyncio.sleep(0)  # streams in progress go first
                self._known |= listed
                await asyncio.sleep(0)
        self._keep_only(listed)
        # Set last: a list that fails in between starts over.
        self._version = version
        self._succeeded()

    def _keep_only(self, listed: set[Id]) -> None:
        """Report the known objects that are not in `listed`."""
        gone, self._known = self._known - listed, listed
        for identity in gone:
            self._gone(identity)

    async def _watch(self) -> None:
        seconds = random.randint(*WATCH_SECONDS)  # noqa: S311 (spreads load, not a secret)
        events = self._client.watch(
            self.kind, self.namespace, self._selector, self._version, seconds
        )
        async with aclosing(events):
            async for change, item in events:
                self._succeeded()
                if change == "DELETED":
                    self._known.discard(self._id(item))
                    self._deliver(self._drop, item)
                elif change != "BOOKMARK":
                    self._known.add(self._id(item))
                    self._deliver(self._put, item)
                self._version = str(item["metadata"]["resourceVersion"])
        self._succeeded()

    def _deliver(self, to: Callable[[Json], Any], item: Json) -> None:
        """Pass on one object; one that cannot be read does not hold up the others."""
        try:
            to(item)
        except Exception as error:
            logger.error("an object of %s cannot be read", self._path, exc_info=error)

    async def _back_off(self, why: str, at_least: float = 0.0) -> None:
        self._failures += 1
        seconds = max(delay(self._failures, FIRST_DELAY, LONGEST_DELAY), at_least)
        fields = {"path": self._path, "error": why, "retry_in": round(seconds, 2)}
        logger.warning("watch_failed", extra={"fields": fields})
        await asyncio.sleep(seconds)
