"""The DaemonSets of profiles, against an API that records its requests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from fleet_kube.client import KubeClient
from fleet_kube.errors import ApiError
from fleet_operator.controller.cache import ClusterCache
from fleet_operator.controller.weights.prefetcher import Prefetcher
from fleet_operator.decide.weights.prefetch_progress import Progress
from fleet_operator.resources.profiles import Profile
from fleet_operator.resources.resolve import Resolver, Sources
from fleet_operator.settings import OperatorSettings
from support.operator_objects import model
from support.recording_api import Recorder

NODE = Profile.model_validate({"modelCache": {"node": True, "prefetch": True}})
NAME = "modelfleet-prefetch-default"


class Api(Recorder):
    """Keeps DaemonSets."""

    def __init__(self) -> None:
        super().__init__()
        self.objects: dict[tuple[str, str], Any] = {}
        self.unreadable = False
        self.forbidden = ""
        self.pods: list[Any] = []

    async def items(self, kind: Any, namespace: str | None, selector: str) -> list[Any]:
        if kind.kind == "Pod":
            assert selector == "modelfleet.dev/prefetch=default"
            return self.pods
        if self.unreadable:
            raise ApiError(403, "Forbidden", "no")
        label = [one for one in self.objects.values() if selector in one["metadata"]["labels"]]
        return [{name: value for name, value in one.items() if name != "kind"} for one in label]

    async def get(self, kind: Any, namespace: str, name: str) -> Any:
        return self.objects.get((namespace, name))

    async def apply(self, kind: Any, wanted: dict[str, Any], force: bool) -> dict[str, Any]:
        if wanted["metadata"]["namespace"] == self.forbidden:
            raise ApiError(403, "Forbidden", "a policy of the namespace")
        made = await super().apply(kind, wanted, force)
        made["metadata"]["generation"] = self.version
        self.objects[made["metadata"]["namespace"], made["metadata"]["name"]] = made
        return made

    async def delete(self, kind: Any, namespace: str, name: str, uid: str) -> None:
        await super().delete(kind, namespace, name, uid)
        del self.objects[namespace, name]


class Bench:
    def __init__(self, settings: OperatorSettings, sources: Sources) -> None:
        self.sources = replace(sources, profiles={"default": NODE})
        self.resolver = Resolver(self.sources)
        self.cache = ClusterCache(settings, self.resolver, sees_nodes=False)
        self.api = Api()
        self.served = {"ns"}
        self.synced = True
        self.prefetcher = Prefetcher(
            self.cache, self.resolver, cast(KubeClient, self.api),
            lambda namespace: namespace in self.served, lambda: self.synced,
        )  # fmt: skip

    async def asked(self) -> list[Any]:
        self.api.asked.clear()
        await self.prefetcher.reconcile()
        return list(self.api.asked)


@pytest.fixture
def bench(settings: OperatorSettings, sources: Sources) -> Bench:
    made = Bench(settings, sources)
    made.cache.put_model(model())
    return made


async def test_it_is_applied_once_and_again_when_the_models_change(bench: Bench) -> None:
    assert await bench.asked() == [("apply", "DaemonSet", False)]
    assert await bench.asked() == []
    bench.cache.put_model(model("other", "uid-other", model="org/other"))
    assert await bench.asked() == [("apply", "DaemonSet", True)]
    assert await bench.asked() == []
    changed = model("other", "uid-other", model="org/other", replicas=3)
    changed["metadata"] |= {"resourceVersion": "6", "generation": 3}
    bench.cache.put_model(changed)
    assert await bench.asked() == []


async def test_an_edited_one_is_restored(bench: Bench) -> None:
    await bench.asked()
    found = bench.api.objects["ns", NAME]
    found["spec"] = {**found["spec"], "revisionHistoryLimit": 9}
    found["metadata"]["generation"] += 1
    assert await bench.asked() == [("apply", "DaemonSet", True)]


async def test_one_that_the_api_server_normalizes_is_not_applied_again(bench: Bench) -> None:
    await bench.asked()
    found = bench.api.objects["ns", NAME]
    found["spec"] = {**found["spec"], "revisionHistoryLimit": 9}
    assert await bench.asked() == []


async def test_one_that_is_refused_does_not_affect_the_others(bench: Bench) -> None:
    bench.served.add("other")
    raw = model("n", "uid-n", model="org/n")
    bench.cache.put_model({**raw, "metadata": {**raw["metadata"], "namespace": "other"}})
    bench.api.forbidden = "ns"
    assert await bench.asked() == [("apply", "DaemonSet", False)]
    assert ("other", NAME) in bench.api.objects
    assert bench.prefetcher.progress["ns", "default"] == Progress(refused=True)
    assert not bench.prefetcher.progress["other", "default"].refused


async def test_it_is_deleted_with_the_last_model(bench: Bench) -> None:
    await bench.asked()
    bench.cache.drop_model(model())
    assert await bench.asked() == [("delete", "DaemonSet", "ns", NAME, "DaemonSet")]
    assert bench.prefetcher.progress == {}


async def test_nothing_is_deleted_while_profiles_cannot_be_read(bench: Bench) -> None:
    await bench.asked()
    bench.resolver.use(replace(bench.sources, profiles={}, missing="gone"))
    assert await bench.asked() == []


async def test_nothing_is_done_before_the_cache_is_complete_or_in_other_namespaces(
    bench: Bench,
) -> None:
    bench.synced = False
    assert await bench.asked() == []
    bench.synced, bench.served = True, set()
    assert await bench.asked() == []


async def test_a_foreign_object_of_the_name_is_left_alone(bench: Bench) -> None:
    bench.api.objects["ns", NAME] = {"metadata": {"namespace": "ns", "name": NAME, "labels": {}}}
    assert await bench.asked() == []
    assert bench.prefetcher.progress == {("ns", "default"): Progress(refused=True)}


async def test_failed_downloads_are_counted_and_logged_once(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    await bench.asked()
    found = bench.api.objects["ns", NAME]
    found["status"] = {"observedGeneration": found["metadata"]["generation"],
                       "desiredNumberScheduled": 3, "numberReady": 1, "updatedNumberScheduled": 3,
                       "currentNumberScheduled": 2}  # fmt: skip
    ended = {"terminated": {"exitCode": 1, "message": "acme/a: 403"}}
    status = {"initContainerStatuses": [{"name": "fetch", "state": ended}]}
    bench.api.pods = [{"spec": {"nodeName": "node-b"}, "status": status}]
    for _ in range(2):
        await bench.asked()
        assert bench.prefetcher.progress == {("ns", "default"): Progress(3, 1, 2)}
    assert caplog.text.count("prefetch_node_failed") == 1
    found["status"] |= {"numberReady": 3, "currentNumberScheduled": 3}
    await bench.asked()
    assert bench.prefetcher.progress == {("ns", "default"): Progress(3, 3)}


async def test_progress_counts_nodes_with_the_present_list(bench: Bench) -> None:
    await bench.asked()
    found = bench.api.objects["ns", NAME]
    generation = found["metadata"]["generation"]
    found["status"] = {"observedGeneration": generation, "desiredNumberScheduled": 4,
                       "numberReady": 4, "updatedNumberScheduled": 3}  # fmt: skip
    await bench.asked()
    assert bench.prefetcher.progress == {("ns", "default"): Progress(4, 3)}
    found["status"]["observedGeneration"] = generation - 1
    await bench.asked()
    assert bench.prefetcher.progress == {("ns", "default"): Progress(4, 0)}


async def test_refusals_are_logged(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.api.unreadable = True
    await bench.asked()
    assert bench.prefetcher.progress == {("ns", "default"): Progress(refused=True)}
    assert "prefetch_failed" in caplog.text
    caplog.clear()
    bench.cache.drop_model(model())
    await bench.asked()
    assert caplog.text == ""
