"""Probes the addresses of models with `engine: remote`.

Any HTTP response with a status below 500 counts as reachable. No API key is sent, since only the
routers have them. Results go into the cache.
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
"""Rounds between two probes of a known address; a new one is probed in the next round."""
PATIENCE = 2
"""Failed probes in a row after which a reachable address counts as unreachable."""
PATH = "/v1/models"


class RemoteProber:
    """Probes all addresses with one HTTP session."""

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
        """Probe at an interval, in seconds, for ever."""
        await repeat(self.probe_all, interval, logger, "remote_probing_failed")

    async def probe_all(self) -> None:
        """Probe the addresses that are due in this round."""
        present = list(self._present())
        self._round = (self._round + 1) % ROUNDS
        await asyncio.gather(
            *(
                self._probe(key, uid, address)
                for key, uid, address in present
                # One that failed is probed again at once: PATIENCE rounds, not PATIENCE * ROUNDS.
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

    async def _probe(self, key: Key, uid: str, address: str) -> None:
        async with self._slots:
            report = await fetch(self._http, address)
        known = self._cache.remotes.get(uid)
        was_reachable = known is not None and known.address == address and known.reachable
        if report.reachable:
            self._missed.pop(uid, None)
        elif was_reachable:
            self._missed[uid] = self._missed.get(uid, 0) + 1
            if self._missed[uid] < PATIENCE:
                return
            del self._missed[uid]
        if report != known:
            self._cache.remotes[uid] = report
            self._queue.add([key])


async def fetch(http: aiohttp.ClientSession, address: str) -> RemoteReport:
    """Probe one address; the report's message is for the status of the model."""
    try:
        async with (
            asyncio.timeout(TIMEOUT_SECONDS),
            http.get(address.rstrip("/") + PATH, allow_redirects=False) as response,
        ):
            status = response.status
    except TimeoutError:
        why = f"no response within {TIMEOUT_SECONDS:.0f} s"
        return RemoteReport(address, False, f"{address} does not respond: {why}.")
    except (aiohttp.ClientError, OSError, ValueError) as error:
        why = str(error) or type(error).__name__
        return RemoteReport(address, False, f"{address} does not respond: {why}.")
    if status >= 500:
        return RemoteReport(address, False, f"{address} responds with status {status}.")
    return RemoteReport(address, True, f"{address} responds.")
