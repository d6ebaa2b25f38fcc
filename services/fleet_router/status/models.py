"""The models of `/v1/models` and `/health`: their specs, updated by what their servers report.

All servers are queried at once with a short timeout; concurrent requests share the result.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Any

import orjson

from fleet_contract.server_protocol import ServerPhase
from fleet_contract.spec import Engine, ModelSpec
from fleet_contract.status import Phase
from fleet_router.routing.table import Endpoint, Route, RouteTable
from fleet_router.upstream.fetch import fetch
from fleet_router.upstream.pool import PoolManager

Entry = dict[str, Any]
Version = tuple[RouteTable, int]

QUERY_TIMEOUT = 1.0
RESPONSE_BYTES = 1024 * 1024
MAX_CONCURRENT = 64
"""Servers queried at the same time; a fleet may have hundreds."""
BATCH = 4 * MAX_CONCURRENT
"""Number of models whose queries are created together."""
READY = ServerPhase.READY.value
STARTING = ServerPhase.STARTING.value
UNAVAILABLE = "unavailable"
STATES = {
    Phase.SCALED_TO_ZERO: "scaled_to_zero",
    Phase.STOPPED: "stopped",
    Phase.FAILED: ServerPhase.FAILED.value,
    Phase.CONFLICT: "conflict",
}
AS_WANTED = frozenset({READY, STATES[Phase.SCALED_TO_ZERO], STATES[Phase.STOPPED]})
"""States of models that are as their specs want them."""
LIVE_FIELDS = (
    "engine",
    "engine_reason",
    "device",
    "state",
    "dimensions",
    "context_length",
    "modalities",
    "memory_bytes",
)
"""Fields for which a server replaces the value of the spec."""


def from_spec(spec: ModelSpec, created: int, state: str) -> Entry:
    """An OpenAI model object with this project's additional fields."""
    return {
        "id": spec.model,
        "object": "model",
        "created": created,
        "owned_by": spec.model.split("/")[0] if "/" in spec.model else "modelfleet",
        "task": spec.task.value,
        "engine": spec.engine.value,
        "engine_reason": None,
        "device": spec.device,
        "state": state,
        "modalities": {
            "input": [modality.value for modality in spec.input_modalities],
            "output": [modality.value for modality in spec.output_modalities],
        },
        "dimensions": spec.dimensions,
        "context_length": spec.context_length,
        "aliases": list(spec.aliases),
        "adapters": list(spec.adapter_ids),
        "parent": None,
        "memory_bytes": None,
    }


def with_adapters(entry: Entry) -> list[Entry]:
    """`entry`, then an entry for each adapter of the model."""
    return [entry, *(adapter_entry(entry, each) for each in entry["adapters"])]


def adapter_entry(entry: Entry, model: str) -> Entry:
    """The entry of an adapter with the id `model`, of the model of `entry`."""
    return {**entry, "id": model, "aliases": [], "adapters": [], "parent": entry["id"]}


def merged(entry: Entry, reported: Sequence[Entry]) -> Entry:
    """`entry` with the fields that a server reported, preferably a ready one."""
    if not reported:
        return entry
    best = next((each for each in reported if each.get("state") == READY), reported[0])
    live = {name: best[name] for name in LIVE_FIELDS if best.get(name) is not None}
    return {**entry, **live, "created": best.get("created", entry["created"])}


def entry_in(raw: bytes | None, model: str) -> Entry | None:
    """The entry of `model` in a server's list, or its only one without a parent; None if there is
    none."""
    if raw is None:
        return None
    try:
        listed = orjson.loads(raw)["data"]
        entries = [entry for entry in listed if isinstance(entry, dict)]
    except (ValueError, KeyError, TypeError):
        return None
    found = next((entry for entry in entries if entry.get("id") == model), None)
    bases = [entry for entry in entries if not entry.get("parent")]
    return found or (bases[0] if len(bases) == 1 else None)


