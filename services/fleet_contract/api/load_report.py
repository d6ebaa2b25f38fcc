"""The load report of a router: requests in flight and idle time of each model, as JSON.

    {"models": {"<id>": {"in_flight": 2, "idle_seconds": 0.0}}}

A model without requests in the last `REPORTED_SECONDS` may be absent. Times are ages, so that the
clocks of two machines need not agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import orjson

REPORTED_SECONDS = 3600.0
"""How long a model is reported after its last request."""


class ReportedLoad(NamedTuple):
    """`idle_seconds` since the last request began or ended; 0 while one is in flight."""

    in_flight: int
    idle_seconds: float


def render(loads: Mapping[str, ReportedLoad]) -> bytes:
    """The report as JSON."""
    models = {
        model: {"in_flight": load.in_flight, "idle_seconds": round(load.idle_seconds, 3)}
        for model, load in loads.items()
    }
    return orjson.dumps({"models": models})


def parse(content: bytes) -> dict[str, ReportedLoad]:
    """The loads in a report; unknown fields are ignored. Raises ValueError for anything else, such
    as a report that was cut off."""
    try:
        models = orjson.loads(content)["models"]
        loads = {
            model: ReportedLoad(int(entry["in_flight"]), float(entry["idle_seconds"]))
            for model, entry in models.items()
        }
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"not a load report: {error!r}") from error
    for model, load in loads.items():
        if load.in_flight < 0 or not 0 <= load.idle_seconds < float("inf"):
            raise ValueError(f"not a load report: {model!r} has {load}")
    return loads
