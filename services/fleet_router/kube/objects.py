"""InferenceModels and EndpointSlices as small frozen views of the fields the router needs. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from fleet_contract import catalog
from fleet_contract.accelerators import SpecLayer
from fleet_contract.completion import complete, merge
from fleet_contract.names import (
    ANNOTATION_WAKE,
    API_VERSION,
    KIND,
    LABEL_MODEL,
    PLURAL,
    SERVER_PORT,
)
from fleet_contract.settings import override
from fleet_contract.spec import ModelSpec
from fleet_contract.status import Phase
from fleet_kube.client import Json
from fleet_kube.kind import Kind
from fleet_router.routing.table import Endpoint

MODEL = Kind(API_VERSION, KIND, PLURAL)
SLICE = Kind("discovery.k8s.io/v1", "EndpointSlice", "endpointslices")
SERVICE_LABEL = "kubernetes.io/service-name"
PORT_NAME = "http"


@dataclass(frozen=True, slots=True)
class ModelView:
    """An InferenceModel; `created` and `wake_at` in RFC 3339, `phase` and `reason` from status.

    `ready_at` is the Unix time at which a model that waits for others to yield may be ready.
    """

    namespace: str
    name: str
    created: str
    spec: ModelSpec | None
    problem: str = ""
    phase: Phase | None = None
    reason: str = ""
    cold_seconds: float | None = None
    wake_at: str = ""
    ready_at: float | None = None


@dataclass(frozen=True, slots=True)
class SliceView:
    """An EndpointSlice: ready and starting servers of the InferenceModel `model`."""

    namespace: str
    model: str
    endpoints: tuple[Endpoint, ...]
    starting: tuple[Endpoint, ...] = ()


def read_model(item: Json, known: catalog.Catalog, environ: Mapping[str, str]) -> ModelView:
    """View of an InferenceModel; one that cannot be read has a `problem` and no spec.

    Settings in `environ` override limits, as they do in the servers.
    """
    status = _mapping(item.get("status"))
    spec, problem = spec_of(_mapping(item.get("spec")), _mapping(status.get("resolved")), known)
    # The server reports an invalid override and does not start; the route exists either way.
    with suppress(ValueError):
        spec = spec and override(spec, {**environ, **spec.plain_env})
    spec = spec and with_present_weight(spec, _mapping(status.get("traffic")))
    return replace(read_status(item), spec=spec, problem=problem)


def read_status(item: Json) -> ModelView:
    """View of an InferenceModel without its spec."""
    meta, status = item["metadata"], _mapping(item.get("status"))
    start = _mapping(status.get("coldStart"))
    cold = start.get("totalSeconds")
    return ModelView(
        namespace=meta.get("namespace", ""),
        name=meta["name"],
        created=meta.get("creationTimestamp") or "",
        spec=None,
        phase=_phase(status.get("phase")),
        reason=str(status.get("reason") or ""),
        cold_seconds=float(cold) if isinstance(cold, int | float) and cold > 0 else None,
        wake_at=_mapping(meta.get("annotations")).get(ANNOTATION_WAKE, ""),
        ready_at=_ready_at(_mapping(status.get("scaling")).get("roomAt"), start),
    )


def _ready_at(room_at: Any, start: Json) -> float | None:
    """When there is room for a model, and the time that it took to start on a node."""
    try:
        took = float(start.get("totalSeconds", 0)) - float(start.get("scheduleSeconds", 0))
        return datetime.fromisoformat(room_at).timestamp() + max(0.0, took)
    except (TypeError, ValueError, OverflowError):
        return None


def with_present_weight(spec: ModelSpec, present: Json) -> ModelSpec:
    """With the weight of a traffic share that rises by itself, unless its start was edited since.

    Until the operator has seen the model, its weight is 0: its servers have passed no check yet.
    """
    traffic = spec.traffic
    if traffic is None or traffic.rise is None:
        return spec
    weight = present.get("weight") if present.get("start") == traffic.weight else 0
    weight = weight if isinstance(weight, int) and 0 <= weight <= 100 else 0
    return spec.model_copy(update={"traffic": traffic.model_copy(update={"weight": weight})})


def spec_of(own: Json, resolved: Json, known: catalog.Catalog) -> tuple[ModelSpec | None, str]:
    """The spec to route by, and a problem ("" for none).

    The resource's own fields take precedence over the spec that the operator resolved, which may be
    one edit behind, or over the catalog's entry if there is none yet. Of a spec that this version
    of the router cannot read, id, aliases and task are kept, so that the model is not unknown.
    """
    whole = _over_resolved(own, resolved)
    try:
        if whole is None:
            return complete(own, known).spec, ""
        return ModelSpec.model_validate(whole), ""
    except ValidationError as error:
        problem = catalog.first_problem(error)
    except ValueError as error:
        problem = str(error)
    fields = whole or own
    for keys in (("model", "aliases", "task"), ("model", "task"), ("model",)):
        try:
            return ModelSpec.model_validate({k: fields[k] for k in keys if k in fields}), problem
        except ValidationError:
            continue
    return None, problem


def _over_resolved(own: Json, resolved: Json) -> Json | None:
    """`own` merged over `resolved`; None if `resolved` is empty or of another model."""
    named, model = own.get("model"), resolved.get("model")
    aliases = resolved.get("aliases") or []
    if model is None or (named != model and named not in aliases):
        return None
    above = {**own, "model": model}
    if named != model and "aliases" in own:
        above["aliases"] = [named, *(alias for alias in own["aliases"] if alias != named)]
    merged, _ = merge([SpecLayer("own", above), SpecLayer("resolved", resolved)])
    return merged


def read_slice(item: Json) -> SliceView:
    """View of an EndpointSlice without terminating endpoints; one of a Service with another name
    than the model's is of no model.

    Source: kubernetes.io/docs/concepts/services-networking/endpoint-slices (a missing `ready` means
    ready; addresses of one endpoint are interchangeable).
    """
    meta = item["metadata"]
    labels = _mapping(meta.get("labels"))
    port = _port(item.get("ports") or [])
    endpoints: list[Endpoint] = []
    starting: list[Endpoint] = []
    for one in item.get("endpoints") or []:
        conditions = _mapping(one.get("conditions"))
        if port and one.get("addresses") and not conditions.get("terminating"):
            name = _mapping(one.get("targetRef")).get("name") or one["addresses"][0]
            listed = endpoints if conditions.get("ready") is not False else starting
            listed.append(Endpoint(name, one["addresses"][0], port))
    service = labels.get(SERVICE_LABEL, "")
    model = labels.get(LABEL_MODEL) or service
    if service and service != model:  # `kubectl expose` copies the label to a Service of its own
        model = ""
    return SliceView(meta.get("namespace", ""), model, tuple(endpoints), tuple(starting))


def read_slice_of_service(item: Json) -> SliceView:
    """View of an EndpointSlice with its Service as the only server, while any server is ready.

    For service meshes, which encrypt traffic to the names of Services only.
    """
    view, meta = read_slice(item), item["metadata"]
    name = _mapping(meta.get("labels")).get(SERVICE_LABEL) or view.model
    host = f"{name}.{view.namespace}.svc"
    endpoints = (Endpoint(name, host, SERVER_PORT),) if view.endpoints else ()
    return SliceView(view.namespace, view.model, endpoints)


def _port(ports: list[Json]) -> int:
    named = [port for port in ports if port.get("name") == PORT_NAME]
    return int((named or ports or [{}])[0].get("port") or 0)


def _phase(value: Any) -> Phase | None:
    try:
        return Phase(value)
    except ValueError:
        return None


def _mapping(value: Any) -> Json:
    return value if isinstance(value, dict) else {}
