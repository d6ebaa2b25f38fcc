"""The load of every model, summed over the metrics of the routers. Pure.

Routers in a model's own namespace count; where there are none, all routers do.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from fleet_contract.server_protocol import ROUTER_IN_FLIGHT, ROUTER_REQUESTS
from fleet_operator.decide.autoscale import Load

REQUESTS = f"{ROUTER_REQUESTS}_total"
_LINE = re.compile(rf"^({ROUTER_IN_FLIGHT}|{REQUESTS})\{{(.*)\}} (\S+)")
_MODEL = re.compile(r'(?:^|,)model="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, slots=True)
class RouterReport:
    """One router's metrics; `models` maps model ids to (in flight, requests), None if unknown."""

    namespace: str
    name: str
    models: Mapping[str, tuple[float, int]] | None


@dataclass(slots=True)
class _Sum:
    in_flight: float = 0.0
    requests: int = 0


@dataclass(frozen=True, slots=True)
class FleetLoad:
    """The last scrape of all routers."""

    reports: tuple[RouterReport, ...] = field(default=())

    def of(self, namespace: str, model: str) -> Load | None:
        """The load of a model; None where no router is known."""
        near = [report for report in self.reports if report.namespace == namespace]
        reports = near or list(self.reports)
        if not reports:
            return None
        total = _Sum()
        for report in reports:
            if report.models is not None and model in report.models:
                in_flight, requests = report.models[model]
                total.in_flight += in_flight
                total.requests += requests
        complete = all(report.models is not None for report in reports)
        return Load(total.in_flight, total.requests, complete)


def parse_metrics(lines: Iterable[str]) -> dict[str, tuple[float, int]]:
    """Model id to (in flight, requests) from the Prometheus text of one router."""
    sums: dict[str, _Sum] = {}
    for line in lines:
        if not line.startswith((ROUTER_IN_FLIGHT, REQUESTS)):
            continue
        found = _LINE.match(line)
        model = _MODEL.search(found[2]) if found else None
        if found is None or model is None:
            continue
        one = sums.setdefault(re.sub(r"\\(.)", r"\1", model[1]), _Sum())
        if found[1] == ROUTER_IN_FLIGHT:
            one.in_flight += float(found[3])
        else:
            one.requests += int(float(found[3]))
    return {model: (one.in_flight, one.requests) for model, one in sums.items()}
