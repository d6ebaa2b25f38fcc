"""The rows of `modelfleet status` of a cluster, from InferenceModels and what pods report. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from fleet_cli.status_rows import HOUR_SECONDS, Row
from fleet_contract.status import Phase

Json = dict[str, Any]
FIELDS = (
    "namespace", "model", "state", "servers", "engine", "device", "in_flight", "held",
    "tokens_per_second", "memory_bytes", "cost", "ready_in_seconds", "reason",
)  # fmt: skip
STARTING = ("Pending", "Progressing", "Degraded")
"""Phases of a model with servers on their way."""


@dataclass(frozen=True, slots=True)
class Loads:
    """What all routers report, by model id; None for what could not be read. `tokens` were
    generated since the start of the routers. `memory` is that of all servers in bytes, by
    namespace and name of the resource. Of models with a price, `cost` is that of their usage since
    the start of the routers, `servers` that of an hour of their servers."""

    in_flight: Mapping[str, int] | None = None
    held: Mapping[str, int] | None = None
    tokens: Mapping[str, float] | None = None
    memory: Mapping[tuple[str, str], int] = field(default_factory=dict)
    cost: Mapping[str, float] = field(default_factory=dict)
    servers: Mapping[str, float] = field(default_factory=dict)
    currency: Mapping[str, str] = field(default_factory=dict)


def row(item: Json, loads: Loads, now: datetime) -> Row:
    """The row of an InferenceModel."""
    meta, status = item["metadata"], item.get("status") or {}
    spec, resolved = item.get("spec") or {}, status.get("resolved") or {}
    model = resolved.get("model") or spec.get("model") or meta["name"]
    if status.get("phase") == Phase.CONFLICT:
        # What routers report is of the resource that has the id.
        loads = Loads(memory=loads.memory)
    key = meta.get("namespace", ""), meta["name"]
    return Row(
        model=model,
        task=status.get("task") or resolved.get("task") or spec.get("task") or "chat",
        state=status.get("phase") or "Pending",
        engine=status.get("engine") or spec.get("engine") or "auto",
        device=status.get("acceleration") or spec.get("device") or "auto",
        in_flight=None if loads.in_flight is None else loads.in_flight.get(model, 0),
        held=None if loads.held is None else loads.held.get(model, 0),
        tokens_per_second=None,
        memory_bytes=loads.memory.get(key),
        servers_per_hour=loads.servers.get(model),
        currency=loads.currency.get(model),
        ready_in_seconds=ready_in(status, now),
        reason=reason_of(status),
        namespace=key[0],
        servers=status.get("ready") or "",
    )


def with_rates(found: Row, now: Loads, before: Loads, seconds: float) -> Row:
    """The row with tokens per second and the price of an hour at the usage of the last `seconds`.
    What was counted is less than before where a router was restarted."""
    if found.in_flight is None or now.tokens is None or before.tokens is None:
        return found

    def rate(of: Mapping[str, float], was: Mapping[str, float]) -> float:
        return max(of.get(found.model, 0.0) - was.get(found.model, 0.0), 0.0) / seconds

    hour = rate(now.cost, before.cost) * HOUR_SECONDS if found.model in now.cost else None
    return replace(found, tokens_per_second=rate(now.tokens, before.tokens), usage_per_hour=hour)


def reason_of(status: Json) -> str:
    """Why a model is not ready: reason and message of its condition Ready; "" if it is ready."""
    if status.get("phase") == "Ready":
        return ""
    ready = condition(status, "Ready")
    reason = status.get("reason") or ready.get("reason") or "the operator has not processed it yet"
    message = ready.get("message") or ""
    return f"{reason}: {message}" if message else str(reason)


def condition(status: Json, kind: str) -> Json:
    """The condition of a type, {} without one."""
    found = (one for one in status.get("conditions") or [] if one.get("type") == kind)
    return next(found, {})


def ready_in(status: Json, now: datetime) -> float | None:
    """Estimated seconds until a starting model is ready: until its weights are there if they are
    being fetched, and what is left of the duration of its last start; None if unknown."""
    if status.get("phase") not in STARTING:
        return None
    cold = status.get("coldStart") or {}
    whole = cold.get("totalSeconds")
    left = (status.get("weights") or {}).get("secondsLeft")
    if left is not None:
        loading = (cold.get("loadSeconds") or 0.0) + (cold.get("warmSeconds") or 0.0)
        return round(float(left) + loading, 1)
    if whole is None:
        return None
    since = condition(status, "Ready").get("lastTransitionTime") or ""
    try:
        passed = (now - datetime.fromisoformat(since).astimezone(UTC)).total_seconds()
    except ValueError:
        return None
    return round(whole - passed, 1) if passed < whole else None
