"""The client of the Kubernetes API, against a server that records its requests."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio.client import Configuration

from fleet_kube.client import KubeClient, _event
from fleet_kube.connection import TOKEN, Connection, LoadedConfiguration
from fleet_kube.errors import ApiError, ApiUnreachable
from fleet_kube.kind import Kind
from fleet_kube.rate_limit import RateLimit
from support.aiohttp_server import served
from support.lease_api import Clock

DEPLOYMENT = Kind("apps/v1", "Deployment", "deployments")
MODEL = Kind("modelfleet.dev/v1alpha1", "InferenceModel", "inferencemodels")
NODE = Kind("v1", "Node", "nodes", namespaced=False)
POD = Kind("v1", "Pod", "pods")
WRITES = {"fieldManager": "modelfleet-operator", "fieldValidation": "Ignore"}
"""Query of every write."""


class Time(Clock):
    """A clock that only its own waits move."""

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


class Server:
    """Sends its responses in order, (status, JSON body)."""

    def __init__(self) -> None:
        self.responses: list[tuple[int, Any]] = []
        self.asked: list[web.Request] = []
        self.bodies: list[bytes] = []
        self.url = ""
        self.retry_after = ""

    async def respond(self, request: web.Request) -> web.Response:
        self.asked.append(request)
        self.bodies.append(await request.read())
        status, body = self.responses.pop(0)
        headers = {"Retry-After": self.retry_after} if self.retry_after else None
        return web.json_response(body, status=status, headers=headers)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    async with served(made.respond) as port:
        made.url = f"http://127.0.0.1:{port}"
        yield made


async def renewed(configuration: Configuration) -> LoadedConfiguration:
    """Load the token that follows the first."""
    configuration.api_key[TOKEN] = "Bearer newer"
    return LoadedConfiguration("ns", math.inf)


def connection(url: str) -> Connection:
    configuration = Configuration(host=url, api_key={TOKEN: "Bearer first"})
    return Connection(configuration, load=renewed)


@pytest.fixture
async def api(server: Server) -> AsyncIterator[KubeClient]:
    made = KubeClient(connection(server.url), "modelfleet-operator")
    yield made
    await made.close()


async def test_apply_sends_field_manager_and_force(api: KubeClient, server: Server) -> None:
    server.responses = [(200, {"metadata": {}})] * 2
    manifest = {"metadata": {"namespace": "ns", "name": "m"}}
    await api.apply(DEPLOYMENT, manifest, force=False)
    await api.apply(DEPLOYMENT, manifest, force=True)
    first, second = server.asked
    assert (first.method, first.path) == ("PATCH", "/apis/apps/v1/namespaces/ns/deployments/m")
    assert first.content_type == "application/apply-patch+yaml"
    assert dict(first.query) == {**WRITES, "force": "false"}
    assert second.query["force"] == "true"
    assert first.headers["Authorization"] == "Bearer first"


async def test_lists_come_page_by_page(api: KubeClient, server: Server) -> None:
    server.responses = [
        (200, {"metadata": {"continue": "next"}, "items": [1]}),
        (200, {"metadata": {}, "items": None}),
    ]
    assert await api.items(POD, "ns", "a=b", metadata_only=True) == [1]
    assert "PartialObjectMetadataList" in server.asked[0].headers["Accept"]
    assert "continue" not in server.asked[0].query
    assert dict(server.asked[1].query) == {
        "limit": "1000", "labelSelector": "a=b", "continue": "next",
    }  # fmt: skip


async def test_a_rejected_token_is_reloaded_once(api: KubeClient, server: Server) -> None:
    server.responses = [(401, {"message": "expired"}), (200, {"metadata": {"name": "x"}})]
    assert await api.get(NODE, None, "x") == {"metadata": {"name": "x"}}
    assert [one.headers["Authorization"] for one in server.asked] == [
        "Bearer first", "Bearer newer",
    ]  # fmt: skip
    server.responses = [(401, {"message": "no", "reason": "Unauthorized"})] * 2
    with pytest.raises(ApiError, match="401 Unauthorized: no"):
        await api.get(NODE, None, "x")


async def test_within_a_rate_limit_shed_requests_are_sent_again(server: Server) -> None:
    time = Time()
    limit = RateLimit(100, 100, time, time.sleep)
    api = KubeClient(connection(server.url), "modelfleet-operator", limit=limit)
    busy = (429, {"reason": "TooManyRequests", "message": "later"})
    server.retry_after = "3"
    server.responses = [busy, (503, {"message": "starting"}), (200, {"metadata": {"name": "x"}})]
    began = time.now
    assert await api.get(NODE, None, "x") == {"metadata": {"name": "x"}}
    assert 6.0 <= time.now - began < 6.1
    server.responses = [busy] * 4
    with pytest.raises(ApiError) as caught:
        await api.get(NODE, None, "x")
    assert (caught.value.status, caught.value.retry_after) == (429, 3.0)
    assert server.responses == []
    server.retry_after = ""
    server.responses = [(503, {"message": "no leader"})]  # it may have been executed
    with pytest.raises(ApiError, match="no leader"):
        await api.get(NODE, None, "x")
    await api.close()


async def test_a_missing_object_is_none_and_other_statuses_are_errors(
    api: KubeClient, server: Server
) -> None:
    server.responses = [
        (404, {"reason": "NotFound"}),
        (403, {"reason": "Forbidden", "message": "m"}),
    ]
    assert await api.get(NODE, None, "x") is None
    with pytest.raises(ApiError) as caught:
        await api.get(NODE, None, "x")
    assert (caught.value.status, caught.value.reason, caught.value.message) == (
        403, "Forbidden", "m",
    )  # fmt: skip


async def test_deletion_has_preconditions_and_returns_whether_they_were_met(
    api: KubeClient, server: Server
) -> None:
    server.responses = [(200, {}), (404, {}), (409, {}), (500, {})]
    assert await api.delete(POD, "ns", "p", "u")
    assert json.loads(server.bodies[0])["preconditions"] == {"uid": "u"}
    assert await api.delete(POD, "ns", "p", "u", "7")
    assert json.loads(server.bodies[1])["preconditions"] == {"uid": "u", "resourceVersion": "7"}
    assert not await api.delete(POD, "ns", "p", "u", "7")
    with pytest.raises(ApiError):
        await api.delete(POD, "ns", "p", "u")


async def test_a_deeply_nested_object_does_not_end_lists_and_watches(
    api: KubeClient, server: Server
) -> None:
    """One user may write it; the API server accepts 10,000 levels."""
    deep: Any = {}
    for _ in range(9_000):
        deep = {"a": deep}
    deep = {"metadata": {"name": "deep"}, "spec": {"podTemplate": deep}}
    fine = {"metadata": {"name": "fine"}}
    server.responses = [(200, {"metadata": {}, "items": [deep, fine]})]
    found = await api.items(MODEL, "ns")
    assert [item["metadata"]["name"] for item in found] == ["deep", "fine"]
    event = json.dumps({"type": "ADDED", "object": deep}).encode()
    assert _event(event)[1]["metadata"]["name"] == "deep"
    with pytest.raises(ApiUnreachable, match="unexpected watch event"):
        _event(b"[" * 100_000)


async def test_whether_a_kind_is_served(api: KubeClient, server: Server) -> None:
    server.responses = [(404, {}), (200, {"resources": [{"name": "inferencemodels"}]})]
    assert not await api.serves(MODEL)
    assert await api.serves(MODEL)


async def test_a_patch_names_its_manager_and_subresource(api: KubeClient, server: Server) -> None:
    server.responses = [(200, {"metadata": {}})] * 2
    await api.merge_patch(MODEL, "ns", "m", {"metadata": {"labels": {"a": None}}})
    await api.patch_status(MODEL, "ns", "m", {"status": {}})
    assert [one.path.rpartition("/namespaces/")[2] for one in server.asked] == [
        "ns/inferencemodels/m", "ns/inferencemodels/m/status",
    ]  # fmt: skip
    for one in server.asked:
        assert one.content_type == "application/merge-patch+json"
        assert dict(one.query) == WRITES
        assert one.headers["User-Agent"] == "modelfleet-operator"
    assert json.loads(server.bodies[0]) == {"metadata": {"labels": {"a": None}}}


async def test_an_invalid_body_is_an_error(api: KubeClient, server: Server) -> None:
    server.responses = [(200, ["a list"]), (503, "busy")]
    for status in (200, 503):
        with pytest.raises(ApiError) as caught:
            await api.get(NODE, None, "x")
        assert caught.value.status == status


async def test_an_unreachable_server_is_an_error() -> None:
    calls: list[tuple[str, str, int]] = []
    api = KubeClient(connection("http://127.0.0.1:1"), "m", lambda *call: calls.append(call))
    with pytest.raises(ApiUnreachable, match="GET /api/v1/nodes/x"):
        await api.get(NODE, None, "x")
    await api.close()
    assert calls == [("GET", "nodes", 0)]


@pytest.mark.parametrize("minor", ["36", "36+", "36-gke.1"])
async def test_the_version_of_the_server(api: KubeClient, server: Server, minor: str) -> None:
    server.responses = [(200, {"major": "1", "minor": minor})]
    assert await api.version() == (1, 36)
    assert server.asked[0].path == "/version"
