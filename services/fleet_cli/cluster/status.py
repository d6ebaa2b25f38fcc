"""`modelfleet status` of a cluster: InferenceModels, and what routers and servers report."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from fleet_cli.cluster import reports, rows
from fleet_cli.cluster.rows import Loads
from fleet_cli.cluster.session import Session
from fleet_cli.status_rows import Row

Before = tuple[float, Loads]
"""Time of the last reading by time.monotonic, and its reports."""


async def read(session: Session, before: Before | None) -> tuple[list[Row], Before, str]:
    """The rows, what the next reading needs for its rates, and why figures are unknown.

    Raises KubeError.
    """
    items = await session.models()
    loads, problem = await reports.read(session)
    now = time.monotonic(), loads
    stamp = datetime.now(UTC)
    found = [rows.row(item, loads, stamp) for item in items]
    if before is not None:
        elapsed = max(now[0] - before[0], 1e-3)
        found = [rows.with_rates(each, loads, before[1], elapsed) for each in found]
    return sorted(found, key=lambda one: (one.namespace, one.model)), now, problem
