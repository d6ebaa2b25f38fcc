"""/livez, /healthz, /readyz and /metrics of the operator itself.

/healthz turns bad only where a new process would help: a watch that is stuck, a look at a model
that does not end. That the API server is away is said by /readyz, since no restart mends it.
"""

from __future__ import annotations

from aiohttp import web

from fleet_contract.names import PATH_LIVE, PATH_METRICS, PATH_READY
from fleet_operator.controller.resync import Resync
from fleet_operator.controller.work_queue import WorkQueue
from fleet_operator.metrics import Metrics

STUCK_SECONDS = 180.0
"""Longest a look at a model, or the wait for one, may take: every request in it has its timeout."""
PATH_HEALTHZ = "/healthz"


def unhealthy(resync: Resync, queue: WorkQueue) -> str | None:
    """Why the operator should be started anew, or None."""
    if resync.stale:
        return f"watches are stuck: {', '.join(sorted(resync.stale))}"
    if queue.oldest > STUCK_SECONDS:
        return f"a model has waited for {queue.oldest:.0f} s"
    return None


def unready(resync: Resync, queue: WorkQueue) -> str | None:
    """Why the operator does not work at present, or None."""
    if not queue.is_open:
        return "the watches are not complete yet"
    return None if resync.reachable else "the API server does not answer"


def application(metrics: Metrics, resync: Resync, queue: WorkQueue) -> web.Application:
    """The HTTP application."""

    async def live(_: web.Request) -> web.Response:
        return _answer(unhealthy(resync, queue))

    async def ready(_: web.Request) -> web.Response:
        return _answer(unhealthy(resync, queue) or unready(resync, queue))

    async def numbers(_: web.Request) -> web.Response:
        return web.Response(body=metrics.render(), content_type="text/plain", charset="utf-8")

    app = web.Application()
    app.router.add_get(PATH_HEALTHZ, live)
    app.router.add_get(PATH_LIVE, live)
    app.router.add_get(PATH_READY, ready)
    app.router.add_get(PATH_METRICS, numbers)
    return app


def _answer(problem: str | None) -> web.Response:
    if problem is None:
        return web.json_response({"status": "ok"})
    return web.json_response({"status": "bad", "reason": problem}, status=503)
