"""Deletion costs, from servers on the loopback and an API that records its requests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, cast

import aiohttp
import pytest
from aiohttp import web

from fleet_kube.client import KubeClient
from fleet_kube.errors import ApiError
from fleet_operator.controller.probes.deletion_costs import METRICS_BYTES, DeletionCosts, load_of
from fleet_operator.resources.views import PodView
from support.aiohttp_server import served
from support.operator_objects import pod

COST = "controller.kubernetes.io/pod-deletion-cost"


class Patches:
    def __init__(self) -> None:
        self.bodies: list[tuple[str, Any]] = []
        self.error: ApiError | None = None

    async def merge_patch(self, kind: Any, namespace: str, name: str, body: Any) -> Any:
        self.bodies.append((f"{kind.kind} {namespace}/{name}", body))
        if self.error is not None:
            raise self.error
        return {}


@pytest.fixture
async def server() -> AsyncIterator[tuple[dict[str, Any], PodView]]:
    """The response of a ready server, which the test sets, and its pod."""
    response: dict[str, Any] = {}

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(**response)

    ready = PodView.parse(pod(ready=True))
    async with served(metrics, "/metrics") as port:
        yield response, replace(ready, ip="127.0.0.1", port=port)


BUSY = 'modelfleet_in_flight{model="a"} 3.0\nmodelfleet_queue_depth{model="a"} 2.0\n'


@pytest.mark.parametrize(
    ("response", "before", "cost"),
    [
        ({"text": BUSY}, "0", "5"),
        ({"text": BUSY}, "5", None),
        ({"text": 'modelfleet_in_flight{model="a"} 0.0\n'}, "5", "0"),
        ({"text": 'modelfleet_in_flight{model="a"} 0.0\n'}, "0", None),
        ({"text": BUSY, "status": 404}, "0", None),
        ({"text": "other 1\n"}, "0", None),
        ({"text": "modelfleet_in_flight{ 3\n"}, "0", None),
        ({"body": b"\xff"}, "0", None),
        ({"text": BUSY + "# \n" * (METRICS_BYTES // 3)}, "0", None),
    ],
)
async def test_the_cost_is_the_load(
    server: tuple[dict[str, Any], PodView], response: Any, before: str, cost: str | None
) -> None:
    given, ready = server
    given.update(response)
    api = Patches()
    async with aiohttp.ClientSession() as http:
        costs = DeletionCosts(cast(KubeClient, api), http)
        await costs.write([replace(ready, deletion_cost=before)])
    expected = {"metadata": {"uid": "uid-m-1", "annotations": {COST: cost}}}
    assert api.bodies == ([("Pod ns/m-1", expected)] if cost is not None else [])


async def test_other_pods_are_left_alone_and_errors_do_not_matter(
    server: tuple[dict[str, Any], PodView],
) -> None:
    given, ready = server
    given["text"] = BUSY
    api = Patches()
    api.error = ApiError(404, "NotFound", "gone")
    async with aiohttp.ClientSession() as http:
        costs = DeletionCosts(cast(KubeClient, api), http)
        await costs.write([replace(ready, ready=False), replace(ready, deleting=True)])
        assert api.bodies == []
        await costs.write([ready, replace(ready, name="m-2", port=1)])
    assert [name for name, _ in api.bodies] == ["Pod ns/m-1"]


def test_the_gauges_of_vllm_count_as_well() -> None:
    text = 'vllm:num_requests_running{model_name="a"} 4.0\nvllm:num_requests_waiting 1.0\n'
    assert load_of(text) == 5
    assert load_of("modelfleet_requests_total 7.0\n") is None


def test_a_pod_has_the_cost_of_its_annotation() -> None:
    raw = pod()
    assert PodView.parse(raw).deletion_cost == "0"
    raw["metadata"]["annotations"] = {COST: "7"}
    assert PodView.parse(raw).deletion_cost == "7"
