"""What `/v1/models` and `/health` tell: each model as its spec says, and as its servers say now.

Servers are asked all at once with a short timeout; requests that come meanwhile share the answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import orjson

from fleet_contract.server_protocol import ServerPhase
from fleet_contract.spec import Engine, ModelSpec
from fleet_contract.status import Phase
from fleet_router.routing.table import Endpoint, Route, RouteTable
from fleet_router.upstream.fetch import fetch
from fleet_router.upstream.pool import PoolManager

Entry = dict[str, Any]

ASK_TIMEOUT = 1.0
ANSWER_BYTES = 1024 * 1024
AT_ONCE = 64
"""Servers asked at the same time, of a fleet of hundreds."""
READY = ServerPhase.READY.value
STARTING = ServerPhase.STARTING.value
UNAVAILABLE = "unavailable"
STATES = {
    Phase.SCALED_TO_ZERO: "scaled_to_zero",
    Phase.STOPPED: "stopped",
    Phase.FAILED: ServerPhase.FAILED.value,
    Phase.CONFLICT: "conflict",
}
LIVE_FIELDS = (
    "engine",
    "engine_reason",
    "device",
    "state",
    "dimensions",
    "context_length",
    "modalities",
)
"""What a server knows better than the spec."""


def from_spec(spec: ModelSpec, created: int, state: str) -> Entry:
    """An OpenAI model object with the fields this project adds."""
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
    }


def merged(entry: Entry, answers: Sequence[Entry]) -> Entry:
    """`entry` with what the model's servers answered; a ready server speaks for all."""
    if not answers:
        return entry
    best = next((answer for answer in answers if answer.get("state") == READY), answers[0])
    live = {name: best[name] for name in LIVE_FIELDS if best.get(name) is not None}
    return {**entry, **live, "created": best.get("created", entry["created"])}


def own_entry(raw: bytes | None, model: str) -> Entry | None:
    """The entry of `model` in a server's list, or its only entry; None if there is none."""
    if raw is None:
        return None
    try:
        listed = orjson.loads(raw)["data"]
        entries = [entry for entry in listed if isinstance(entry, dict)]
    except (ValueError, KeyError, TypeError):
        return None
    found = next((entry for entry in entries if entry.get("id") == model), None)
    return found or (entries[0] if len(entries) == 1 else None)


def state_of(route: Route, otherwise: str) -> str:
    """The state of a model no server of which answers: what the cluster says, if it says."""
    if route.endpoints or route.phase is None:
        return otherwise
    return STATES.get(route.phase, otherwise)


class Models:
    """Asks the servers; remembers which ever answered, to tell a start from a failure."""

    def __init__(self, pools: PoolManager) -> None:
        self._pools = pools
        self._created = int(time.time())
        self._places = asyncio.Semaphore(AT_ONCE)
        self._answered: set[Endpoint] = set()
        self._asking: tuple[RouteTable, asyncio.Task[list[Entry]]] | None = None

    async def listing(self, table: RouteTable) -> list[Entry]:
        """Every model in the table's order."""
        asking = self._asking
        if asking is None or asking[0] is not table or asking[1].done():
            self._asking = asking = (table, asyncio.create_task(self._ask(table)))
        return await asyncio.shield(asking[1])

    async def _ask(self, table: RouteTable) -> list[Entry]:
        self._answered &= table.endpoints()
        return await asyncio.gather(*(self.entry(route) for route in table.routes))

    async def _ask_one(self, endpoint: Endpoint) -> bytes | None:
        async with self._places:
            return await fetch(
                self._pools, endpoint, "/v1/models", within=ASK_TIMEOUT, limit=ANSWER_BYTES
            )

    async def entry(self, route: Route) -> Entry:
        """One model; an address elsewhere is not asked, it is taken to be there."""
        if route.spec.engine is Engine.REMOTE:
            return from_spec(route.spec, self._created, state_of(route, READY))
        raws = await asyncio.gather(*(self._ask_one(endpoint) for endpoint in route.endpoints))
        gone = any(endpoint in self._answered for endpoint in route.endpoints)
        answers = [own_entry(raw, route.model) for raw in raws]
        for endpoint, answer in zip(route.endpoints, answers, strict=True):
            if answer is not None:
                self._answered.add(endpoint)
        state = state_of(route, UNAVAILABLE if gone else STARTING)
        entry = from_spec(route.spec, self._created, state)
        return merged(entry, [answer for answer in answers if answer is not None])
