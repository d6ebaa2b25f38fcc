"""The client of the Kubernetes API, against a server that records what it is asked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import kopf
import pytest
from aiohttp import web

from fleet_operator.kinds import DEPLOYMENT, MODEL, NODE, POD
from fleet_operator.kubernetes.access import Access
from fleet_operator.kubernetes.api import Api, ApiError, ApiUnreachable
from fleet_operator.metrics import Metrics


class Server:
    """Gives its answers one after the other, (status, JSON body)."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, Any]] = []
        self.asked: list[web.Request] = []
        self.bodies: list[bytes] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request)
        self.bodies.append(await request.read())
        status, body = self.answers.pop(0)
        return web.json_response(body, status=status)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


@pytest.fixture
def account(tmp_path: Path) -> Path:
    (tmp_path / "token").write_text("newer\n")
    return tmp_path


@pytest.fixture
async def api(server: Server, account: Path) -> AsyncIterator[Api]:
    found = kopf.ConnectionInfo(server=server.url, token="first")
    made = Api(Access(found, account), Metrics())
    yield made
    await made.close()


async def test_apply_says_who_and_whether_by_force(api: Api, server: Server) -> None:
    server.answers = [(200, {"metadata": {}})] * 2
    manifest = {"metadata": {"namespace": "ns", "name": "m"}}
    await api.apply(DEPLOYMENT, manifest, force=False)
    await api.apply(DEPLOYMENT, manifest, force=True)
    first, second = server.asked
    assert (first.method, first.path) == ("PATCH", "/apis/apps/v1/namespaces/ns/deployments/m")
    assert first.content_type == "application/apply-patch+yaml"
    assert dict(first.query) == {"fieldManager": "modelfleet-operator", "force": "false"}
    assert second.query["force"] == "true"
    assert first.headers["Authorization"] == "Bearer first"


async def test_lists_come_page_by_page(api: Api, server: Server) -> None:
    server.answers = [
        (200, {"metadata": {"continue": "next"}, "items": [1]}),
        (200, {"metadata": {}, "items": None}),
    ]
    assert await api.items(POD, "ns", "a=b", metadata_only=True) == [1]
    assert "PartialObjectMetadataList" in server.asked[0].headers["Accept"]
    assert "continue" not in server.asked[0].query
    assert dict(server.asked[1].query) == {
        "limit": "1000", "labelSelector": "a=b", "continue": "next",
    }  # fmt: skip


async def test_a_refused_token_is_read_again_once(api: Api, server: Server) -> None:
    server.answers = [(401, {"message": "expired"}), (200, {"metadata": {"name": "x"}})]
    assert await api.get(NODE, None, "x") == {"metadata": {"name": "x"}}
    assert [one.headers["Authorization"] for one in server.asked] == [
        "Bearer first", "Bearer newer",
    ]  # fmt: skip
    server.answers = [(401, {"message": "no", "reason": "Unauthorized"})] * 2
    with pytest.raises(ApiError, match="401 Unauthorized: no"):
        await api.get(NODE, None, "x")


async def test_what_is_missing_is_none_and_the_rest_an_error(api: Api, server: Server) -> None:
    server.answers = [(404, {"reason": "NotFound"}), (403, {"reason": "Forbidden", "message": "m"})]
    assert await api.get(NODE, None, "x") is None
    with pytest.raises(ApiError) as caught:
        await api.get(NODE, None, "x")
    assert (caught.value.status, caught.value.reason, caught.value.message) == (
        403, "Forbidden", "m",
    )  # fmt: skip


async def test_deleting_names_the_uid_and_forgives(api: Api, server: Server) -> None:
    server.answers = [(404, {}), (409, {}), (500, {})]
    await api.delete(POD, "ns", "p", "u")
    assert b'"preconditions":{"uid":"u"}' in server.bodies[0]
    await api.delete(POD, "ns", "p", "u")
    with pytest.raises(ApiError):
        await api.delete(POD, "ns", "p", "u")


async def test_whether_a_kind_is_served(api: Api, server: Server) -> None:
    server.answers = [(404, {}), (200, {"resources": [{"name": "inferencemodels"}]})]
    assert not await api.serves(MODEL)
    assert await api.serves(MODEL)


async def test_nobody_there(account: Path) -> None:
    metrics = Metrics()
    found = kopf.ConnectionInfo(server="http://127.0.0.1:1")
    api = Api(Access(found, account), metrics)
    with pytest.raises(ApiUnreachable, match="GET /api/v1/nodes/x"):
        await api.get(NODE, None, "x")
    await api.close()
    line = 'modelfleet_operator_api_calls_total{code="0",method="GET",resource="nodes"} 1.0'
    assert line in metrics.render().decode()
