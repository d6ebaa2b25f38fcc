"""What is not asked of models: which there are, whether they are well, metrics, the document."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from fleet_contract.api.models import FleetHealth, ModelList, ModelObject, ServerHealth, Status
from fleet_contract.names import PATH_HEALTH, PATH_LIVE, PATH_METRICS, PATH_OPENAPI, PATH_READY
from fleet_web.openapi.operation import ANYWHERE, JSON, TEXT, Content, Operation

MODELS = "/v1/models"
MODEL = "/v1/models/{model_id}"

_PROBE = Operation(
    PATH_LIVE, "get", "probes", "Whether the process is well.",
    answers=(Content(JSON, Status),), unready=Status,
)  # fmt: skip


def of_server(*, with_metrics: bool) -> Iterable[Operation]:
    """A model server's."""
    readiness = replace(
        _PROBE, path=PATH_READY, summary="Whether the model answers, and how far it is.",
        answers=(Content(JSON, ServerHealth),), unready=ServerHealth,
    )  # fmt: skip
    yield from (_PROBE, readiness, replace(readiness, path=PATH_HEALTH))
    yield from _models(ANYWHERE)
    yield from _texts(with_metrics=with_metrics, errors=ANYWHERE)


def of_router(*, guarded: bool, with_metrics: bool) -> Iterable[Operation]:
    """A router's. Where it asks for keys (`guarded`), it does for what is said of models."""
    asks = ANYWHERE | ({401} if guarded else set())
    yield replace(_PROBE, unready=None)
    yield replace(_PROBE, path=PATH_READY, summary="Whether the router takes traffic.")
    yield replace(
        _PROBE, path=PATH_HEALTH, summary="Whether every model is ready.",
        answers=(Content(JSON, FleetHealth),), unready=FleetHealth,
    )  # fmt: skip
    yield from _models(asks | {503})
    yield from _texts(with_metrics=with_metrics, errors=asks)


def _models(errors: frozenset[int]) -> Iterable[Operation]:
    yield Operation(
        MODELS, "get", "models", "The models there are.",
        answers=(Content(JSON, ModelList),), errors=errors,
    )  # fmt: skip
    yield Operation(
        MODEL, "get", "models", "One model, by id or alias.",
        description="An id may hold slashes, as they are or as %2F.",
        parameters=("model_id",), answers=(Content(JSON, ModelObject),), errors=errors | {404},
    )  # fmt: skip


def _texts(*, with_metrics: bool, errors: frozenset[int]) -> Iterable[Operation]:
    if with_metrics:
        yield Operation(
            PATH_METRICS, "get", "probes", "Metrics in Prometheus' text format.",
            answers=(Content(TEXT, str),),
        )  # fmt: skip
    yield Operation(
        PATH_OPENAPI, "get", "models", "This document.",
        answers=(Content(JSON, dict[str, Any]),), errors=errors,
    )  # fmt: skip
