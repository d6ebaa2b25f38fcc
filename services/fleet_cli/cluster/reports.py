"""What the routers and servers of a cluster report, read through the API server.

The rights to list pods and to get `pods/proxy` are needed; without them the figures are unknown.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import orjson

from fleet_cli.cluster.rows import Loads
from fleet_cli.cluster.session import Session
from fleet_cli.status_rows import Counters, counters
from fleet_contract.api import load_report
from fleet_contract.api.load_report import ReportedLoad
from fleet_contract.names import LABEL_MODEL, PATH_LOAD, PATH_METRICS, SERVER_PORT
from fleet_kube.client import POD, Json, KubeClient
from fleet_kube.errors import ApiError, KubeError

ROUTERS = "app.kubernetes.io/component=router"
"""Label of the chart's routers; those of other charts may have it too."""
CHART_LABEL = "helm.sh/chart"
CHART = "modelfleet-"
METRICS_PORT = 8081
"""The chart's port for metrics, without keys."""
REPORT_BYTES = 4 << 20
METRICS_BYTES = 32 << 20
MODELS_BYTES = 1 << 20
AT_ONCE = 16
MOST_SERVERS = 200
"""Beyond that, memory is not read: a request for each server."""


class RouterReport(NamedTuple):
    """The load of each model, and the counters, of one router."""

    loads: Mapping[str, ReportedLoad]
    counters: Counters


async def read(session: Session) -> tuple[Loads, str]:
    """The reports, and why some are unknown ("" if none is)."""
    (routers, problem), memory = await asyncio.gather(_routers(session), _memory(session))
    if not routers:
        return Loads(memory=memory), problem or "no router of the chart is running"
    in_flight: Counter[str] = Counter()
    held: Counter[str] = Counter()
    tokens: defaultdict[str, float] = defaultdict(float)
    cost: defaultdict[str, float] = defaultdict(float)
    servers: dict[str, float] = {}
    currency: dict[str, str] = {}
    for loads, found in routers:
        for model, load in loads.items():
            in_flight[model] += load.in_flight
        held.update({model: round(number) for model, number in found.held.items()})
        for sums, counted in ((tokens, found.tokens), (cost, found.cost)):
            for model, number in counted.items():
                sums[model] += number
        # Each router has the price of all servers.
        servers |= {model: max(price, servers.get(model, 0.0))
                    for model, price in found.servers.items()}  # fmt: skip
        currency |= found.currency
    return Loads(in_flight, held, tokens, memory, cost, servers, currency), problem


async def _routers(session: Session) -> tuple[list[RouterReport], str]:
    """The reports of the routers that respond, and a problem with others."""
    try:
        pods = [pod for pod in await _pods(session, ROUTERS) if _is_ours(pod)]
    except KubeError as error:
        return [], f"routers: {error}"
    results = await asyncio.gather(*(_router(session.client, pod) for pod in pods))
    found = [one for one in results if isinstance(one, RouterReport)]
    failed = [one for one in results if isinstance(one, Exception)]
    return found, f"routers: {failed[0]}" if failed else ""


async def _router(client: KubeClient, pod: Json) -> RouterReport | Exception:
    """What a router reports; the error of a pod that does not respond as a router."""
    meta = pod["metadata"]
    place = meta["namespace"], meta["name"], METRICS_PORT
    try:
        loads = load_report.parse(await client.get_from_pod(*place, PATH_LOAD, REPORT_BYTES))
        metrics = await client.get_from_pod(*place, PATH_METRICS, METRICS_BYTES)
        return RouterReport(loads, counters(metrics.decode()))
    except (KubeError, ValueError) as error:
        return error


async def _pods(session: Session, selector: str) -> list[Json]:
    """Ready pods of the whole cluster, or of the namespace where others may not be listed."""
    try:
        found = await session.client.items(POD, None, selector)
    except ApiError as error:
        if error.status != 403 or not session.namespace:
            raise
        found = await session.client.items(POD, session.namespace, selector)
    return [pod for pod in found if _is_ready(pod)]


def _is_ours(pod: Json) -> bool:
    return bool(pod["metadata"]["labels"].get(CHART_LABEL, "").startswith(CHART))


def _is_ready(pod: Json) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions)


async def _memory(session: Session) -> dict[tuple[str, str], int]:
    """Resident memory of the servers of each resource that report it, in bytes."""
    try:
        listed = await session.client.items(POD, session.namespace or None, LABEL_MODEL)
    except KubeError:
        return {}
    pods = [pod for pod in listed if _is_ready(pod)]
    if len(pods) > MOST_SERVERS:
        return {}
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(pod: Json) -> int | None:
        meta = pod["metadata"]
        async with slots:
            try:
                raw = await session.client.get_from_pod(
                    meta["namespace"], meta["name"], SERVER_PORT, "/v1/models", MODELS_BYTES
                )
            except KubeError:
                return None
        return memory_in(raw)

    return _sums(pods, await asyncio.gather(*map(one, pods)))


def _sums(pods: Sequence[Json], sizes: Sequence[int | None]) -> dict[tuple[str, str], int]:
    sums: dict[tuple[str, str], int] = {}
    for pod, size in zip(pods, sizes, strict=True):
        meta = pod["metadata"]
        key = meta["namespace"], meta["labels"][LABEL_MODEL]
        if size is not None:
            sums[key] = sums.get(key, 0) + size
    return sums


def memory_in(raw: bytes) -> int | None:
    """`memory_bytes` in a server's list of models; None in any other response."""
    try:
        size = orjson.loads(raw)["data"][0]["memory_bytes"]
    except (ValueError, KeyError, IndexError, TypeError):
        return None
    return size if isinstance(size, int) else None
