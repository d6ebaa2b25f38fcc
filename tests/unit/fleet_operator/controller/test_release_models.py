"""The models of the release, against an API that stores objects and records its requests."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, cast

import pytest
import yaml

from fleet_kube.client import KubeClient
from fleet_kube.errors import ApiError
from fleet_operator.controller.cache import ClusterCache, Key
from fleet_operator.controller.release_models import TAKEN, ReleaseModelsController
from fleet_operator.resources.resolve import Resolver, Sources
from fleet_operator.settings import OperatorSettings
from support.operator_objects import model, settings_of
from support.recording_api import Recorder
from support.waiting import until_async

ROLE = {"metadata": {"uid": "uid-role"}}


def manifest(name: str = "m", namespace: str = "ns", **spec: Any) -> dict[str, Any]:
    spec = {"model": f"org/{name}", **spec}
    return {**model(name, **spec), "metadata": {"name": name, "namespace": namespace}}


class Api(Recorder):
    """Has the ConfigMap and, in the namespace `ns`, the Role."""

    def __init__(self) -> None:
        super().__init__()
        self.config_map: dict[str, Any] | None = None
        self.role: dict[str, Any] | None = ROLE

    def set(self, *manifests: dict[str, Any]) -> None:
        data = {one["metadata"]["name"]: yaml.safe_dump(one) for one in manifests}
        self.config_map = {"data": data}

    async def get(self, kind: Any, namespace: str, name: str) -> Any:
        assert name == "modelfleet-models"
        if kind.kind == "ConfigMap":
            return self.config_map if namespace == "system" else None
        assert kind.kind == "Role"
        return self.role if namespace == "ns" else None


class Bench:
    def __init__(self, settings: OperatorSettings, sources: Sources) -> None:
        self.api = Api()
        self.cache = ClusterCache(settings, Resolver(sources), sees_nodes=False)
        self.served = {"ns"}
        self.synced = True
        self.queued: list[Key] = []
        self.controller = ReleaseModelsController(
            self.cache, cast(KubeClient, self.api), lambda name: name in self.served,
            lambda: self.synced, self.queue,
        )  # fmt: skip

    def queue(self, keys: Iterable[Key]) -> None:
        self.queued += keys

    async def asked(self) -> list[Any]:
        """The requests of one reconcile."""
        self.api.asked.clear()
        await self.controller.reconcile()
        return list(self.api.asked)


@pytest.fixture
def bench(settings: OperatorSettings, sources: Sources) -> Bench:
    return Bench(settings, sources)


async def test_models_are_created_changed_and_deleted(bench: Bench) -> None:
    bench.api.set(manifest("a"), manifest("b"))
    assert await bench.asked() == [("apply", "InferenceModel", False)] * 2
    assert {*bench.queued} == {("ns", "a"), ("ns", "b")}
    assert bench.controller.namespaces == {"ns"}
    assert await bench.asked() == []

    bench.api.set(manifest("a", replicas=3))
    deletion = ("delete", "InferenceModel", "ns", "b", "InferenceModel")
    assert await bench.asked() == [("apply", "InferenceModel", True), deletion]
    assert bench.cache.models["ns", "a"]["spec"]["replicas"] == 3


async def test_a_refused_deletion_is_reported(bench: Bench) -> None:
    bench.api.set(manifest("a"), manifest("b"), manifest("c"))
    await bench.asked()
    bench.api.set(manifest("a"))
    bench.api.refuse["InferenceModel"] = ApiError(403, "Forbidden", "no")
    deletions = [("delete", "InferenceModel", "ns", name, "InferenceModel") for name in "bc"]
    assert await bench.asked() == deletions
    assert bench.controller.refused == {"ns/b": "no", "ns/c": "no"}


@pytest.mark.parametrize("found", [None, {}, {"data": None}, {"data": {}}])
async def test_without_the_config_map_nothing_changes(bench: Bench, found: Any) -> None:
    bench.api.set(manifest())
    await bench.asked()
    bench.api.config_map = found
    assert await bench.asked() == []
    assert bench.controller.namespaces == frozenset()


async def test_it_begins_when_the_cache_is_complete_and_when_it_may_write(bench: Bench) -> None:
    bench.api.set(manifest())
    bench.synced = False
    bench.served.clear()
    running = asyncio.create_task(bench.controller.run(3600))
    try:
        await asyncio.sleep(0)
        assert bench.controller.namespaces == frozenset()
        bench.synced = True
        await until_async(lambda: bench.controller.namespaces == {"ns"})
        assert bench.api.asked == []
        bench.served.add("ns")
        bench.controller.wake("other")
        bench.controller.wake("ns")
        await until_async(lambda: bench.api.asked == [("apply", "InferenceModel", False)])
    finally:
        running.cancel()


async def test_nothing_is_written_where_another_operator_serves(bench: Bench) -> None:
    """Its Lease is wanted nevertheless: the namespace may have no models yet."""
    bench.api.set(manifest())
    bench.served.clear()
    assert await bench.asked() == []
    assert bench.controller.namespaces == {"ns"}


@pytest.mark.parametrize("role", [None, {"metadata": {"uid": "u", "deletionTimestamp": "now"}}])
async def test_nothing_is_created_without_the_role(bench: Bench, role: Any) -> None:
    bench.api.set(manifest())
    bench.api.role = role
    assert await bench.asked() == []


async def test_what_is_refused_is_logged_once(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.cache.put_model(model("taken"))
    bench.api.set(manifest("taken"), manifest("bad"))
    bench.api.refuse["InferenceModel"] = ApiError(422, "Invalid", "spec.task: unsupported")
    await bench.asked()
    await bench.asked()
    assert bench.controller.refused == {"ns/taken": TAKEN, "ns/bad": "spec.task: unsupported"}
    assert caplog.text.count("release_model_refused") == 2
    bench.api.refuse.clear()
    bench.api.set(manifest("bad"))
    await bench.asked()
    assert bench.controller.refused == {}


async def test_models_of_another_shard_are_left_to_it(sources: Sources) -> None:
    bench = Bench(settings_of(SHARD="0/2"), sources)
    names = [f"ns-{number}" for number in range(20)]
    bench.served |= {*names}
    owned = {name for name in names if bench.cache.settings.shard.owns(name)}
    assert 0 < len(owned) < 20
    bench.api.set(*(manifest(f"m-{name}", name) for name in names))
    await bench.asked()
    assert bench.controller.namespaces == owned
    bench.api.set(manifest("m", min({*names} - owned)))
    assert await bench.asked() == []
    assert bench.controller.refused == {}
