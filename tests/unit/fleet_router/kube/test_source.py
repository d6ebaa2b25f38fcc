"""When a table is published, with namespaces that cannot be read."""

from __future__ import annotations

from typing import Any

import pytest
from kubernetes.aio.client import Configuration

from fleet_kube.client import KubeClient
from fleet_kube.connection import Connection
from fleet_router.kube.source import KubeSource
from fleet_router.routing.table import LiveRoutes


@pytest.fixture
async def source() -> Any:
    client = KubeClient(Connection(Configuration(host="http://127.0.0.1:1")), "router")
    yield KubeSource(client, ("a", "b"), LiveRoutes(), {})
    await client.close()


@pytest.mark.parametrize(
    ("synced", "unreadable", "complete"),
    [
        ("", "", False), ("a", "", False), ("ab", "", True), ("a", "b", True),
        ("", "ab", False),  # a router that may read nothing must not serve an empty fleet
    ],
)  # fmt: skip
async def test_the_table_is_complete_once_all_that_can_be_read_was_read(
    source: KubeSource, synced: str, unreadable: str, complete: bool
) -> None:
    for informer in source._informers:
        informer.synced = (informer.namespace or "") in tuple(synced)
        informer.unreadable = (informer.namespace or "") in tuple(unreadable)
    assert source._is_complete() is complete
    states = {(name, kind): refused for name, kind, refused in source.unreadable()}
    assert states["b", "EndpointSlice"] is ("b" in unreadable)
    assert len(states) == 4


async def test_only_informers_of_both_kinds_make_a_table(source: KubeSource) -> None:
    for informer in source._informers:
        informer.unreadable = True
    source._models[0].synced = True
    assert not source._is_complete()
    source._slices[1].synced = True
    assert source._is_complete()
