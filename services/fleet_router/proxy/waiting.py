"""Requests that wait for a model without a ready server: scaled to zero, starting or restarting.

How many may wait for a model, and how long, is bounded. Beyond that a client gets `Retry-After`,
estimated from the last start of the model.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from fleet_contract.errors import ModelNotFound, NotReady, QueueFull
from fleet_contract.spec import Engine
from fleet_contract.status import Phase
from fleet_router.metrics import RouterMetrics
from fleet_router.routing.table import LiveRoutes, Origin, Route

RETRY_SECONDS = 0.25
"""Pause before servers that could not be reached are tried again."""
WAKE_SECONDS = 10.0
"""How often a server is requested while requests wait."""
DEFAULT_START_SECONDS = 10.0
"""Estimate for a model whose start was never measured."""
TERMINAL = {
    Phase.STOPPED: "is stopped",
    Phase.FAILED: "has failed",
    Phase.CONFLICT: "conflicts with another model",
}
"""Phases that waiting does not end."""
TERMINAL_RETRY_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class WaitSettings:
    """Defaults of the bounds in a model's spec; `heartbeat` 0 disables heartbeats."""

    seconds: float = 10.0
    requests: int = 100
    heartbeat: float = 15.0


class WaitingRoom:
    """What the waiting requests share. `wake` requests a server of a resource."""

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
        """When requests began to wait for a model, by time.monotonic."""
        self.start_seconds: dict[str, float] = {}
        """How long the last wait for a model took until a server responded."""
        self.ends_at = float("inf")
        self._wake = wake

    def wake(self, route: Route) -> None:
        """Request a server of the route's model, if its source supports that."""
        if self._wake is not None and route.origin is not None:
            self._wake(route.origin)

    def expected_wait(self, route: Route) -> float:
        """Seconds until the model probably has a server: as the source of the routes estimates,
        else the duration of its last start, less the time requests have waited already, or until
        others may yield to it and it has started; at least 1."""
        if route.seconds_left is not None:
            return max(1.0, route.seconds_left)
        left = route.ready_at - time.time() if route.ready_at is not None else 0.0
        if left > 0:
            return max(1.0, left)
        whole = route.cold_seconds or self.start_seconds.get(route.model) or DEFAULT_START_SECONDS
        since = self.since.get(route.model)
        passed = time.monotonic() - since if since is not None else 0.0
        return max(1.0, whole - passed)

    def drain(self, seconds: float) -> None:
        """End every wait within `seconds`, because the process ends."""
        self.ends_at = time.monotonic() + seconds
        self.routes.notify()  # waits that are in progress compute their deadline again

    def forget(self, models: Iterable[str]) -> None:
        """Drop the measurements of these models."""
        for model in models:
            self.start_seconds.pop(model, None)


class Wait:
    """The waiting of one request."""

    def __init__(self, room: WaitingRoom, route: Route) -> None:
        self._room = room
        self._model = route.model
        self._deadline = 0.0
        self._started: float | None = None

    @property
    def seconds(self) -> float:
        """How long the request has waited in all."""
        return time.monotonic() - self._started if self._started is not None else 0.0

    @property
    def waited(self) -> bool:
        """Whether the request waited at all."""
        return self._started is not None

    async def wait(self, route: Route, max_seconds: float | None = None) -> Route:
        """Wait until `route` may be worth another try, at most `max_seconds`; returns the current
        route of its model.

        Raises QueueFull when too many requests wait, NotReady at the deadline or in a phase that
        waiting does not end, ModelNotFound when the model was deleted.
        """
        if route.spec.engine is Engine.REMOTE:
            raise NotReady(
                f"{route.model!r} cannot be reached{_reason(route)}.",
                retry_after=TERMINAL_RETRY_SECONDS,
            )
        refuse_ended(route)
        if self._started is None:
            self._enter(route)
        left = min(self._deadline, self._room.ends_at) - time.monotonic()
        if left <= 0:
            self._room.metrics.refused.labels(self._model, "deadline").inc()
            raise NotReady(
                f"{self._model!r} had no ready server for {self.seconds:.0f} s{_reason(route)}.",
                retry_after=self._room.expected_wait(route),
            )
        # At every turn of every wait; `Waker` bounds how often it writes.
        self._room.wake(route)
        pause = RETRY_SECONDS if route.endpoints else WAKE_SECONDS
        if max_seconds is not None:
            pause = max(0.0, min(pause, max_seconds))
        fallback = route.spec.fallback
        names = (self._model,) if fallback is None else (self._model, fallback)
        await self._room.routes.wait_for_change(min(left, pause), names)
        table = self._room.routes.table
        current = table.by_id.get(self._model) if table is not None else None
        if current is None:
            raise ModelNotFound(f"The model {self._model!r} was deleted.", param="model")
        return current

    def served(self) -> None:
        """Leave because a server accepted the request; measures how long the start took."""
        room = self._room
        since = room.since.get(self._model)
        if self._started is not None and since is not None:
            room.start_seconds[self._model] = time.monotonic() - since
            room.metrics.held_seconds.labels(self._model).observe(self.seconds)
        self.leave()

    def leave(self) -> None:
        """Stop waiting; idempotent."""
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
        limit = room.settings.requests if bounds.hold_requests is None else bounds.hold_requests
        seconds = room.settings.seconds if bounds.hold_seconds is None else bounds.hold_seconds
        if seconds and room.waiting[self._model] >= limit:
            room.wake(route)
            room.metrics.refused.labels(self._model, "full").inc()
            raise QueueFull(
                f"{room.waiting[self._model]} requests already wait for a server of"
                f" {self._model!r}{_reason(route)}.",
                retry_after=room.expected_wait(route),
            )
        now = time.monotonic()
        # Never 0, which `leave` takes for a request that does not wait.
        self._started, self._deadline = now, now + max(seconds, 1e-9)
        room.waiting[self._model] += 1
        room.since.setdefault(self._model, now)
        room.metrics.held.labels(self._model).inc()


def refuse_ended(route: Route) -> None:
    """Raises NotReady for a model without servers, in a phase that waiting does not end."""
    phase = _phase(route)
    if phase in TERMINAL and not route.endpoints:
        raise NotReady(
            f"{route.model!r} {TERMINAL[phase]}{_terminal_reason(route, phase)}.",
            retry_after=TERMINAL_RETRY_SECONDS,
        )


def _reason(route: Route) -> str:
    return f" ({route.reason})" if route.reason else ""


def _terminal_reason(route: Route, phase: Phase) -> str:
    if phase is not Phase.STOPPED:
        return _reason(route)
    return " (stopped: true)" if route.spec.stopped else " (replicas: 0)"


def _phase(route: Route) -> Phase | None:
    """The current phase: `stopped` has its effect before the status reports it."""
    if route.stopped:
        return Phase.STOPPED
    return None if route.phase is Phase.STOPPED else route.phase