def state_of(route: Route, default: str) -> str:
    """The state of a model without a responding server: by its phase on the cluster, if any."""
    if route.endpoints:
        return default
    if route.phase is None:
        return STATES[Phase.STOPPED] if route.stopped else default
    return STATES.get(route.phase, default)


def reason_of(route: Route) -> str:
    """Why a model is not ready: what its start is at, or the reason of its phase; with the duration
    of its last start if one is in progress. "" if nothing is known."""
    if route.progress:
        return route.progress
    if route.phase is Phase.PROGRESSING and route.cold_seconds is not None:
        return f"{route.reason}, the last start took {route.cold_seconds:.0f} s".lstrip(", ")
    return route.reason


class Models:
    """Queries the servers, and remembers which have responded: those have failed if they no longer
    respond, the others are still starting."""

    def __init__(self, pools: PoolManager) -> None:
        self._pools = pools
        # OpenAI's clients require a time; used until a server reports its own.
        self._created = int(time.time())
        self._slots = asyncio.Semaphore(MAX_CONCURRENT)
        self._responded: set[Endpoint] = set()
        self._last: tuple[RouteTable, float, list[Entry]] | None = None
        self._listing: tuple[Version, asyncio.Task[list[Entry]]] | None = None

    async def listing(self, table: RouteTable) -> list[Entry]:
        """Every model in the table's order."""
        running, version = self._listing, (table, table.version)
        if running is None or running[0] != version or running[1].done():
            self._listing = running = (version, asyncio.create_task(self._query(table)))
        # Shielded: a client that disconnects must not cancel the result of the others.
        return await asyncio.shield(running[1])

    async def recent(self, table: RouteTable, seconds: float) -> list[Entry]:
        """As `listing`, or its result for the same table of the last `seconds`."""
        last = self._last
        if last is not None and last[0] is table and time.monotonic() - last[1] < seconds:
            return last[2]
        entries = await self.listing(table)
        self._last = (table, time.monotonic(), entries)
        return entries

    def keep(self, endpoints: AbstractSet[Endpoint]) -> None:
        """Forget all other servers: the set would grow with every pod that ever existed."""
        if len(self._responded) > len(endpoints):
            self._responded &= endpoints

    async def _query(self, table: RouteTable) -> list[Entry]:
        self._responded &= table.endpoints()
        entries: list[Entry] = []
        routes = table.routes
        # Not all at once: creating thousands of tasks would delay the streams in progress.
        for first in range(0, len(routes), BATCH):
            batch = routes[first : first + BATCH]
            entries += await asyncio.gather(*(self.entry(route) for route in batch))
        return entries

    async def _query_server(self, endpoint: Endpoint) -> bytes | None:
        async with self._slots:
            return await fetch(
                self._pools, endpoint, "/v1/models", seconds=QUERY_TIMEOUT, limit=RESPONSE_BYTES
            )

    async def entry(self, route: Route) -> Entry:
        """One model; a remote address is not queried and counts as ready."""
        if route.spec.engine is Engine.REMOTE:
            return from_spec(route.spec, self._created, state_of(route, READY))
        raws = await asyncio.gather(*(self._query_server(endpoint) for endpoint in route.endpoints))
        failed = any(endpoint in self._responded for endpoint in route.endpoints)
        reported = [entry_in(raw, route.model) for raw in raws]
        for endpoint, found in zip(route.endpoints, reported, strict=True):
            if found is not None:
                self._responded.add(endpoint)
        state = state_of(route, UNAVAILABLE if failed else STARTING)
        entry = from_spec(route.spec, self._created, state)
        whole = merged(entry, [found for found in reported if found is not None])
        if whole["state"] != READY and (reason := reason_of(route)):
            whole["reason"] = reason
        if whole["state"] != READY and route.seconds_left is not None:
            whole["ready_in_seconds"] = route.seconds_left
        return whole
