"""Successive reconciliations: which statuses are written at once and which may be superseded."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from fleet_kube.client import KubeClient
from fleet_kube.errors import ApiError
from fleet_operator.controller import controller as looping
from fleet_operator.controller.cache import ClusterCache
from fleet_operator.controller.controller import PASSING_SECONDS, Controller, Delayed
from fleet_operator.controller.work_queue import WorkQueue
from fleet_operator.decide.decision import Decision
from fleet_operator.decide.scaling.load import FleetLoad, RouterLoad
from fleet_operator.metrics import Metrics
from fleet_operator.names import LABEL_TEMPLATE
from fleet_operator.resources.resolve import Resolver, Sources
from fleet_operator.settings import OperatorSettings
from support.operator_objects import NOW, model, pod
from support.recording_api import Recorder
from support.waiting import until_async

KEY = ("ns", "m")


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


class Api200(Recorder):
    """Returns whole resources, as the API server does."""

    def __init__(self, cache: ClusterCache) -> None:
        super().__init__()
        self._cache = cache

    async def patch_status(self, kind: Any, namespace: str, name: str, body: Any) -> dict[str, Any]:
        self.asked.append(("status", body["status"].get("reason")))
        self.version += 1
        raw = dict(self._cache.models[namespace, name])
        raw["metadata"] = {**raw["metadata"], "resourceVersion": str(self.version)}
        return {**raw, "status": {**(raw.get("status") or {}), **body["status"]}}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(looping.time, "monotonic", made.monotonic)
    return made


@pytest.fixture
def cache(settings: OperatorSettings, sources: Sources) -> ClusterCache:
    return ClusterCache(settings, Resolver(sources), sees_nodes=False)


@pytest.fixture
def api(cache: ClusterCache) -> Api200:
    return Api200(cache)


@pytest.fixture
async def queue() -> WorkQueue:
    return WorkQueue(asyncio.get_running_loop().time)


@pytest.fixture
async def controller(cache: ClusterCache, api: Api200, queue: WorkQueue) -> Controller:
    return Controller(cache, queue, cast(KubeClient, api), Metrics())


def statuses(api: Api200) -> list[str]:
    return [each[1] for each in api.asked if each[0] == "status"]


async def test_a_transient_status_is_written_after_a_delay(
    controller: Controller, cache: ClusterCache, api: Api200, clock: Clock
) -> None:
    cache.put_model(model())
    assert await controller.reconcile_one(KEY) == "changed"  # the children
    assert statuses(api) == []
    clock.now += PASSING_SECONDS
    await controller.reconcile_one(KEY)
    assert statuses(api) == ["CreatingPods"]
    assert await controller.reconcile_one(KEY) == "unchanged"


async def test_a_ready_status_is_written_at_once(
    controller: Controller, cache: ClusterCache, api: Api200, clock: Clock
) -> None:
    cache.put_model(model())
    await controller.reconcile_one(KEY)
    (deployment,) = (raw for raw in cache.observe(KEY).children.values()  # type: ignore[union-attr]
                     if raw["kind"] == "Deployment")  # fmt: skip
    cache.put_pod(pod(ready=True, template=deployment["metadata"]["labels"][LABEL_TEMPLATE]))
    await controller.reconcile_one(KEY)
    assert statuses(api) == ["Ready"]
    events = asyncio.create_task(controller.run(workers=0))
    for _ in range(5):  # the clock stands still: no time passes in a sleep
        await asyncio.sleep(0)
    assert ("create", "Event", "Ready") in api.asked
    events.cancel()


async def test_a_model_that_yields_stays_stopped_after_a_failed_write_of_its_status(
    controller: Controller, cache: ClusterCache, api: Api200, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.put_model(model(yieldsAfter=0))
    await controller.reconcile_one(KEY)
    (deployment,) = (raw for raw in cache.observe(KEY).children.values()  # type: ignore[union-attr]
                     if raw["kind"] == "Deployment")  # fmt: skip
    template = deployment["metadata"]["labels"][LABEL_TEMPLATE]
    cache.put_pod(pod(ready=True, template=template))
    cache.load = FleetLoad({"uid-router": RouterLoad({}, NOW)})
    await controller.reconcile_one(KEY)
    order = Decision({}, yields=("/".join(KEY),))
    controller._yields.decided(("ns", "w"), order)
    write = api.patch_status

    async def fail(*_: Any) -> dict[str, Any]:
        raise ApiError(500, "InternalError", "no")

    monkeypatch.setattr(api, "patch_status", fail)
    with pytest.raises(ApiError):
        await controller.reconcile_one(KEY)
    monkeypatch.setattr(api, "patch_status", write)
    cache.put_pod(pod(ready=True, template=template, deleting=True))
    await controller.reconcile_one(KEY)
    assert statuses(api)[-2:] == ["Ready", "Yielded"]
    observed = cache.observe(KEY)
    assert observed is not None
    assert observed.deployment is not None
    assert observed.deployment["spec"]["replicas"] == 0


async def test_state_that_must_persist_is_written_at_once(
    controller: Controller, cache: ClusterCache, api: Api200, clock: Clock
) -> None:
    cache.put_model(model(scaleToZeroAfter=60))
    await controller.reconcile_one(KEY)
    assert statuses(api) == ["CreatingPods"]


@pytest.mark.parametrize(
    ("edit", "queued"),
    [
        ({}, False),
        ({"generation": 3}, True),
        ({"annotations": {"modelfleet.dev/paused": "true"}}, True),
    ],
)
async def test_a_change_that_arrives_with_the_response_of_a_write_is_reconciled(
    controller: Controller, cache: ClusterCache, api: Api200, queue: WorkQueue, clock: Clock,
    monkeypatch: pytest.MonkeyPatch, edit: dict[str, Any], queued: bool,
) -> None:  # fmt: skip
    """The watch delivers it later, but then the cache has it already."""
    written = api.patch_status

    async def edited(*arguments: Any) -> dict[str, Any]:
        raw = await written(*arguments)
        return {**raw, "metadata": {**raw["metadata"], **edit}}

    monkeypatch.setattr(api, "patch_status", edited)
    cache.put_model(model(scaleToZeroAfter=60))
    await controller.reconcile_one(KEY)
    assert (KEY in queue._ready) is queued


async def test_what_follows_from_an_applied_child_is_decided(
    controller: Controller, cache: ClusterCache, api: Api200, queue: WorkQueue, clock: Clock
) -> None:
    """The watch delivers the child later, but then the cache has it already."""
    cache.put_model(model())
    await controller.reconcile_one(KEY)
    found = next(iter(cache.observe(KEY).children.values()))  # type: ignore[union-attr]
    newer = {**found["metadata"], "resourceVersion": "1000"}
    edited = {**found["spec"], "replicas": 9}
    cache.put_child("Deployment", {**found, "metadata": newer, "spec": edited})
    assert KEY not in queue._ready
    api.version = 1000
    await controller.reconcile_one(KEY)
    assert KEY in queue._ready


async def test_a_refused_apply_is_an_error_and_retried_with_backoff(
    controller: Controller, cache: ClusterCache, api: Api200, clock: Clock
) -> None:
    api.refuse["Deployment"] = ApiError(422, "Invalid", "spec.x: wrong")
    cache.put_model(model())
    assert await controller.reconcile_one(KEY) == "error"
    assert statuses(api) == ["ApplyFailed"]
    assert await controller.reconcile_one(KEY) == "error"  # again, although nothing changed
    assert api.asked.count(("apply", "Deployment", False)) == 2
    del api.refuse["Deployment"]
    assert await controller.reconcile_one(KEY) == "changed"


async def test_a_refused_deletion_is_reported(
    controller: Controller, cache: ClusterCache, api: Api200, clock: Clock
) -> None:
    cache.put_model(model(replicas=2))
    await controller.reconcile_one(KEY)
    assert ("apply", "PodDisruptionBudget", False) in api.asked
    api.refuse["PodDisruptionBudget"] = ApiError(403, "Forbidden", "no")
    raw = model(replicas=1)
    raw["metadata"] = {**raw["metadata"], "resourceVersion": "99", "generation": 3}
    cache.put_model(raw)
    assert await controller.reconcile_one(KEY) == "error"
    (deployment,) = (raw for raw in cache.observe(KEY).children.values()  # type: ignore[union-attr]
                     if raw["kind"] == "Deployment")  # fmt: skip
    cache.put_pod(pod(ready=True, template=deployment["metadata"]["labels"][LABEL_TEMPLATE]))
    assert await controller.reconcile_one(KEY) == "error"
    assert statuses(api)[-1] == "DeleteRefused"
    del api.refuse["PodDisruptionBudget"]
    assert await controller.reconcile_one(KEY) == "changed"


async def test_a_refused_deletion_does_not_keep_a_model_from_sleeping(
    controller: Controller, cache: ClusterCache, api: Api200, clock: Clock
) -> None:
    """As Failed, it would be refused by routers, which wake what is asleep."""
    cache.put_model(model(replicas=2))
    await controller.reconcile_one(KEY)
    api.refuse["PodDisruptionBudget"] = ApiError(403, "Forbidden", "no")
    raw = model(replicas=0)
    raw["metadata"] = {**raw["metadata"], "resourceVersion": "99", "generation": 3}
    cache.put_model(raw)
    assert await controller.reconcile_one(KEY) == "error"
    assert statuses(api)[-1] == "ScaledToZero"


async def test_a_reconcile_that_waits_for_long_is_ended_and_retried(
    cache: ClusterCache, api: Api200, queue: WorkQueue, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """Liveness would restart the operator."""

    async def throttled(*_: Any, **__: Any) -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(looping, "RECONCILE_SECONDS", 0.0)
    monkeypatch.setattr(api, "apply", throttled)
    cache.put_model(model())
    queue.add([KEY])
    queue.open()
    controller = Controller(cache, queue, cast(KubeClient, api), Metrics())
    working = asyncio.create_task(controller.run(1))
    await until_async(lambda: KEY in queue._failures)
    assert "reconcile_timeout" in caplog.messages
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)


READY_STATUS = {"phase": "Ready", "reason": "Ready", "observedGeneration": 1}


@pytest.mark.parametrize("status", [409, 429, 500, 504])
async def test_a_transient_error_keeps_the_status(
    controller: Controller, cache: ClusterCache, api: Api200, clock: Clock, status: int
) -> None:
    """For one, a webhook that does not respond in time: 500, `failed calling webhook`."""
    api.refuse["Deployment"] = ApiError(status, "InternalError", "try again", 5.0)
    cache.put_model({**model(), "status": READY_STATUS})
    for _ in range(2):
        with pytest.raises(Delayed) as delayed:
            await controller.reconcile_one(KEY)
        assert delayed.value.seconds == 5.0
    assert statuses(api) == []
    del api.refuse["Deployment"]
    assert await controller.reconcile_one(KEY) == "changed"


async def test_a_worker_waits_as_long_as_the_api_server_demands(
    cache: ClusterCache, api: Api200, clock: Clock
) -> None:
    now = [0.0]
    queue = WorkQueue(lambda: now[0])
    api.refuse["Deployment"] = ApiError(429, "TooManyRequests", "", 30.0)
    cache.put_model(model())
    queue.add([KEY])
    queue.open()
    controller = Controller(cache, queue, cast(KubeClient, api), Metrics())
    working = asyncio.create_task(controller.run(1))

    async def applied() -> int:
        queue.add([("ns", "another")])  # wakes the worker up
        for _ in range(100):
            await asyncio.sleep(0)
        return api.asked.count(("apply", "Deployment", False))

    assert await applied() == 1
    now[0] += 29
    assert await applied() == 1
    now[0] += 1
    assert await applied() == 2
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)


async def test_a_worker_retries_rejected_writes(
    cache: ClusterCache, api: Api200, clock: Clock
) -> None:
    now = [0.0]
    queue = WorkQueue(lambda: now[0])
    api.refuse["Deployment"] = ApiError(422, "Invalid", "spec.x: wrong")
    cache.put_model(model())
    queue.add([KEY])
    queue.open()
    controller = Controller(cache, queue, cast(KubeClient, api), Metrics())
    working = asyncio.create_task(controller.run(1))

    async def applied(times: int) -> bool:
        for _ in range(100):
            if api.asked.count(("apply", "Deployment", False)) == times:
                return True
            await asyncio.sleep(0)
        return False

    assert await applied(1)
    now[0] += 1
    queue.add([("ns", "another")])  # wakes the worker up
    assert await applied(2)
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)


async def test_a_namespace_without_the_lease_is_left_alone(
    cache: ClusterCache, api: Api200, queue: WorkQueue
) -> None:
    mine: set[str] = set()
    controller = Controller(
        cache, queue, cast(KubeClient, api), Metrics(), may_write=mine.__contains__
    )
    cache.put_model(model())
    assert await controller.reconcile_one(KEY) == "unchanged"
    assert api.asked == []
    mine.add("ns")
    assert await controller.reconcile_one(KEY) == "changed"
