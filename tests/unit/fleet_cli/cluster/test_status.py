"""`modelfleet status` of a cluster."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from fleet_cli.cluster.options import Place
from fleet_cli.status import app
from support.cluster_api import MODELS, NAMESPACE, Cluster, model


def status(place: Place, *arguments: str) -> Any:
    options = ["--kubeconfig", str(place.kubeconfig), "--context", str(place.context)]
    return CliRunner().invoke(app, [*options, *arguments])


@pytest.fixture(autouse=True)
def models(cluster: Cluster) -> None:
    waits = {"phase": "Pending", "reason": "Unschedulable"}
    cluster.models = {"chat": model("chat"), "big": model("big", waits)}


def test_models_with_what_routers_and_servers_report(place: Place) -> None:
    done = status(place, "-o", "json")
    assert (done.exit_code, done.stderr) == (0, "")
    big, chat = json.loads(done.stdout)
    assert (chat["model"], chat["namespace"], chat["state"]) == ("acme/chat", NAMESPACE, "Ready")
    assert (chat["in_flight"], chat["held"], chat["memory_bytes"]) == (6, 4, 200 << 20)
    assert (chat["servers_per_hour"], chat["currency"]) == (0.5, "EUR")
    assert (big["reason"], big["in_flight"], big["memory_bytes"]) == ("Unschedulable", 0, None)
    lines = status(place).stdout.splitlines()
    assert [line.split("\t")[:3] for line in lines] == [
        ["team", "acme/big", "Pending"], ["team", "acme/chat", "Ready"]
    ]  # fmt: skip


def test_all_namespaces(place: Place, cluster: Cluster) -> None:
    cluster.refused = {f"{MODELS}/namespaces/{NAMESPACE}/inferencemodels"}
    assert len(status(place, "-A").stdout.splitlines()) == 2


def test_what_may_not_be_read_is_unknown_and_named(place: Place, cluster: Cluster) -> None:
    cluster.refused = {"/api/v1/pods", f"/api/v1/namespaces/{NAMESPACE}/pods"}
    done = status(place, "-o", "json")
    assert done.exit_code == 0
    assert "some figures are unknown: routers: 403 Forbidden: no" in done.stderr
    assert [row["in_flight"] for row in json.loads(done.stdout)] == [None, None]


@pytest.mark.parametrize(
    ("strange", "in_flight"), [({"router-2"}, [0, 3]), ({"router-1", "router-2"}, [None, None])]
)
def test_a_pod_that_is_no_router_whatever_its_labels_are(
    place: Place, cluster: Cluster, strange: set[str], in_flight: list[int | None]
) -> None:
    cluster.strange = strange
    done = status(place, "-o", "json")
    assert done.exit_code == 0
    assert "some figures are unknown: routers:" in done.stderr
    assert [row["in_flight"] for row in json.loads(done.stdout)] == in_flight


def test_routers_of_the_own_namespace_where_others_may_not_be_listed(
    place: Place, cluster: Cluster
) -> None:
    cluster.refused = {"/api/v1/pods"}
    assert [row["in_flight"] for row in json.loads(status(place, "-o", "json").stdout)] == [0, 6]


def test_models_that_may_not_be_read(place: Place, cluster: Cluster) -> None:
    cluster.refused = {f"{MODELS}/namespaces/{NAMESPACE}/inferencemodels"}
    done = status(place)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "modelfleet status: cluster: 403 Forbidden: no\n"


def test_a_cluster_that_does_not_respond(place: Place) -> None:
    done = status(Place(place.kubeconfig, "none"))
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("modelfleet status: cluster: GET /apis/modelfleet.dev")
    missing = status(Place(place.kubeconfig, "gone"))
    assert (missing.exit_code, "not a usable kubeconfig" in missing.stderr) == (1, True)
