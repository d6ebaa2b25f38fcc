"""The GET operations: models, health, metrics and the document itself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from fleet_contract.api.models import (
    FleetHealth,
    LoadReport,
    ModelList,
    ModelObject,
    ServerHealth,
    Status,
)
from fleet_contract.names import (
    PATH_HEALTH,
    PATH_LIVE,
    PATH_LOAD,
    PATH_METRICS,
    PATH_OPENAPI,
    PATH_READY,
)
from fleet_web.openapi.operation import COMMON_ERRORS, JSON, TEXT, MediaType, Operation

MODELS = "/v1/models"
MODEL = "/v1/models/{model_id}"

_PROBE = Operation(
    PATH_LIVE, "get", "probes", "Liveness of the process.",
    responses=(MediaType(JSON, Status),), not_ready=Status,
)  # fmt: skip


def server_operations(*, with_metrics: bool) -> Iterable[Operation]:
    """Those of a model server."""
    readiness = replace(
        _PROBE, path=PATH_READY, summary="Readiness of the model, and its load progress.",
        responses=(MediaType(JSON, ServerHealth),), not_ready=ServerHealth,
    )  # fmt: skip
    yield from (_PROBE, readiness, replace(readiness, path=PATH_HEALTH))
    yield from _models(COMMON_ERRORS)
    yield from _texts(with_metrics=with_metrics, errors=COMMON_ERRORS)


def router_operations(*, guarded: bool, with_metrics: bool) -> Iterable[Operation]:
    """Those of a router; with `guarded`, models and document require an API key."""
    errors = COMMON_ERRORS | ({401} if guarded else set())
    yield replace(_PROBE, not_ready=None)
    yield replace(_PROBE, path=PATH_READY, summary="Readiness of the router.")
    yield replace(
        _PROBE, path=PATH_HEALTH, summary="Readiness of every model.",
        description="Without a key, where one is required, only `status`." if guarded else "",
        responses=(MediaType(JSON, FleetHealth),), not_ready=FleetHealth,
    )  # fmt: skip
    metrics_errors = frozenset({401, 403}) if guarded else frozenset()
    if with_metrics:
        yield Operation(
            PATH_LOAD, "get", "probes", "Requests in flight and idle time of each model.",
            responses=(MediaType(JSON, LoadReport),), errors=metrics_errors,
        )  # fmt: skip
    yield from _models(errors | {503})
    yield from _texts(with_metrics=with_metrics, errors=errors, metrics_errors=metrics_errors)


def _models(errors: frozenset[int]) -> Iterable[Operation]:
    yield Operation(
        MODELS, "get", "models", "List models.",
        responses=(MediaType(JSON, ModelList),), errors=errors,
    )  # fmt: skip
    yield Operation(
        MODEL, "get", "models", "Get one model by id or alias.",
        description="An id may contain slashes, plain or as %2F.",
        parameters=("model_id",), responses=(MediaType(JSON, ModelObject),), errors=errors | {404},
    )  # fmt: skip


def _texts(
    *, with_metrics: bool, errors: frozenset[int], metrics_errors: frozenset[int] = frozenset()
) -> Iterable[Operation]:
    if with_metrics:
        yield Operation(
            PATH_METRICS, "get", "probes", "Metrics in the Prometheus text format.",
            responses=(MediaType(TEXT, str),), errors=metrics_errors,
        )  # fmt: skip
    yield Operation(
        PATH_OPENAPI, "get", "models", "This document.",
        responses=(MediaType(JSON, dict[str, Any]),), errors=errors,
    )  # fmt: skip
