"""The operator's own /livez, /healthz, /readyz and /metrics.

/healthz fails only if a restart would help: a stuck watch, a reconcile that does not end, a queue
that does not move. Progress counts, not the age of a backlog. An unreachable API server fails
/readyz, as does a missing custom resource definition at the start. A replica that waits to become
the leader is ready.
"""

from __future__ import annotations

from aiohttp import web

from fleet_contract.names import PATH_LIVE, PATH_METRICS, PATH_READY
from fleet_operator.controller.leadership import Leadership
from fleet_operator.controller.resync import Resync
from fleet_operator.controller.work_queue import WorkQueue
from fleet_operator.metrics import Metrics

STUCK_SECONDS = 180.0
"""Maximum time of a reconcile, in which every request has a timeout, and of a queue in which no
reconcile ends."""
PATH_HEALTHZ = "/healthz"


def unhealthy(resync: Resync, queue: WorkQueue) -> str | None:
    """Why the operator should be restarted, or None."""
    if resync.stale:
        return f"watches are stuck: {', '.join(sorted(resync.stale))}"
    if queue.stalled > STUCK_SECONDS:
        return f"no progress for {queue.stalled:.0f} s"
    return None


def unready(resync: Resync, queue: WorkQueue, leadership: Leadership) -> str | None:
    """Why the operator cannot work at present, or None."""
    if not queue.is_open:
        return "the watches have not synced yet"
    if not resync.reachable:
        return "the API server is unreachable"
    return f"no leader can be elected: {leadership.problem}" if leadership.problem else None


class Health:
    """The state of an operator, also before it has its parts."""

    def __init__(self) -> None:
        self._parts: tuple[Resync, WorkQueue, Leadership] | None = None

    def start(self, resync: Resync, queue: WorkQueue, leadership: Leadership) -> None:
        """Report on these from now on."""
        self._parts = resync, queue, leadership

    @property
    def unhealthy(self) -> str | None:
        """Why the operator should be restarted, or None."""
        return None if self._parts is None else unhealthy(*self._parts[:2])

    @property
    def unready(self) -> str | None:
        """Why the operator should be restarted or cannot work at present, or None."""
        if self._parts is None:
            return "waiting for the API server and the definition of InferenceModels"
        return self.unhealthy or unready(*self._parts)


def application(metrics: Metrics, health: Health) -> web.Application:
    """The web application that serves them."""

    async def live(_: web.Request) -> web.Response:
        return _response(health.unhealthy)

    async def ready(_: web.Request) -> web.Response:
        return _response(health.unready)

    async def numbers(_: web.Request) -> web.Response:
        return web.Response(body=metrics.render(), content_type="text/plain", charset="utf-8")

    app = web.Application()
    app.router.add_get(PATH_HEALTHZ, live)
    app.router.add_get(PATH_LIVE, live)
    app.router.add_get(PATH_READY, ready)
    app.router.add_get(PATH_METRICS, numbers)
    return app


def _response(problem: str | None) -> web.Response:
    if problem is None:
        return web.json_response({"status": "ok"})
    return web.json_response({"status": "bad", "reason": problem}, status=503)
