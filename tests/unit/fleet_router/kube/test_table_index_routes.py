"""Route tables built from InferenceModels and EndpointSlices."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fleet_contract import catalog
from fleet_contract.names import ANNOTATION_WAKE, LABEL_MODEL
from fleet_contract.spec import ModelSpec, Task
from fleet_contract.status import Phase
from fleet_router.kube.objects import read_model, read_slice, read_slice_of_service
from fleet_router.routing.table import Endpoint, Origin, RouteTable
from fleet_router.status.models import state_of
from support.route_tables import build

KNOWN = catalog.load()
Json = dict[str, Any]


def resource(name: str, spec: Json, created: int = 0, **more: Any) -> Json:
    meta = {
        "name": name, "namespace": more.pop("namespace", "default"),
        "creationTimestamp": f"2026-01-01T00:00:{created:02d}Z",
        "annotations": more.pop("annotations", None),
    }  # fmt: skip
    return {"metadata": meta, "spec": spec, **more}


def endpoint_slice(model: str, *endpoints: Json, namespace: str = "default") -> Json:
    return {
        "metadata": {"name": f"{model}-x", "namespace": namespace, "labels": {LABEL_MODEL: model}},
        "ports": [{"name": "metrics", "port": 9}, {"name": "http", "port": 8000}],
        "endpoints": list(endpoints),
    }


def ready(address: str, **conditions: Any) -> Json:
    return {
        "addresses": [address],
        "conditions": {"ready": True, **conditions},
        "targetRef": {"kind": "Pod", "name": f"pod-{address}"},
    }


def table(models: list[Json], slices: list[Json] = [], **environ: str) -> RouteTable:  # noqa: B006
    views = [read_model(each, KNOWN, environ) for each in models]
    return build(views, [read_slice(each) for each in slices], environ)


def test_a_model_and_its_ready_servers() -> None:
    slices = [
        endpoint_slice("m", ready("10.0.0.2"), ready("10.0.0.1"), ready("10.0.0.3", ready=False)),
        endpoint_slice("m", ready("10.0.0.2"), {"addresses": ["10.0.0.4"], "conditions": {}}),
        endpoint_slice("m", ready("10.0.0.5", terminating=True)),
        endpoint_slice("m", ready("10.0.0.6"), namespace="elsewhere"),
        endpoint_slice("other", ready("10.0.0.7")),
        {"metadata": {"name": "none", "namespace": "default"}, "endpoints": None, "ports": None},
    ]
    route = table([resource("m", {"model": "acme/m"})], slices).by_id["acme/m"]
    assert route.endpoints == (
        Endpoint("10.0.0.4", "10.0.0.4", 8000),
        Endpoint("pod-10.0.0.1", "10.0.0.1", 8000),
        Endpoint("pod-10.0.0.2", "10.0.0.2", 8000),
    )
    assert route.origin == Origin("default", "m")


def test_a_server_with_addresses_of_both_families_is_one() -> None:
    def at(address: str, name: str) -> Json:
        return {**ready(address), "targetRef": {"kind": "Pod", "name": name}}

    slices = [
        endpoint_slice("m", at("fd00::1", "a"), at("fd00::2", "b"), at("fd00::3", "c")),
        endpoint_slice("m", at("10.0.0.1", "a"), at("10.0.0.2", "b")),
    ]
    route = table([resource("m", {"model": "acme/m"})], slices).by_id["acme/m"]
    assert route.endpoints == (
        Endpoint("a", "10.0.0.1", 8000),
        Endpoint("b", "10.0.0.2", 8000),
        Endpoint("c", "fd00::3", 8000),
    )


def test_servers_that_are_not_ready_are_starting_unless_terminating() -> None:
    leaving = ready("10.0.0.3", ready=False, terminating=True)
    view = read_slice(
        endpoint_slice("m", ready("10.0.0.1"), ready("10.0.0.2", ready=False), leaving)
    )
    assert view.endpoints == (Endpoint("pod-10.0.0.1", "10.0.0.1", 8000),)
    assert view.starting == (Endpoint("pod-10.0.0.2", "10.0.0.2", 8000),)


def test_a_model_without_servers_has_phase_and_reason_of_its_status() -> None:
    item = resource(
        "m", {"model": "acme/m"}, annotations={ANNOTATION_WAKE: "2026-01-01T00:00:00Z"},
        status={
            "phase": "ScaledToZero",
            "coldStart": {"totalSeconds": 4.5},
            "reason": "Idle",
        },
    )  # fmt: skip
    route = table([item]).by_id["acme/m"]
    assert (route.phase, route.cold_seconds) == (Phase.SCALED_TO_ZERO, 4.5)
    assert route.reason == "Idle"
    assert route.origin == Origin("default", "m", "2026-01-01T00:00:00Z")
    assert state_of(route, "starting") == "scaled_to_zero"


def test_a_model_that_waits_for_room_is_expected_after_its_start() -> None:
    start = {"totalSeconds": 64.5, "scheduleSeconds": 60.0}
    for scaling, ready_at in (
        ({"desiredReplicas": 1, "roomAt": "2026-01-01T00:00:00Z"}, 1767225600 + 4.5),
        ({"desiredReplicas": 1}, None), ({"roomAt": "soon"}, None), ({"roomAt": 5}, None),
    ):  # fmt: skip
        item = resource("m", {"model": "acme/m"}, status={"scaling": scaling, "coldStart": start})
        assert table([item]).by_id["acme/m"].ready_at == ready_at
    unmeasured = {"scaling": {"roomAt": "2026-01-01T00:00:00Z"}}
    item = resource("m", {"model": "acme/m"}, status=unmeasured)
    assert table([item]).by_id["acme/m"].ready_at == 1767225600


def test_a_short_resource_is_completed_from_the_catalog_or_the_status() -> None:
    embedder = next(spec for spec in KNOWN.values() if spec.task is Task.EMBEDDING)
    route = table([resource("e", {"model": embedder.model})]).by_id[embedder.model]
    assert route.spec.task is Task.EMBEDDING
    resolved = {"model": embedder.model, "task": "embedding", "contextLength": 77, "dimensions": 8}
    own = {"model": embedder.model, "contextLength": 99}
    route = table([resource("e", own, status={"resolved": resolved})]).by_id[embedder.model]
    assert (route.spec.context_length, route.spec.dimensions) == (99, 8)


def test_an_alias_selects_the_id_of_the_catalog() -> None:
    spec = next(spec for spec in KNOWN.values() if spec.aliases)
    alias = spec.aliases[0]
    for status in ({}, {"resolved": {"model": spec.model, "aliases": [alias], "task": spec.task}}):
        found = table([resource("m", {"model": alias}, status=status)])
        assert found.by_id[alias].model == spec.model
    own = {"model": alias, "aliases": ["mine"]}
    found = table(
        [resource("m", own, status={"resolved": {"model": spec.model, "aliases": [alias]}})]
    )
    assert {alias, "mine", spec.model} <= set(found.by_id)


@pytest.mark.parametrize(
    "spec",
    [
        {"model": "acme/m", "fromTheFuture": True, "task": "embedding"},
        {"model": "acme/m", "task": "dreaming"},
        {"model": "acme/m", "aliases": ["acme/m"]},
        {"model": "acme/m", "limits": {"maxItems": "many"}},
    ],
)
def test_an_invalid_model_keeps_its_route(spec: Json) -> None:
    view = read_model(resource("m", spec), KNOWN, {})
    assert view.problem
    assert view.spec is not None
    assert view.spec.model == "acme/m"
    if spec.get("fromTheFuture"):
        assert view.spec.task is Task.EMBEDDING


@pytest.mark.parametrize("item", [{}, {"spec": None}, {"spec": {"model": 5}}, {"spec": {}}])
def test_resources_without_a_model_are_ignored(item: Json) -> None:
    assert table([{"metadata": {"name": "m", "namespace": "default"}, **item}]).routes == ()


def test_the_oldest_model_owns_an_id_and_a_younger_one_keeps_its_other_names() -> None:
    models = [
        resource("young", {"model": "acme/y", "aliases": ["chat", "y"]}, 2),
        resource("twin", {"model": "acme/o"}, 3, namespace="elsewhere"),
        resource("old", {"model": "acme/o", "aliases": ["chat"]}, 1),
    ]
    found = table(models)
    assert [route.model for route in found.routes] == ["acme/o", "acme/y"]
    assert found.by_id["chat"].model == "acme/o"
    assert found.by_id["y"].model == "acme/y"
    assert found.by_id["acme/o"].origin == Origin("default", "old")


def test_an_id_takes_precedence_over_an_alias() -> None:
    models = [
        resource("old", {"model": "acme/o", "aliases": ["acme/y", "o"]}, 1),
        resource("young", {"model": "acme/y"}, 2),
    ]
    found = table(models)
    assert found.by_id["acme/y"].model == "acme/y"
    assert found.by_id["o"].model == "acme/o"
    assert found.by_id["acme/o"].spec.aliases == ["o"]


def test_other_names_of_a_model_whose_id_is_taken_are_known_and_refused() -> None:
    models = [
        resource("old", {"model": "acme/o", "aliases": ["chat"]}, 1),
        resource("twin", {"model": "acme/o", "aliases": ["chat", "t"]}, 2),
    ]
    found = table(models, [endpoint_slice("twin", ready("10.0.0.1"))])
    assert [route.origin for route in found.routes] == [Origin("default", "old")]
    assert found.by_id["chat"] is found.by_id["acme/o"]
    refused = found.by_id["t"]
    assert (refused.phase, refused.reason, refused.endpoints) == (
        Phase.CONFLICT, "DuplicateModel", ()
    )  # fmt: skip


def test_a_remote_model_is_routed_to_its_address_with_an_allowed_key() -> None:
    spec = {
        "model": "gpt", "engine": "remote",
        "remote": {"address": "https://api.example.com/base", "model": "big", "apiKeyEnv": "KEY"},
    }  # fmt: skip
    allowed = table([resource("r", spec)], KEY="secret", REMOTE_KEYS="OTHER, KEY").by_id["gpt"]
    assert allowed.upstream_model == "big"
    assert allowed.endpoints[0].key == "secret"
    assert allowed.endpoints[0].prefix == "/base"
    assert "secret" not in repr(allowed)
    refused = table([resource("r", spec)], KEY="secret", REMOTE_KEYS="OTHER").by_id["gpt"]
    assert (refused.endpoints, refused.reason) == ((), "RemoteKeyRefused")
    rules = [{"name": "KEY", "addresses": ["https://api.example.com"], "namespaces": ["other"]}]
    elsewhere = table([resource("r", spec)], KEY="secret", REMOTE_KEYS=json.dumps(rules))
    assert elsewhere.by_id["gpt"].endpoints == ()


def test_settings_override_and_a_bad_override_is_left_to_the_server() -> None:
    models = [
        resource("a", {"model": "a", "env": {"MAX_BODY_BYTES": "5"}}),
        resource("b", {"model": "b", "env": {"MAX_BODY_BYTES": "many"}}),
    ]
    found = table(models, MAX_BODY_BYTES="7")
    assert found.by_id["a"].spec.limits.max_body_bytes == 5
    assert found.by_id["b"].spec == ModelSpec(model="b", env={"MAX_BODY_BYTES": "many"})


@pytest.mark.parametrize(
    ("status", "weight"),
    [
        ({}, 0),
        ({"traffic": {"weight": 40, "start": 10}}, 40),
        ({"traffic": {"weight": 0, "start": 10}}, 0),
        ({"traffic": {"weight": 40, "start": 5}}, 0),  # edited since
        ({"traffic": {"weight": "all", "start": 10}}, 0),
        ({"traffic": "all"}, 0),
    ],
)
def test_a_weight_that_rises_is_that_of_the_status(status: Json, weight: int) -> None:
    traffic = {"group": "a/b", "weight": 10, "rise": {}}
    view = read_model(resource("m", {"model": "c/d", "traffic": traffic}, status=status), KNOWN, {})
    assert view.spec is not None
    assert view.spec.traffic is not None
    assert view.spec.traffic.weight == weight


def test_a_weight_that_does_not_rise_is_that_of_the_spec() -> None:
    spec = {"model": "c/d", "traffic": {"group": "a/b", "weight": 10}}
    status = {"traffic": {"weight": 40, "start": 10}}
    view = read_model(resource("m", spec, status=status), KNOWN, {})
    assert view.spec is not None
    assert view.spec.traffic is not None
    assert view.spec.traffic.weight == 10


def test_ids_get_the_prefix_of_their_namespace() -> None:
    models = [
        resource("m", {"model": "org/m", "aliases": ["m", "team-a/own"]}, namespace="team-a"),
        resource("m", {"model": "org/m"}, namespace="team-b"),
        resource("r", {"model": "r", "engine": "remote",
                       "remote": {"address": "http://10.9.9.9:80"}}, namespace="team-a"),
        resource("s", {"model": "s", "engine": "remote",
                       "remote": {"address": "http://10.9.9.9:80", "model": "theirs"}},
                 namespace="team-a"),
    ]  # fmt: skip
    views = [read_model(each, KNOWN, {}) for each in models]
    found = build(views, [], {"ID_PREFIXES": "team-a=team-a/"})
    assert {name: (route.model, route.upstream_model) for name, route in found.by_id.items()} == {
        "team-a/org/m": ("team-a/org/m", "org/m"),
        "team-a/m": ("team-a/org/m", "org/m"),
        "team-a/own": ("team-a/org/m", "org/m"),
        "org/m": ("org/m", ""),
        "team-a/r": ("team-a/r", "r"),
        "team-a/s": ("team-a/s", "theirs"),
    }


def test_a_service_stands_for_its_ready_servers() -> None:
    view = read_slice_of_service(
        endpoint_slice("m", ready("10.0.0.1"), ready("10.0.0.2"), ready("10.0.0.3", ready=False))
    )
    assert view.endpoints == (Endpoint("m", "m.default.svc", 8000),)
    assert view.starting == ()
    sleeping = read_slice_of_service(endpoint_slice("m", ready("10.0.0.3", ready=False)))
    assert sleeping.endpoints == ()


def test_a_traffic_group_gets_the_prefix_of_its_namespace() -> None:
    models = [
        resource("m", {"model": "org/m", "traffic": {"group": "org/m"}}, namespace="team-a"),
        resource("n", {"model": "org/n", "traffic": {"group": "org/m"}}, namespace="team-a"),
    ]
    views = [read_model(each, KNOWN, {}) for each in models]
    found = build(views, [], {"ID_PREFIXES": "team-a=team-a/"})
    members = found.members(("team-a", "team-a/org/m"))
    assert {route.model for route in members} == {"team-a/org/m", "team-a/org/n"}


def test_a_service_with_a_copied_label_adds_no_servers() -> None:
    """`kubectl expose deployment m --name=public` copies the labels of the Deployment."""
    own, public = endpoint_slice("m", ready("10.0.0.1")), endpoint_slice("m", ready("10.0.0.2"))
    own["metadata"]["labels"]["kubernetes.io/service-name"] = "m"
    public["metadata"]["labels"]["kubernetes.io/service-name"] = "public"
    found = table([resource("m", {"model": "org/m"})], [own, public])
    assert [each.host for each in found.by_id["org/m"].endpoints] == ["10.0.0.1"]
