"""Lets requests wait for a model that has no server now: asleep, starting, restarting, moving.

`proxy` makes one Wait for each request and calls `wait` whenever no server could be tried. How many
may wait for a model, and how long, is bounded; beyond that a client is told when to come back, from
how long this model's starts were measured to take.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from fleet_contract.errors import ModelNotFound, NotReady, QueueFull
from fleet_contract.spec import Engine
from fleet_contract.status import Phase
from fleet_router.metrics import RouterMetrics
from fleet_router.routing.table import LiveRoutes, Origin, Route

AGAIN_SECONDS = 0.25
"""Pause before servers that could not be reached are tried again."""
REFRESH_SECONDS = 10.0
"""How often a server is asked for while requests wait."""
UNMEASURED_SECONDS = 10.0
HOPELESS = {
    Phase.STOPPED: "is stopped: it is set to no servers",
    Phase.FAILED: "has failed",
    Phase.CONFLICT: "conflicts with another model",
}
"""Phases that waiting does not end."""
HOPELESS_RETRY = 30.0


@dataclass(frozen=True, slots=True)
class WaitSettings:
    """Bounds where a model's spec names none; `heartbeat` 0 means no heartbeats."""

    seconds: float = 10.0
    requests: int = 100
    heartbeat: float = 15.0


class WaitingRoom:
    """What the waiting of all requests shares. `wake` asks for a server of a resource."""

    def __init__(
        self,
        routes: LiveRoutes,
        settings: WaitSettings,
        metrics: RouterMetrics,
        wake: Callable[[Origin], None] | None = None,
    ) -> None:
        self.routes = routes
        self.settings = settings
        self.metrics = metrics
        self.waiting: Counter[str] = Counter()
        self.since: dict[str, float] = {}
        """When the present waiting for a model began."""
        self.starts: dict[str, float] = {}
        """Seconds the last such waiting took, until a server answered."""
        self.ends_at = float("inf")
        self._wake = wake

    def wake(self, route: Route) -> None:
        """Ask for a server of the route's model, where that is how it gets one."""
        if self._wake is not None and route.origin is not None:
            self._wake(route.origin)

    def expected(self, route: Route) -> float:
        """Seconds until the model likely has a server: what its last start took, less what has
        passed of this one; at least 1."""
        whole = route.cold_seconds or self.starts.get(route.model) or UNMEASURED_SECONDS
        since = self.since.get(route.model)
        passed = time.monotonic() - since if since is not None else 0.0
        return max(1.0, whole - passed)

    def drain(self, seconds: float) -> None:
        """The process ends: nobody waits longer than `seconds` from now."""
        self.ends_at = time.monotonic() + seconds
        self.routes.nudge()

    def forget(self, known: frozenset[str]) -> None:
        """Keep no figures of models that are gone."""
        for model in self.starts.keys() - known:
            del self.starts[model]


class Wait:
    """One request's waiting. `seconds` is how long it has waited in all."""

    def __init__(self, room: WaitingRoom, route: Route) -> None:
        self._room = room
        self._model = route.model
        self._deadline = 0.0
        self._started: float | None = None

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started if self._started is not None else 0.0

    @property
    def waited(self) -> bool:
        """Whether it waited at all."""
        return self._started is not None

    async def wait(self, route: Route, within: float | None = None) -> Route:
        """Until `route` may be worth another try, or for `within` seconds; returns the newest of
        its model.

        Raises QueueFull when too many wait, NotReady at the deadline or when waiting is vain,
        ModelNotFound when the model has been deleted.
        """
        if route.spec.engine is Engine.REMOTE:
            raise NotReady(f"{route.model!r} cannot be reached.", retry_after=HOPELESS_RETRY)
        phase = _phase(route)
        if phase in HOPELESS and not route.endpoints:
            raise NotReady(
                f"{route.model!r} {HOPELESS[phase]}{_because(route)}.",
                retry_after=HOPELESS_RETRY,
            )
        if self._started is None:
            self._enter(route)
        left = min(self._deadline, self._room.ends_at) - time.monotonic()
        if left <= 0:
            self._room.metrics.refused.labels(self._model, "deadline").inc()
            raise NotReady(
                f"{self._model!r} has no server that answers, and got none in"
                f" {self.seconds:.0f} s{_because(route)}.",
                retry_after=self._room.expected(route),
            )
        self._room.wake(route)
        pause = AGAIN_SECONDS if route.endpoints else REFRESH_SECONDS
        if within is not None:
            pause = max(0.0, min(pause, within))
        await self._room.routes.change(min(left, pause))
        table = self._room.routes.table
        newest = table.by_id.get(self._model) if table is not None else None
        if newest is None:
            raise ModelNotFound(f"The model {self._model!r} was deleted.", param="model")
        return newest

    def answered(self) -> None:
        """A server took the request: its start is over, and took this long."""
        room = self._room
        since = room.since.get(self._model)
        if self._started is not None and since is not None:
            room.starts[self._model] = time.monotonic() - since
            room.metrics.held_seconds.labels(self._model).observe(self.seconds)
        self.leave()

    def leave(self) -> None:
        """Wait no more; idempotent."""
        if self._deadline:
            self._deadline = 0.0
            room, model = self._room, self._model
            room.waiting[model] -= 1
            room.metrics.held.labels(model).dec()
            if not room.waiting[model]:
                del room.waiting[model]
                room.since.pop(model, None)

    def _enter(self, route: Route) -> None:
        room, bounds = self._room, route.spec.routing
        most = room.settings.requests if bounds.hold_requests is None else bounds.hold_requests
        seconds = room.settings.seconds if bounds.hold_seconds is None else bounds.hold_seconds
        if seconds and room.waiting[self._model] >= most:
            room.wake(route)
            room.metrics.refused.labels(self._model, "full").inc()
            raise QueueFull(
                f"{room.waiting[self._model]} requests already wait for a server of"
                f" {self._model!r}{_because(route)}.",
                retry_after=room.expected(route),
            )
        now = time.monotonic()
        self._started, self._deadline = now, now + max(seconds, 1e-9)
        room.waiting[self._model] += 1
        room.since.setdefault(self._model, now)
        room.metrics.held.labels(self._model).inc()


def _because(route: Route) -> str:
    return f" ({route.reason})" if route.reason else ""


def _phase(route: Route) -> Phase | None:
    """The phase that counts: who set a model to no servers did so before its status says it."""
    return Phase.STOPPED if route.spec.replicas == 0 else route.phase
