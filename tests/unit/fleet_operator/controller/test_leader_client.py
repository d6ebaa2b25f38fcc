"""Writes without a Lease are refused before anything is sent."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from kubernetes.aio.client import Configuration

from fleet_kube.connection import Connection
from fleet_kube.errors import ApiUnreachable
from fleet_operator.controller.leader_client import LeaderClient, NotLeader
from fleet_operator.kinds import EVENT, MODEL, SERVICE


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
