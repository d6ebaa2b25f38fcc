"""The report of a router to the `modelfleet up` that started it, as JSON.

    {"routes": 12, "models": {"<id>": {"in_flight": 2, "idle_seconds": 0.0}},
     "orders": [{"model": "<id>", "servers": 0}]}

`routes` is the version of the routes file in use; `models` are as in a load report; `orders` are
those of the console since the last report.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from fleet_contract.api import load_report
from fleet_contract.api.load_report import ReportedLoad

MOST_SERVERS = 64
"""The largest number of servers of one model on one machine."""


class Order(NamedTuple):
    """What is to become of the model `model` (an id): `servers` None starts it as its first request
    would, 0 stops it until a request comes, another number is that of its servers."""

    model: str
    servers: int | None = None

    def to_json(self) -> dict[str, Any]:
        """The fields by name."""
        return {"model": self.model, "servers": self.servers}

    @classmethod
    def parse(cls, found: Any) -> Order:
        """From JSON. Raises ValueError for another document."""
        if not isinstance(found, dict) or not isinstance(model := found.get("model"), str):
            raise ValueError("not an order")
        servers = found.get("servers")
        if servers is None:
            return cls(model)
        if type(servers) is not int or not 0 <= servers <= MOST_SERVERS:
            raise ValueError(f"not an order: servers is not a number from 0 to {MOST_SERVERS}")
        return cls(model, servers)


class ControlReport(NamedTuple):
    """Requests for a model are sent by version `routes` of the routes file, or a later one."""

    routes: int
    loads: Mapping[str, ReportedLoad]
    orders: Sequence[Order] = ()


def render(report: ControlReport) -> bytes:
    """The report as JSON."""
    orders = [order.to_json() for order in report.orders]
    loads = orjson.loads(load_report.render(report.loads))
    return orjson.dumps({"routes": report.routes, **loads, "orders": orders})


def parse(content: bytes) -> ControlReport:
    """The report in `content`; unknown fields are ignored. Raises ValueError for anything else."""
    loads = load_report.parse(content)
    found = orjson.loads(content)
    version = found.get("routes")
    if not isinstance(version, int):
        raise ValueError(f"not a control report: routes is {version!r}")
    orders = found.get("orders") or []
    if not isinstance(orders, list):
        raise ValueError("not a control report: orders is no list")
    return ControlReport(version, loads, tuple(map(Order.parse, orders)))
