"""Starts, stops and scales models of a cluster, by patches of their resources."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from fleet_cli.cluster.rows import reason_of
from fleet_cli.cluster.session import MODEL, Session
from fleet_contract.names import ANNOTATION_WAKE
from fleet_contract.status import Phase
from fleet_kube.client import Json

POLL_SECONDS = 1.0
AUTOSCALING = ("targetInFlight", "scaleToZeroAfter", "yieldsAfter")
ENDED = (Phase.FAILED, Phase.CONFLICT)
FAILED_SECONDS = 5.0
"""How long a failure that may be that of before the patch is waited for to end."""
Show = Callable[[str], None]


def load_patch(item: Json, now: datetime) -> Json:
    """A merge patch that starts a model as its first request would, and ends `stopped`."""
    spec, own = _spec(item), item.get("spec") or {}
    patch: dict[str, Any] = {}
    if own.get("stopped"):
        patch["spec"] = {"stopped": False}
    if is_autoscaled(spec):
        # Rounded up: a model that stopped for another one ignores requests until its next second.
        stamp = (now.astimezone(UTC) + timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        patch["metadata"] = {"annotations": {ANNOTATION_WAKE: stamp}}
    elif own.get("replicas") == 0:
        patch.setdefault("spec", {})["replicas"] = 1
    return patch


def unload_patch() -> Json:
    """A merge patch that stops a model."""
    return {"spec": {"stopped": True}}


def scale_patch(item: Json, replicas: int) -> Json:
    """A merge patch for a number of servers. Raises ValueError for a model that scales itself."""
    name = item["metadata"]["name"]
    if _spec(item).get("engine") == "remote":
        raise ValueError(f"{name} is remote: it has no servers here")
    if is_autoscaled(_spec(item)):
        raise ValueError(
            f"{name} is scaled by targetInFlight, scaleToZeroAfter or yieldsAfter, which overwrite"
            " `replicas`: set its minReplicas and maxReplicas instead"
        )
    patch: dict[str, Any] = {"spec": {"replicas": replicas}}
    if (item.get("spec") or {}).get("stopped"):
        patch["spec"]["stopped"] = False
    return patch


def is_autoscaled(spec: Json) -> bool:
    """Whether the operator computes the number of servers from the load."""
    return any(spec.get(name) is not None for name in AUTOSCALING)


def is_ready(item: Json, servers: int) -> bool:
    """Whether the status is current and has as many ready servers; a remote model has none."""
    status = item.get("status") or {}
    is_remote = _spec(item).get("engine") == "remote"
    enough = is_remote or status.get("readyReplicas", 0) >= servers
    return _is_current(item) and enough and _settled(status, servers)


def _is_current(item: Json) -> bool:
    """Whether the status is that of the current spec."""
    status = item.get("status") or {}
    return bool(status.get("observedGeneration", -1) >= item["metadata"].get("generation", 0))


def _settled(status: Json, servers: int) -> bool:
    if servers:
        return bool(status.get("phase") == Phase.READY)
    return not status.get("replicas") and not status.get("readyReplicas")


def _spec(item: Json) -> Json:
    """The resource's own spec over the one that the operator has completed."""
    return {**((item.get("status") or {}).get("resolved") or {}), **(item.get("spec") or {})}


async def load(session: Session, name: str, *, wait: bool, show: Show) -> None:
    """Start a model. Raises ValueError if it fails, and KubeError."""
    item = await session.model(name)
    if patch := load_patch(item, datetime.now(UTC)):
        item = await _patch(session, item, patch)
    if wait:
        await _wait(session, item, 1, show)


async def unload(session: Session, name: str, *, wait: bool, show: Show) -> None:
    """Stop a model until `load`. Raises ValueError and KubeError."""
    item = await _patch(session, await session.model(name), unload_patch())
    if wait:
        await _wait(session, item, 0, show)


async def scale(session: Session, name: str, replicas: int, *, wait: bool, show: Show) -> None:
    """Set the number of servers of a model. Raises ValueError and KubeError."""
    item = await session.model(name)
    item = await _patch(session, item, scale_patch(item, replicas))
    if wait:
        await _wait(session, item, replicas, show)


async def _patch(session: Session, item: Json, patch: Json) -> Json:
    meta = item["metadata"]
    return await session.client.merge_patch(MODEL, meta["namespace"], meta["name"], patch)


async def _wait(session: Session, item: Json, servers: int, show: Show) -> None:
    """Until the model has its servers; prints what it waits for when that changes."""
    meta, shown = item["metadata"], ""
    began = time.monotonic()
    while not is_ready(item, servers):
        status = item.get("status") or {}
        late = time.monotonic() - began > FAILED_SECONDS
        if servers and late and _is_current(item) and status.get("phase") in ENDED:
            raise ValueError(f"{meta['name']} has failed: {reason_of(status)}")
        text = reason_of(status)
        if text and text != shown:
            shown = text
            show(f"{meta['name']}: {text}")
        await asyncio.sleep(POLL_SECONDS)
        found = await session.client.get(MODEL, meta["namespace"], meta["name"])
        if found is None:
            raise ValueError(f"{meta['name']} was deleted")
        item, meta = found, found["metadata"]
