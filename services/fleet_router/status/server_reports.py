"""What servers report of themselves at /health: phase, progress and stages of the start, load."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import orjson

from fleet_contract.names import PATH_HEALTH
from fleet_contract.server_protocol import ServerPhase, StartStage
from fleet_router.routing.table import Endpoint
from fleet_router.status.recent import Recent
from fleet_router.upstream.fetch import fetch
from fleet_router.upstream.pool import PoolManager

KEPT_SECONDS = 1.0
"""Age up to which a report is used again, so that many viewers cost servers no more than one."""
KEPT_READY_SECONDS = 4.0
"""Of a ready server: its load is known to the router."""
READY = ServerPhase.READY.value
QUERY_TIMEOUT = 1.0
RESPONSE_BYTES = 64 * 1024
MAX_CONCURRENT = 64
STATUSES = frozenset({200, 503})
"""A server that is not ready reports its progress with 503."""
STAGES = frozenset(StartStage)
"""Those of which one runs at a time; servers report others that are parts or sums of them."""
PROGRESS = ("done_bytes", "total_bytes", "bytes_per_second", "seconds_left")


@dataclass(frozen=True, slots=True)
class ServerReport:
    """One server; `stages` in seconds, in order of their beginning. None is unknown."""

    status: str = ""
    stages: dict[str, float] = field(default_factory=dict)
    progress: dict[str, float | None] | None = None
    in_flight: int | None = None
    queue_depth: int | None = None


SILENT = ServerReport()
"""A server that does not respond, or of another project."""


class ServerReports:
    """Queries servers; concurrent viewers share the result."""

    def __init__(self, pools: PoolManager) -> None:
        self._pools = pools
        self._slots = asyncio.Semaphore(MAX_CONCURRENT)
        self._recent: Recent[Endpoint, ServerReport] = Recent(KEPT_SECONDS)

    async def of(self, endpoint: Endpoint) -> ServerReport:
        """The report of a server, at most KEPT_SECONDS old, or KEPT_READY_SECONDS."""
        return await self._recent.of(endpoint, lambda: self._query(endpoint), _kept)

    def keep(self, endpoints: Collection[Endpoint]) -> None:
        """Forget all other servers."""
        self._recent.keep(endpoints)

    async def _query(self, endpoint: Endpoint) -> ServerReport:
        async with self._slots:
            raw = await fetch(
                self._pools, endpoint, PATH_HEALTH,
                seconds=QUERY_TIMEOUT, limit=RESPONSE_BYTES, statuses=STATUSES,
            )  # fmt: skip
        return parse(raw) if raw is not None else SILENT


def _kept(report: ServerReport) -> float:
    return KEPT_READY_SECONDS if report.status == READY else KEPT_SECONDS


def parse(raw: bytes) -> ServerReport:
    """The report in a response; parts of another type count as unknown."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return SILENT
    if not isinstance(body, dict):
        return SILENT
    stages, progress, status = body.get("stages"), body.get("progress"), body.get("status")
    return ServerReport(
        status if isinstance(status, str) else "",
        _stages(stages) if isinstance(stages, dict) else {},
        _progress(progress) if isinstance(progress, dict) else None,
        _count(body.get("in_flight")),
        _count(body.get("queue_depth")),
    )


def _stages(found: dict[str, Any]) -> dict[str, float]:
    known = {name: spent for name, spent in found.items() if name in STAGES}
    return {name: float(spent) for name, spent in known.items() if _is_number(spent)}


def _progress(found: dict[str, Any]) -> dict[str, float | None]:
    return {name: found[name] if _is_number(found.get(name)) else None for name in PROGRESS}


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
