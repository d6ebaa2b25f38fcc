"""Writes without a Lease are refused before anything is sent."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from kubernetes.aio.client import Configuration

from fleet_kube.connection import Connection
from fleet_kube.errors import ApiUnreachable
from fleet_kube.rate_limit import RateLimit
from fleet_operator.controller.leader_client import LeaderClient, NotLeader
from fleet_operator.kinds import EVENT, MODEL, SERVICE
from support.aiohttp_server import served


@pytest.fixture
async def api() -> AsyncIterator[LeaderClient]:
    made = LeaderClient(Connection(Configuration(host="http://127.0.0.1:1")), "manager")
    made.may_write = lambda namespace: namespace == "mine"
    yield made
    await made.close()


@pytest.mark.parametrize(("namespace", "error"), [("theirs", NotLeader), ("mine", ApiUnreachable)])
async def test_writes_need_the_lease(
    api: LeaderClient, namespace: str, error: type[Exception]
) -> None:
    manifest = {"metadata": {"namespace": namespace, "name": "m"}}
    for write in (
        api.apply(SERVICE, manifest, force=True),
        api.create(EVENT, manifest),
        api.delete(SERVICE, namespace, "m", "uid"),
        api.merge_patch(MODEL, namespace, "m", {}),
        api.patch_status(MODEL, namespace, "m", {}),
    ):
        with pytest.raises(error):
            await write


async def test_reads_need_none(api: LeaderClient) -> None:
    with pytest.raises(ApiUnreachable):
        await api.items(SERVICE, "theirs")


async def test_a_write_is_not_sent_again_after_the_lease_is_lost() -> None:
    led, received = True, 0

    async def shed(_: web.Request) -> web.Response:
        nonlocal received
        received += 1
        return web.json_response({}, status=429, headers={"Retry-After": "30"})

    async def lose(_: float) -> None:
        nonlocal led
        led = False

    limit = RateLimit(100, 100, sleep=lose)
    async with served(shed) as port:
        host = f"http://127.0.0.1:{port}"
        api = LeaderClient(Connection(Configuration(host=host)), "manager", limit=limit)
        api.may_write = lambda _: led
        with pytest.raises(NotLeader):
            await api.delete(SERVICE, "mine", "m", "uid")
        await api.close()
    assert received == 1
