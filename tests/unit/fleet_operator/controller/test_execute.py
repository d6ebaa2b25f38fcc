"""Execution of a plan, against an API that records its requests."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, cast

import pytest

from fleet_kube.client import KubeClient
from fleet_kube.errors import ApiError
from fleet_operator.controller.cache import ClusterCache
from fleet_operator.controller.execute import NEW_SERVICES, Executor, Outcome, merge_patch
from fleet_operator.decide.observed import Observed, Ref
from fleet_operator.decide.reconcile import reconcile
from fleet_operator.resources.resolve import Resolver, Sources
from fleet_operator.settings import OperatorSettings
from support.operator_objects import model
from support.recording_api import Recorder


@pytest.fixture
def api() -> Recorder:
    return Recorder()


@pytest.fixture
def cache(settings: OperatorSettings, sources: Sources) -> ClusterCache:
    made = ClusterCache(settings, Resolver(sources), sees_nodes=False)
    made.put_model(model())
    return made


@pytest.fixture
def executor(api: Recorder, cache: ClusterCache) -> Executor:
    return Executor(cast(KubeClient, api), cache)


def observe(cache: ClusterCache) -> Observed:
    observed = cache.observe(("ns", "m"))
    assert observed is not None
    return observed


async def test_missing_children_are_applied_once_without_force(
    api: Recorder, cache: ClusterCache, executor: Executor
) -> None:
    observed = observe(cache)
    assert await executor.children(observed, reconcile(observed)) == Outcome(2)
    assert api.asked == [("apply", "Deployment", False), ("apply", "Service", False)]
    observed = observe(cache)
    assert set(observed.children) == {Ref("Deployment", "m"), Ref("Service", "m")}
    assert await executor.children(observed, reconcile(observed)) == Outcome()


class SlowServices(Recorder):
    """Counts Services that are created at the same time."""

    running = most = 0

    async def apply(self, kind: Any, wanted: dict[str, Any], force: bool) -> dict[str, Any]:
        if kind.kind != "Service":
            return await super().apply(kind, wanted, force)
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0.001)
        self.running -= 1
        return await super().apply(kind, wanted, force)


async def test_few_services_are_created_at_a_time(cache: ClusterCache) -> None:
    api = SlowServices()
    executor = Executor(cast(KubeClient, api), cache)
    observed = observe(cache)
    plan = reconcile(observed)
    await asyncio.gather(*(executor.children(observed, plan) for _ in range(48)))
    assert api.most == NEW_SERVICES
    assert len(api.asked) == 96


async def test_edited_children_are_applied_with_force(
    api: Recorder, cache: ClusterCache, executor: Executor
) -> None:
    await executor.children(observe(cache), reconcile(observe(cache)))
    api.asked.clear()
    ref = Ref("Deployment", "m")
    found = observe(cache).children[ref]
    edited = {**found, "spec": {**found["spec"], "replicas": 9},
              "metadata": {**found["metadata"], "resourceVersion": "99"}}  # fmt: skip
    cache.put_child("Deployment", edited)
    api.version = 100
    observed = observe(cache)
    assert await executor.children(observed, reconcile(observed)) == Outcome(1, changed=True)
    assert api.asked == [("apply", "Deployment", True)]


async def test_values_normalized_by_the_api_server_are_not_applied_again(
    api: Recorder, cache: ClusterCache, executor: Executor
) -> None:
    observed = observe(cache)
    plan = reconcile(observed)
    await executor.children(observed, plan)
    found = observe(cache).children[Ref("Service", "m")]
    odd = {**found, "spec": {**found["spec"], "type": "clusterip"}}
    observed = observe(cache)
    observed = replace(observed, children={**observed.children, Ref("Service", "m"): odd})
    assert await executor.children(observed, plan) == Outcome()


async def test_rejected_objects_are_reported_and_the_others_applied(
    api: Recorder, cache: ClusterCache, executor: Executor
) -> None:
    api.refuse["Deployment"] = ApiError(422, "Invalid", "spec.x: wrong")
    observed = observe(cache)
    outcome = await executor.children(observed, reconcile(observed))
    assert outcome == Outcome(1, {Ref("Deployment", "m"): "spec.x: wrong"})


@pytest.mark.parametrize("status", [408, 409, 500, 502, 503, 504])
async def test_transient_errors_delay_and_the_other_objects_are_applied(
    api: Recorder, cache: ClusterCache, executor: Executor, status: int
) -> None:
    api.refuse["Deployment"] = ApiError(status, "", "try again")
    observed = observe(cache)
    assert await executor.children(observed, reconcile(observed)) == Outcome(1, {}, 0.0)
    api.refuse["Service"] = ApiError(429, "TooManyRequests", "", 3.0)
    fresh = Executor(cast(KubeClient, api), cache)
    observed = replace(observe(cache), children={})
    assert await fresh.children(observed, reconcile(observed)) == Outcome(0, {}, 3.0)


@pytest.mark.parametrize("error", [ApiError(429, "", ""), ApiError(503, "", "", 7.0)])
async def test_nothing_more_is_sent_to_an_api_server_that_sheds_requests(
    api: Recorder, cache: ClusterCache, executor: Executor, error: ApiError
) -> None:
    await executor.children(observe(cache), reconcile(observe(cache)))
    api.asked.clear()
    api.refuse["Deployment"] = error
    observed = replace(observe(cache), children={})
    outcome = await executor.children(observed, reconcile(observed))
    assert outcome == Outcome(0, {}, error.retry_after)
    assert api.asked == [("apply", "Deployment", False)]
    api.refuse["Service"] = error
    both = (Ref("Service", "m"), Ref("Deployment", "m"))
    plan = replace(reconcile(observed), objects=(), delete=both)
    outcome = await executor.children(observe(cache), plan)
    assert outcome == Outcome(0, {}, error.retry_after)
    assert api.asked[1:] == [("delete", "Service", "ns", "m", "Service")]


async def test_a_refused_deletion_is_reported_and_the_others_are_made(
    api: Recorder, cache: ClusterCache, executor: Executor
) -> None:
    await executor.children(observe(cache), reconcile(observe(cache)))
    api.refuse["Deployment"] = ApiError(403, "Forbidden", "no")
    observed = observe(cache)
    both = (Ref("Deployment", "m"), Ref("Service", "m"))
    plan = replace(reconcile(observed), objects=(), delete=both)
    outcome = await executor.children(observed, plan)
    assert outcome == Outcome(1, undeleted={both[0]: "no"})
    assert outcome.failures == {both[0]: "no"}


async def test_terminating_and_foreign_objects_are_not_changed(
    api: Recorder, cache: ClusterCache, executor: Executor
) -> None:
    plan = reconcile(observe(cache))
    leaving = {"metadata": {"uid": "u", "resourceVersion": "1", "deletionTimestamp": "now"}}
    observed = replace(
        observe(cache),
        children={Ref("Deployment", "m"): leaving},
        foreign=frozenset({Ref("Service", "m")}),
    )
    plan = replace(plan, delete=(Ref("Deployment", "m"),))
    assert await executor.children(observed, plan) == Outcome()
    assert api.asked == []


async def test_deletion_has_the_uid_as_precondition(
    api: Recorder, cache: ClusterCache, executor: Executor
) -> None:
    await executor.children(observe(cache), reconcile(observe(cache)))
    api.asked.clear()
    observed = observe(cache)
    plan = replace(reconcile(observed), objects=(), delete=(Ref("Service", "m"),))
    assert await executor.children(observed, plan) == Outcome(1)
    assert api.asked == [("delete", "Service", "ns", "m", "Service")]


async def test_the_status_is_written_where_it_changed(
    api: Recorder, cache: ClusterCache, executor: Executor
) -> None:
    observed = observe(cache)
    plan = reconcile(observed)
    assert await executor.status(observed, plan) is not None
    ((_, body),) = api.asked
    assert body == {"metadata": {"uid": "uid-m"}, "status": plan.status}
    same = replace(observed, model={**observed.model, "status": plan.status})
    assert await executor.status(same, plan) is None
    assert len(api.asked) == 1


@pytest.mark.parametrize("status", [404, 409])
async def test_a_resource_that_is_gone_has_no_status(
    api: Recorder, cache: ClusterCache, executor: Executor, status: int
) -> None:
    api.refuse["status"] = ApiError(status, "", "")
    assert await executor.status(observe(cache), reconcile(observe(cache))) is None


@pytest.mark.parametrize(
    ("before", "after", "patch"),
    [
        ({}, {}, {}),
        ({"a": 1}, {"a": 1}, {}),
        ({"a": 1}, {"a": 2, "b": 3}, {"a": 2, "b": 3}),
        ({"a": 1, "b": 2}, {"a": 1}, {"b": None}),
        ({"m": {"a": 1, "b": 2}}, {"m": {"a": 1, "c": 3}}, {"m": {"b": None, "c": 3}}),
        ({"m": {"a": 1}}, {"m": {}}, {"m": {"a": None}}),
        ({"l": [1, 2]}, {"l": [1]}, {"l": [1]}),
        ({"m": [1]}, {"m": {"a": 1}}, {"m": {"a": 1}}),
    ],
)
def test_merge_patch(before: Any, after: Any, patch: Any) -> None:
    assert merge_patch(before, after) == patch
