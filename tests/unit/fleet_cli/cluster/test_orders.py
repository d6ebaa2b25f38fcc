"""Models of a cluster that are started, stopped and scaled."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from fleet_cli import orders as command
from fleet_cli.cluster import orders
from fleet_cli.cluster.options import Place
from fleet_contract.names import ANNOTATION_WAKE
from support.cluster_api import Cluster, model


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orders, "POLL_SECONDS", 0.0)


def run(app: typer.Typer, place: Place, *arguments: str) -> Any:
    options = ["--kubeconfig", str(place.kubeconfig), "--context", str(place.context)]
    return CliRunner().invoke(app, [*arguments, *options])


def test_an_id_that_two_resources_have_is_refused_with_their_names(
    place: Place, cluster: Cluster
) -> None:
    cluster.models = {name: model(name, model="acme/x") for name in ("a", "b")}
    done = run(command.unload_app, place, "acme/x")
    assert (done.exit_code, cluster.patches) == (1, [])
    assert "a (namespace team), b (namespace team); use the name of one" in done.stderr


def test_a_model_is_scaled_stopped_and_started(place: Place, cluster: Cluster) -> None:
    cluster.models = {"chat": model("chat", {"replicas": 1, "readyReplicas": 1})}
    for app, arguments, patch in (
        (command.scale_app, ("acme/chat", "3"), {"replicas": 3}),
        (command.unload_app, ("chat",), {"stopped": True}),
        (command.load_app, ("chat",), {"stopped": False}),
        (command.scale_app, ("chat", "0"), {"replicas": 0}),
        (command.load_app, ("chat",), {"replicas": 1}),
    ):
        done = run(app, place, *arguments)
        assert (done.exit_code, done.stderr) == (0, "")
        assert cluster.patches[-1] == {"spec": patch}
    assert run(command.load_app, place, "chat").exit_code == 0
    assert len(cluster.patches) == 5  # it runs already


@pytest.mark.parametrize("field", ["targetInFlight", "scaleToZeroAfter", "yieldsAfter"])
def test_a_model_that_scales_itself_is_woken_and_not_scaled(
    place: Place, cluster: Cluster, field: str
) -> None:
    cluster.models = {"chat": model("chat", {"readyReplicas": 1}, **{field: 60})}
    assert run(command.load_app, place, "chat", "--no-wait").exit_code == 0
    [patch] = cluster.patches
    assert patch["metadata"]["annotations"].keys() == {ANNOTATION_WAKE}
    refused = run(command.scale_app, place, "chat", "2")
    assert refused.exit_code == 1
    assert "set its minReplicas and maxReplicas instead" in refused.stderr


def test_the_time_of_an_order_is_rounded_up() -> None:
    """A model that yielded in the same second ignores what is before its end."""
    item = model("chat", {}, yieldsAfter=60)
    patch = orders.load_patch(item, datetime(2026, 1, 1, 12, 0, 0, 300_000, UTC))
    assert patch == {"metadata": {"annotations": {ANNOTATION_WAKE: "2026-01-01T12:00:01Z"}}}


def test_a_remote_model_is_ready_without_servers(place: Place, cluster: Cluster) -> None:
    cluster.models = {"far": model("far", {"reason": "Remote"}, engine="remote")}
    assert run(command.load_app, place, "far").exit_code == 0
    assert cluster.patches == []


def test_unknown_and_ambiguous_names(place: Place, cluster: Cluster) -> None:
    cluster.models = {"chat": model("chat", aliases=["x"]), "other": model("other", aliases=["x"])}
    missing = run(command.load_app, place, "none")
    assert (missing.exit_code, missing.stderr) == (
        1, "modelfleet load: the namespace team has no model 'none'; its models: chat, other\n"
    )  # fmt: skip
    assert "several models 'x'" in run(command.unload_app, place, "x").stderr


def test_a_start_that_fails(
    place: Place, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orders, "FAILED_SECONDS", -1.0)
    failed = {"phase": "Failed", "reason": "LoadFailed", "readyReplicas": 0}
    cluster.models = {"chat": model("chat", failed)}
    done = run(command.load_app, place, "chat")
    assert (done.exit_code, "chat has failed: LoadFailed" in done.stderr) == (1, True)
