"""The report of a router to the `modelfleet up` that started it, as JSON.

    {"routes": 12, "models": {"<id>": {"in_flight": 2, "idle_seconds": 0.0}}}

`routes` is the version of the routes file in use; `models` are as in a load report.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import orjson

from fleet_contract.api import load_report
from fleet_contract.api.load_report import ReportedLoad


class ControlReport(NamedTuple):
    """Requests for a model are sent by version `routes` of the routes file, or a later one."""

    routes: int
    loads: Mapping[str, ReportedLoad]


def render(report: ControlReport) -> bytes:
    """The report as JSON."""
    return orjson.dumps({"routes": report.routes, **orjson.loads(load_report.render(report.loads))})


def parse(content: bytes) -> ControlReport:
    """The report in `content`; unknown fields are ignored. Raises ValueError for anything else."""
    loads = load_report.parse(content)
    version = orjson.loads(content).get("routes")
    if not isinstance(version, int):
        raise ValueError(f"not a control report: routes is {version!r}")
    return ControlReport(version, loads)
