"""Which namespaces this process may write to: leader election, and one owner per namespace.

One Lease in the operator's own namespace elects the leader of its replicas. The leader holds a
second Lease in every namespace with models, in the name of its release, so that a second release
that watches the same namespace changes nothing there. Shards of one release do not contend: the
Lease of a namespace that moves between them is given up by the one and awaited by the other.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress

from fleet_kube.client import KubeClient
from fleet_kube.errors import ApiError, KubeError
from fleet_operator.controller.lease import Lease, Owner, Terms
from fleet_operator.kinds import LEASE
from fleet_operator.shard import Shard, suffix_of
from fleet_web.logs import event as log

logger = logging.getLogger(__name__)

ELECTION_LEASE = "modelfleet-operator"
NAMESPACE_LEASE = "modelfleet-namespace"
ELECTION = Terms(expires=12.0, deadline=8.0)
"""A replica takes over at most 16 s after the last sign of a leader that disappeared."""
NAMESPACE = Terms(expires=120.0, deadline=80.0)
"""Long, since there may be thousands; replicas of one release do not wait for it."""
ELECTION_SECONDS = 2.0
REQUEST_SECONDS = 5.0
CHECK_SECONDS = 1.0
RENEW_SECONDS = 40.0
GIVE_UP_SECONDS = 2.0
REFUSED_SECONDS = 30.0
MOVING_SECONDS = 2.0
UNREADABLE_SECONDS = 60.0
ERROR_SECONDS = 2.0
"""Seconds between two requests for a Lease: of the election; of a namespace that is held; that is
given up; that another release holds; that another shard holds; that is forbidden or deleted; and
after another error."""
CONCURRENT = 10
RELEASE_SECONDS = 15.0
"""Less than a pod has to end; Leases that were not given up by then expire."""


class Leadership:
    """`served` returns the namespaces with models; `changed` is called with each namespace that
    became writable, or whose contender changed. `owner` is an object in the operator's own
    namespace: the Leases there are deleted with it."""

    def __init__(
        self,
        api: KubeClient,
        own_namespace: str,
        pod: str,
        shard: Shard,
        served: Callable[[], set[str]],
        changed: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        owner: Owner | None = None,
    ) -> None:
        self._api = api
        self._clock = clock
        self._own_namespace = own_namespace
        self._owner = owner
        self._holder = own_namespace + shard.suffix
        self._election = self._lease(own_namespace, ELECTION_LEASE + shard.suffix, pod, ELECTION)
        self._served = served
        self._changed = changed
        self._leases: dict[str, Lease] = {}
        self._giving_up: dict[str, Lease] = {}
        self._due: dict[str, float] = {}
        self._contenders: dict[str, str] = {}
        self._wake = asyncio.Event()
        self._led = False
        self._acquisitions = 0
        self._logged: dict[str, str] = {}
        self.problem = ""
        """Why the election cannot be held, such as a missing permission; "" if it can."""

    @property
    def leads(self) -> bool:
        """Whether this process is the leader among its replicas."""
        return self._election.held

    @property
    def refused(self) -> set[str]:
        """Namespaces with models that another release holds."""
        return {
            name
            for name, lease in self._leases.items()
            if lease.other and not lease.held and self._shard(lease.other) is None
        }

    def may_write(self, namespace: str) -> bool:
        """Whether objects in a namespace may be changed now."""
        lease = self._leases.get(namespace)
        if lease is None:
            self._wake.set()
        return self.leads and lease is not None and lease.held

    def contender(self, namespace: str) -> str:
        """Another release that tried to serve a namespace that this one holds, or ""."""
        lease = self._leases.get(namespace)
        return lease.contender if lease is not None and lease.held else ""

    async def run(self) -> None:
        """Hold the Leases, for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._run_election())
            group.create_task(self._run_namespaces())
            group.create_task(self._run_giving_up())

    async def release(self, serves: Callable[[str], bool] = lambda _: True) -> None:
        """Let another replica lead at once, and other shards serve what this one no longer does."""
        if self.leads:
            served = {name for name in self._served() if serves(name)}
            self._forget(self._leases.keys() - served)
            with suppress(TimeoutError):
                async with asyncio.timeout(RELEASE_SECONDS):
                    await self.give_up_namespaces()
        await self._give_up(self._election)

    async def elect(self) -> None:
        """Try to become or stay the leader once."""
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                await self._election.renew()
            self.problem = ""
        except (KubeError, TimeoutError) as error:
            problem = str(error) or "timeout"
            # An unreachable API server passes; a refusal needs other permissions.
            if isinstance(error, ApiError) and problem != self.problem:
                log(logger, "lease_refused", level=logging.ERROR, lease=ELECTION_LEASE,
                    error=problem)  # fmt: skip
            self.problem = problem
        if self.leads != self._led:
            self._led = self.leads
            log(logger, "leading" if self._led else "not_leading", holder=self._election.other)
        if self._election.acquisitions != self._acquisitions:
            self._acquisitions = self._election.acquisitions
            # Reconciles that were skipped while another replica led, or while the Lease had lapsed
            # during a slow renewal.
            for namespace, lease in self._leases.items():
                if lease.held:
                    self._changed(namespace)
            self._wake.set()

    async def hold_namespaces(self) -> None:
        """Acquire or renew the Leases that are due, of the namespaces with models."""
        wanted = self._served()
        self._forget(self._leases.keys() - wanted)
        for namespace in self._giving_up.keys() & wanted:
            del self._giving_up[namespace]
        now = self._clock()
        due = [name for name in wanted if self._due.get(name, 0.0) <= now]
        free = asyncio.Semaphore(CONCURRENT)

        async def hold(namespace: str) -> None:
            async with free:
                self._due[namespace] = self._clock() + await self._hold(namespace)

        async with asyncio.TaskGroup() as group:
            for namespace in due:
                group.create_task(hold(namespace))

    async def give_up_namespaces(self) -> None:
        """Give up the Leases of namespaces without models; those that fail are kept for later."""
        free = asyncio.Semaphore(CONCURRENT)

        async def give_up(namespace: str, lease: Lease) -> None:
            async with free:
                done = await self._give_up(lease)
            if done and self._giving_up.get(namespace) is lease:
                del self._giving_up[namespace]
                self._logged.pop(namespace, None)

        async with asyncio.TaskGroup() as group:
            for namespace, lease in self._giving_up.items():
                group.create_task(give_up(namespace, lease))

    async def _run_election(self) -> None:
        while True:
            await self.elect()
            await asyncio.sleep(ELECTION_SECONDS)

    async def _run_namespaces(self) -> None:
        while True:
            self._wake.clear()
            if self.leads:
                await self.hold_namespaces()
            try:
                async with asyncio.timeout(CHECK_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _run_giving_up(self) -> None:
        """Apart from the renewals, which must not wait for it."""
        while True:
            if self.leads:
                await self.give_up_namespaces()
            await asyncio.sleep(GIVE_UP_SECONDS)

    def _forget(self, namespaces: set[str]) -> None:
        """Write no more to namespaces; their Leases are given up next."""
        for namespace in namespaces:
            self._giving_up[namespace] = self._leases.pop(namespace)
            for known in (self._due, self._contenders, self._logged):
                known.pop(namespace, None)

    async def _give_up(self, lease: Lease) -> bool:
        """Give up a Lease; returns False if it is worth trying again. Errors are logged only."""
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                return await lease.release()
        except (KubeError, TimeoutError) as error:
            self._log(lease.namespace, "lease_kept", error=str(error) or "timeout")
            return isinstance(error, ApiError) and not error.may_pass

    def _lease(self, namespace: str, name: str, holder: str, terms: Terms) -> Lease:
        owner = self._owner if namespace == self._own_namespace else None
        return Lease(self._api, namespace, name, holder, terms, self._clock, owner)

    async def _hold(self, namespace: str) -> float:
        """Acquire or renew one Lease; returns the seconds until the next time."""
        lease = self._leases.get(namespace)
        if lease is None:
            lease = self._lease(namespace, NAMESPACE_LEASE, self._holder, NAMESPACE)
            self._leases[namespace] = lease
        before = lease.acquisitions
        try:
            held = await self._renew(lease)
        except ApiError as error:
            self._log(namespace, "namespace_lease_failed", error=str(error))
            return UNREADABLE_SECONDS if error.status in (403, 404) else ERROR_SECONDS
        except KubeError as error:
            self._log(namespace, "namespace_lease_failed", error=str(error))
            return ERROR_SECONDS
        if not held:
            if not lease.other:  # lost a race to create it
                return 0.0
            if self._shard(lease.other) is not None:
                self._log(namespace, "namespace_moving", holder=lease.other,
                          hint="waits until that shard gives it up")  # fmt: skip
                return MOVING_SECONDS
            self._log(namespace, "namespace_refused", holder=lease.other,
                      hint="another release serves this namespace")  # fmt: skip
            return REFUSED_SECONDS
        self._logged.pop(namespace, None)
        if lease.acquisitions != before or self._contenders.get(namespace, "") != lease.contender:
            self._contenders[namespace] = lease.contender
            self._changed(namespace)
        return RENEW_SECONDS

    async def _renew(self, lease: Lease) -> bool:
        """Acquire or renew the Lease of a namespace. Raises ApiError and ApiUnreachable."""
        held = await lease.renew()
        if held or not lease.other:
            return held
        shard = self._shard(lease.other)
        if shard is None:
            await lease.contend()
            return False
        # Without an election no process writes as this shard: it was stopped, or N has changed.
        if await self._api.get(LEASE, self._own_namespace, ELECTION_LEASE + shard) is None:
            return await lease.renew(ended=lease.other)
        return False

    def _shard(self, holder: str) -> str | None:
        """The suffix of a shard of this release; None if the holder is another release."""
        return suffix_of(holder, self._own_namespace)

    def _log(self, namespace: str, what: str, **fields: str) -> None:
        """Log a problem of a namespace once, until it changes."""
        if self._logged.get(namespace) != f"{what} {fields}":
            self._logged[namespace] = f"{what} {fields}"
            log(logger, what, level=logging.WARNING, namespace=namespace, **fields)
