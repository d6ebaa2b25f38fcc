"""What a model server shares with others: phases, stages, exit status, events, headers, metrics."""

from __future__ import annotations

from enum import StrEnum

LOAD_FAILED_STATUS = 3
"""Exit status of a server that could not load its model."""
LOAD_FAILED_EVENT = "load_failed"
"""Last event such a server logs: `message` holds the reason, `stage` the StartStage that failed."""
START_FAILED_EVENT = "start_failed"
"""Last event of a server whose settings or spec are invalid: `message` holds the reason."""

SETTING_IGNORED_EVENT = "setting_ignored"
"""Event for each variable without an effect: `setting` holds its name, `reason` why."""


class ServerPhase(StrEnum):
    """State of a server: `status` at /readyz and /health, `state` at /v1/models."""

    STARTING = "starting"
    FETCHING = "fetching"
    CONVERTING = "converting"
    LOADING = "loading"
    WARMING = "warming"
    READY = "ready"
    DRAINING = "draining"
    FAILED = "failed"


class StartStage(StrEnum):
    """Timed steps of a start: keys of `stages` at /readyz, label `stage` of a metric."""

    START = "start"
    FETCH = "fetch"
    CONVERT = "convert"
    LOAD = "load"
    WARM = "warm"
    GOLDEN = "golden"


ROUTER_IN_FLIGHT = "modelfleet_router_in_flight"
"""Gauge of a router, by `model`: running and waiting requests. The operator scales by it."""
ROUTER_REQUESTS = "modelfleet_router_requests"
"""Counter of a router, by `model`; exposed with the suffix `_total`."""
CALLER_HEADER = "x-modelfleet-caller"
"""From router to server: 16 hexadecimal digits that stand for the caller. A server takes turns
between callers; for a request without it, the peer's address is the caller."""
