"""Asks the addresses of `engine: remote` whether anybody answers there.

Called as a task by `run`; what it learns goes into the cache. Any HTTP answer that is not a failure
of the server or of a gateway counts: keys are the routers' and are not sent.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

import aiohttp

from fleet_contract.spec import Engine
from fleet_operator.controller.cache import ClusterCache, Key
from fleet_operator.controller.work_queue import WorkQueue
from fleet_operator.decide.observed import RemoteReport
from fleet_operator.periodic import repeat
from fleet_operator.resources.resolve import Resolver

logger = logging.getLogger(__name__)

AT_ONCE = 16
TIMEOUT_SECONDS = 5.0
ROUNDS = 15
"""An address is asked in every round of so many, a new one in the next."""
PATIENCE = 2
"""So many answers in a row must be missing before an address that answered counts as away."""
PATH = "/v1/models"


class RemoteProber:
    """One session for all addresses."""

    def __init__(
        self, cache: ClusterCache, queue: WorkQueue, resolver: Resolver, http: aiohttp.ClientSession
    ) -> None:
        self._cache = cache
        self._queue = queue
        self._resolver = resolver
        self._http = http
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._round = 0
        self._missed: dict[str, int] = {}

    async def run(self, interval: float) -> None:
        """Ask, wait, ask again."""
        await repeat(self.ask_all, interval, logger, "remote_probing_failed")

    async def ask_all(self) -> None:
        """One round."""
        present = list(self._present())
        self._round = (self._round + 1) % ROUNDS
        await asyncio.gather(
            *(
                self._ask(key, uid, address)
                for key, uid, address in present
                if self._round == 0 or uid in self._missed or not self._is_known(uid, address)
            )
        )
        left = {uid for _, uid, _ in present}
        self._cache.remotes = {
            uid: report for uid, report in self._cache.remotes.items() if uid in left
        }
        self._missed = {uid: count for uid, count in self._missed.items() if uid in left}

    def _present(self) -> Iterable[tuple[Key, str, str]]:
        for key, raw in self._cache.models.items():
            spec = self._resolver.resolve(raw).spec
            if spec is not None and spec.engine is Engine.REMOTE and spec.remote is not None:
                yield key, raw["metadata"]["uid"], spec.remote.address

    def _is_known(self, uid: str, address: str) -> bool:
        known = self._cache.remotes.get(uid)
        return known is not None and known.address == address

    async def _ask(self, key: Key, uid: str, address: str) -> None:
        async with self._slots:
            report = await fetch(self._http, address)
        known = self._cache.remotes.get(uid)
        answered = known is not None and known.address == address and known.reachable
        if report.reachable:
            self._missed.pop(uid, None)
        elif answered:
            self._missed[uid] = self._missed.get(uid, 0) + 1
            if self._missed[uid] < PATIENCE:
                return
            del self._missed[uid]
        if report != known:
            self._cache.remotes[uid] = report
            self._queue.add([key])


async def fetch(http: aiohttp.ClientSession, address: str) -> RemoteReport:
    """One question to an address."""
    try:
        async with (
            asyncio.timeout(TIMEOUT_SECONDS),
            http.get(address.rstrip("/") + PATH, allow_redirects=False) as answer,
        ):
            status = answer.status
    except TimeoutError:
        why = f"no answer within {TIMEOUT_SECONDS:.0f} s"
        return RemoteReport(address, False, f"{address} does not answer: {why}.")
    except (aiohttp.ClientError, OSError, ValueError) as error:
        why = str(error) or type(error).__name__
        return RemoteReport(address, False, f"{address} does not answer: {why}.")
    if status >= 500:
        return RemoteReport(address, False, f"{address} answers with status {status}.")
    return RemoteReport(address, True, f"{address} answers.")
