"""Checked traffic through the routers' Service while the release, its models and its pods change.

No request fails or is cut off by an upgrade, a rollback, scaling, a restart or a killed server.
There are two servers each of a chat and an embedding model, one of a speech model, two routers.
"""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from harness import edge as edges
from harness.fleet import (
    MODELS,
    OPERATOR,
    PAIRS,
    READY_SECONDS,
    ROUTER,
    ROUTERS,
    TAGS,
    Fleet,
    Traffic,
    names,
    of_model,
)
from harness.models import APPS
from harness.servers import kill, restarted, total, wait_until_busy


@pytest.mark.flaky(
    reruns=1,
    reason="failed while other suites kept both cores busy, passed alone; the cause is not known",
)
def test_upgrades_and_rollback(fleet: Fleet, traffic: Traffic) -> None:
    routers = names(fleet.pods(ROUTERS))
    with traffic() as (_, change):
        with change("upgrade to another image"):
            fleet.upgrade({"image.tag": TAGS[1]})
            fleet.wait_for_pods(ROUTERS, 2, without=routers, image=f":{TAGS[1]}")
            fleet.wait_for_all_pods(image=f":{TAGS[1]}-cpu")
        with change("upgrade to other values"):
            fleet.upgrade({"router.replicas": 3, "router.settings": {"HOLD_SECONDS": 240},
                           "operator.settings": {"SCALE_DOWN_DELAY": 60}})  # fmt: skip
            fleet.wait_for_pods(ROUTERS, 3)
        with change("rollback"):
            fleet.rollback()
            fleet.wait_for_pods(ROUTERS, 2, image=f":{TAGS[0]}")
            fleet.wait_for_all_pods(image=f":{TAGS[0]}-cpu")


def test_rollouts_of_models(fleet: Fleet, traffic: Traffic) -> None:
    old = {name: names(fleet.pods(of_model(name))) for name in PAIRS}
    with traffic() as (_, change), change("rollout of models"):
        for name in old:
            fleet.patch(name, env={"ROLLED": "out"})
        for name, pods in old.items():
            fleet.wait_for_pods(of_model(name), 2, without=pods)


def test_scaling_down_and_up(fleet: Fleet, traffic: Traffic) -> None:
    with traffic() as (_, change):
        for replicas in (1, 2):
            with change(f"scale to {replicas}"):
                for name in PAIRS:
                    fleet.patch(name, replicas=replicas)
                for name in PAIRS:
                    fleet.wait_for_pods(of_model(name), replicas)


def test_a_restart_of_the_routers(
    fleet: Fleet, traffic: Traffic, request: pytest.FixtureRequest
) -> None:
    """Callers connect to the routers directly or through the edge proxy, which keeps its
    connections and does not retry.
    """
    old = names(fleet.pods(ROUTERS))
    with ExitStack() as all_traffic:
        proxies = [None] if edges.unavailable() else [None, request.getfixturevalue("edge")]
        for edge in proxies:
            _, change = all_traffic.enter_context(traffic(edge=edge))
            all_traffic.enter_context(change("restart of the routers"))
        fleet.kubectl("rollout", "restart", f"deployment/{ROUTER}")
        fleet.wait_for_pods(ROUTERS, 2, without=old)


def test_a_restart_of_the_operator(fleet: Fleet, traffic: Traffic) -> None:
    deployment = f"deployment/{OPERATOR}"
    with traffic() as (_, change), change("restart of the operator"):
        fleet.kubectl("rollout", "restart", deployment)
        fleet.kubectl("rollout", "status", deployment, "--timeout=200s", timeout=220)
        old = names(fleet.pods(of_model("minilm")))
        fleet.patch("minilm", env={"ROLLED": "by the new operator"})
        fleet.wait_for_pods(of_model("minilm"), 2, without=old)


def test_deleted_pods(fleet: Fleet, traffic: Traffic) -> None:
    with traffic() as (driver, change), change("pods deleted"):
        driver.wait_for_running(2)
        victims = [fleet.pods(of_model(name))[0] for name in PAIRS]
        for name in names(victims):
            fleet.kubectl("delete", "pod", name, "--wait=false")
        for name in PAIRS:
            fleet.wait_for_pods(of_model(name), 2, without=names(victims))


def test_servers_killed_before_the_first_byte(fleet: Fleet, traffic: Traffic) -> None:
    routers = fleet.pods(ROUTERS)
    before = total(routers, "modelfleet_router_retries_total")
    with traffic(begun=False) as (_, change), change("servers killed"):
        for name in PAIRS:
            pod = fleet.pods(of_model(name))[0]
            if name == "smollm2":  # an embedding takes less time than reading the metrics
                wait_until_busy(pod)
            kill(pod)
            fleet.tenant.wait("v1", "Pod", pod["metadata"]["name"], restarted, READY_SECONDS)
    assert total(routers, "modelfleet_router_retries_total") > before


def test_deployments_are_available(fleet: Fleet) -> None:
    """The state after all tests above."""
    for name in (*MODELS, OPERATOR, ROUTER):
        found = fleet.tenant.get(APPS, "Deployment", name)
        assert found["status"].get("unavailableReplicas", 0) == 0
