"""A model of a fleet and its servers, which start and stop together."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence

from fleet_contract.api.load_report import ReportedLoad
from fleet_contract.blocks.wake import next_wake
from fleet_contract.spec import ModelSpec
from fleet_local.demand import progress
from fleet_local.demand.decide import Candidate, State
from fleet_local.errors import StartError
from fleet_local.processes.service import Service
from fleet_prepare.prepare import PreparedModel
from fleet_web.supervise import keep_running

FAILED_SECONDS = 30.0
"""How long a model that failed to start is not started again by requests; doubled with each further
failure, since each start may take the memory of other models."""
MOST_FAILED_SECONDS = 300.0
WANTED_SECONDS = 30.0
"""How long a request that did not wait for the model still starts it."""
RESIDENT_SHARE = 1.0
"""For how long a model that has started stays, of the time that its start took: of two models that
are used in turns, at least half of the time serves requests."""
MOST_RESIDENT_SECONDS = 120.0
REFUSED_SECONDS = 10.0
"""How long the reason of a refused order is shown."""
SETTLE_SECONDS = 0.5
"""Requests that ended this shortly after a model was scaled to zero were served by it."""


class Member:
    """`spec` has the settings that the servers apply. Times are those of `clock`, monotonic
    seconds, and for `wakeAt` those of `wall`, Unix time."""

    def __init__(
        self,
        spec: ModelSpec,
        services: Sequence[Service],
        prepared: PreparedModel | None = None,
        *,
        log: Callable[[str], None] = lambda line: None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.spec = spec
        self.services = list(services)
        self.growing: list[Service] = []
        """Servers that are being added."""
        self.leaving: list[Service] = []
        """Servers that are being ended while others stay."""
        self.prepared = prepared
        self.size = 0
        """Bytes of all its servers; measured or estimated, 0 before the weights are on disk."""
        self.peak = 0
        """Bytes of the largest of its servers since they were started."""
        self.state = State.SCALED_TO_ZERO
        self.cold_seconds: float | None = None
        self.weights: progress.WeightsProgress | None = None
        """While they are fetched or converted."""
        self.waits_for_memory = False
        self.room_seconds: float | None = None
        """How long until others yield their memory, while it waits for that."""
        self.failure = ""
        """Why it cannot be started now."""
        self._failed_until = -math.inf
        self._failures = 0
        self._log = log
        self._clock = clock
        self._wall = wall
        self._wake_at = next_wake(spec.wake_at, wall())
        self._load = ReportedLoad(0, math.inf)
        self._busy = 0
        self._since = self._last_used = self._ready_since = clock()
        self._wanted_since: float | None = None
        self._is_to_load = self._is_to_unload = False
        self._refusal, self._refused_at = "", -math.inf
        self._keeping: dict[Service, asyncio.Task[None]] = {}

    @property
    def processes(self) -> list[Service]:
        """All its servers, those too that are being added or ended."""
        return [*self.services, *self.growing, *self.leaving]

    @property
    def pinned(self) -> bool:
        """Whether its servers start with the fleet and give their memory to no other model."""
        return bool(self.spec.min_replicas)

    @property
    def in_flight(self) -> int:
        """Requests for it, and those that it serves as the fallback of others."""
        return self._busy

    @property
    def is_wanted(self) -> bool:
        """Whether a request waits for it, or did recently."""
        return self._wanted_since is not None

    def note(self, load: ReportedLoad | None, fallback_of: Sequence[ReportedLoad]) -> None:
        """Record the load of the model, None for none, and of those that fall back on it."""
        now = self._clock()
        own = load or ReportedLoad(0, math.inf)
        self._busy = own.in_flight + sum(each.in_flight for each in fallback_of)
        idle = min(each.idle_seconds for each in (own, *fallback_of))
        self._last_used = max(self._last_used, now - idle)
        if self.failure and now >= self._failed_until:
            self.failure = ""
        self._follow_schedule(now)
        if self.state is State.SCALED_TO_ZERO:
            self._is_to_unload = False
        came = now - own.idle_seconds > self._since + SETTLE_SECONDS
        recent = self._is_to_load or (came and own.idle_seconds < WANTED_SECONDS)
        if self.state is not State.SCALED_TO_ZERO or self.failure or not (own.in_flight or recent):
            self._wanted_since, self.waits_for_memory = None, False
        elif self._wanted_since is None:
            self._wanted_since = now

    def _follow_schedule(self, now: float) -> None:
        """Start it at the times of `wakeAt`, from which on it counts as used."""
        wall = self._wall()
        if self._wake_at is None or wall < self._wake_at:
            return
        self._wake_at = next_wake(self.spec.wake_at, wall)
        self._is_to_load = self._is_to_load or self.state in (State.SCALED_TO_ZERO, State.STOPPING)
        self._last_used = now

    def candidate(self) -> Candidate:
        """The inputs of the decision."""
        now = self._clock()
        waits = None
        if self._wanted_since is not None and self.prepared is not None:
            waits = now - self._wanted_since
        limit = 0.0 if self._is_to_unload else self.spec.scale_to_zero_after
        return Candidate(
            self.spec.model, self.state, self.size, self.spec.priority, self.pinned, self._busy,
            now - self._last_used, None if limit is None else float(limit), waits,
            float(self.spec.yields_after or 0), self._kept_seconds(now),
        )  # fmt: skip

    def _kept_seconds(self, now: float) -> float:
        """Seconds until it yields its memory to models of its priority."""
        if self.state is not State.READY or self.cold_seconds is None or self._is_to_unload:
            return 0.0
        resident = min(MOST_RESIDENT_SECONDS, RESIDENT_SHARE * self.cold_seconds)
        return max(0.0, self._ready_since + resident - now)

    @property
    def progress(self) -> str:
        """The progress of its start or stop, "" if there is none."""
        if self.weights is not None:
            return self.weights.text
        if self.state is State.STARTING:
            return progress.with_seconds(progress.LOADING, self._left_of_start())
        if self.state is State.STOPPING:
            return progress.STOPPING
        if self.waits_for_memory:
            return progress.with_seconds(progress.WAITS_FOR_MEMORY, self.room_seconds or None)
        if self.growing or self.leaving:
            return f"scaling to {len(self.services) + len(self.growing)} servers"
        return self._refusal if self._clock() < self._refused_at + REFUSED_SECONDS else ""

    @property
    def seconds_left(self) -> float | None:
        """Estimated seconds until it is ready, while it starts or waits for that; None if
        unknown."""
        if self.state is State.STARTING:
            return self._left_of_start()
        left = None
        if self.weights is not None:
            left = self.weights.seconds_left
        elif self.waits_for_memory:
            left = self.room_seconds
        return None if left is None else left + (self.cold_seconds or 0.0)

    def _left_of_start(self) -> float | None:
        return progress.left_of_start(self._since, self.cold_seconds, self._clock())

    def load(self) -> None:
        """Start it as for a request, also after a failure."""
        self._is_to_load = self.state in (State.SCALED_TO_ZERO, State.STOPPING)
        self._is_to_unload = False
        self.failure = ""

    def unload(self) -> None:
        """Stop it, pinned or not, once it has no request in flight; a later request starts it."""
        self._is_to_load, self._is_to_unload = False, True

    def refuse(self, reason: str) -> None:
        """Show for a moment why an order to scale is not followed; "" if the last one is."""
        self._refusal = progress.NOT_SCALED + reason if reason else ""
        self._refused_at = self._clock()

    def fail(self, reason: str, seconds: float = FAILED_SECONDS) -> None:
        """Refuse its requests for a while."""
        self.failure = reason.rstrip(".")
        self._failed_until = self._clock() + seconds
        self._wanted_since, self.waits_for_memory = None, False
        self._is_to_load = False

    def fail_to_start(self, reason: str) -> None:
        """Refuse its requests for a while, the longer the more often it failed in a row."""
        self.fail(reason, min(MOST_FAILED_SECONDS, FAILED_SECONDS * 2.0 ** min(self._failures, 16)))
        self._failures += 1

    def begin(self) -> None:
        """It takes memory from now on; `start` follows."""
        self.state = State.STARTING
        self.peak = 0
        self._is_to_load = False
        self._since = self._clock()
        self._wanted_since, self.waits_for_memory = None, False

    async def start(self, failed: Callable[[Service, StartError], None]) -> None:
        """Start the servers and keep them running, those too that `failed` is called for.

        Raises the last StartError if all of them fail; `give_up` or `keep` follows.
        """
        errors: list[StartError] = []

        async def one(service: Service) -> None:
            try:
                await service.start()
            except StartError as error:
                errors.append(error)
                failed(service, error)

        async with asyncio.TaskGroup() as group:
            for service in self.services:
                group.create_task(one(service))
        if len(errors) == len(self.services):
            raise errors[-1]
        self.cold_seconds = self._clock() - self._since
        self._failures = 0
        self.keep()

    def keep(self) -> None:
        """Restart its servers whenever they end."""
        self.state = State.READY
        self._last_used = self._ready_since = self._clock()
        for service in self.services:
            self._keep(service)

    def _keep(self, service: Service) -> None:
        self._keeping[service] = asyncio.create_task(
            keep_running(service.name, service.keep, ended=self._supervision_ended)
        )

    def add(self, service: Service) -> None:
        """Count a server that is ready among its servers."""
        self.services.append(service)
        self._keep(service)

    async def end(self, service: Service, grace: float) -> None:
        """End a server that is none of its `services` any more, by force after `grace` seconds."""
        if (task := self._keeping.pop(service, None)) is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await service.stop(grace)

    async def stop(self, grace: float) -> None:
        """End the servers, by force after `grace` seconds."""
        ending = (*self.services, *self.leaving)
        await asyncio.gather(*(self.end(service, grace) for service in ending))
        self.state = State.SCALED_TO_ZERO
        self._since = self._clock()

    def _supervision_ended(self, name: str) -> None:
        self._log(f"The supervision of {name} failed and starts again.")
