"""Features of the cluster: found at the start, and watched for changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fleet_kube.errors import ApiError, ApiUnreachable, KubeError
from fleet_kube.kind import Kind
from fleet_operator.controller import cluster_features
from fleet_operator.controller.cluster_features import TRIES, features_of, until_changed
from fleet_operator.features import Features
from fleet_operator.kinds import (
    CHILDREN,
    DEVICE_CLAIM_TEMPLATE,
    INFERENCE_POOL,
    MODEL,
    cached_kinds,
    children,
)
from support.operator_objects import settings_of

TEMPLATES, POOLS, MODELS = DEVICE_CLAIM_TEMPLATE.kind, INFERENCE_POOL.kind, MODEL.kind

MANY = 20


class Api:
    """An API server of a version; lists fail with the status of their kind, or of their kind and
    namespace. `failures` are errors of the next requests, `version_failures` of those for the
    version."""

    def __init__(self, version: tuple[int, int] = (1, 36), **status: int) -> None:
        self._version = version
        self.failures: list[KubeError] = []
        self.version_failures: list[KubeError] = []
        self.status: dict[Any, int] = dict(status)
        self.reachable = True
        self.listed: list[tuple[str, str | None]] = []
        self.many_listed = asyncio.Event()

    async def pages(
        self, kind: Kind, namespace: str | None, *, metadata_only: bool
    ) -> AsyncIterator[Any]:
        assert metadata_only
        self.listed.append((kind.kind, namespace))
        if len(self.listed) >= MANY:
            self.many_listed.set()
        self._fail()
        if not self.reachable:
            raise ApiUnreachable("gone")
        status = self.status.get((kind.kind, namespace), self.status.get(kind.kind, 200))
        if status != 200:
            raise ApiError(status, "Reason", "message")
        yield [], "1"

    async def version(self) -> tuple[int, int]:
        self._fail()
        if self.version_failures:
            raise self.version_failures.pop(0)
        if "version" in self.status:
            raise ApiError(self.status["version"], "Reason", "message")
        return self._version

    def _fail(self) -> None:
        if self.failures:
            raise self.failures.pop(0)


@pytest.mark.parametrize(
    ("version", "statuses", "expected"),
    [
        ((1, 36), {}, Features(device_claims=True, inference_pools=True, image_volumes=True)),
        ((1, 35), {TEMPLATES: 403, POOLS: 404}, Features(image_volumes=True)),
        ((1, 34), {POOLS: 403}, Features(device_claims=True)),
        ((1, 30), {TEMPLATES: 404}, Features(inference_pools=True)),
        ((2, 0), {POOLS: 404}, Features(device_claims=True, image_volumes=True)),
    ],
)
async def test_by_version_and_rights(
    version: tuple[int, int], statuses: dict[str, int], expected: Features
) -> None:
    api: Any = Api(version, **statuses)
    assert await features_of(api, settings_of()) == expected


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between requests, which take no time."""
    found: list[float] = []

    async def sleep(seconds: float) -> None:
        found.append(seconds)

    monkeypatch.setattr(cluster_features.asyncio, "sleep", sleep)
    return found


async def test_errors_that_pass_are_waited_for(waits: list[float]) -> None:
    api: Any = Api()
    api.failures = [
        ApiError(503, "", "starting"), ApiUnreachable("gone"), ApiError(401, "", "expired"),
        ApiError(429, "", "", 7.0),
    ]  # fmt: skip
    everything = Features(device_claims=True, inference_pools=True, image_volumes=True)
    assert await features_of(api, settings_of()) == everything
    assert waits == [2.0, 2.0, 2.0, 7.0]


async def test_a_version_that_must_not_be_read_has_no_image_volumes(
    waits: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    api: Any = Api(version=(1, 36))
    api.status["version"] = 403
    assert await features_of(api, settings_of()) == Features(True, True, image_volumes=False)
    assert "feature_unknown" in caplog.messages
    assert waits == []


async def test_the_version_is_waited_for(waits: list[float]) -> None:
    """It is read only once, and templates of pods depend on it."""
    api: Any = Api(version=(1, 36))
    api.version_failures = [ApiError(500, "Reason", "message")] * (3 * TRIES)
    assert await features_of(api, settings_of()) == Features(True, True, image_volumes=True)
    assert len(waits) == 3 * TRIES


async def test_a_kind_that_never_responds_does_not_keep_the_operator_from_starting(
    waits: list[float],
) -> None:
    api: Any = Api(**{POOLS: 500})
    assert await features_of(api, settings_of()) == Features(True, False, image_volumes=True)


async def test_a_setting_overrides_the_version() -> None:
    new: Any = Api((1, 36))
    old: Any = Api((1, 33))
    assert not (await features_of(new, settings_of(IMAGE_VOLUMES="0"))).image_volumes
    assert (await features_of(old, settings_of(IMAGE_VOLUMES="true"))).image_volumes
    assert (await features_of(new, settings_of(IMAGE_VOLUMES="auto"))).image_volumes


@pytest.mark.parametrize(
    ("statuses", "available"),
    [
        ({}, True),
        ({(POOLS, "b"): 403}, False),
        # A deleted namespace, where nothing can be read, does not matter.
        ({(POOLS, "b"): 403, (MODELS, "b"): 403}, True),
        ({POOLS: 403, MODELS: 403}, False),
    ],
)
async def test_rights_are_needed_in_every_namespace_with_models(
    statuses: dict[Any, int], available: bool
) -> None:
    api = Api()
    api.status = statuses
    sent: Any = api
    found = await features_of(sent, settings_of(WATCH_NAMESPACES="a,b"))
    assert found.inference_pools == available
    assert {(POOLS, "a"), (POOLS, "b")} <= set(api.listed)


def test_the_kinds_of_children() -> None:
    assert children(Features()) == CHILDREN
    assert DEVICE_CLAIM_TEMPLATE in children(Features(device_claims=True))
    assert INFERENCE_POOL in children(Features(inference_pools=True))


def test_the_kinds_of_the_cache() -> None:
    without_nodes = cached_kinds(Features(), sees_nodes=False)
    assert [kind.kind for kind in without_nodes] == [
        "InferenceModel", "Deployment", "Service", "PodDisruptionBudget", "PersistentVolumeClaim",
        "Pod",
    ]  # fmt: skip
    assert [kind.kind for kind in cached_kinds(Features(), sees_nodes=True)] == [
        *(kind.kind for kind in without_nodes), "Node",
    ]  # fmt: skip


async def ends(api: Api, features: Features, **environ: str) -> bool:
    """Whether the watch for changes ends within `MANY` lists."""
    sent: Any = api
    watch = asyncio.create_task(until_changed(sent, settings_of(**environ), features, 0.0))
    many = asyncio.create_task(api.many_listed.wait())
    await asyncio.wait((watch, many), return_when=asyncio.FIRST_COMPLETED)
    done = watch.done()
    for task in (watch, many):
        task.cancel()
    await asyncio.gather(watch, many, return_exceptions=True)
    return done


NONE = Features()
BOTH = Features(device_claims=True, inference_pools=True)


@pytest.mark.parametrize(
    ("features", "statuses", "expected"),
    [
        (BOTH, {}, False),
        (BOTH, {POOLS: 404}, True),
        # Rights and throttling change for a while, such as during an upgrade.
        (BOTH, {POOLS: 403}, False),
        (BOTH, {POOLS: 503}, False),
        (NONE, {POOLS: 404, TEMPLATES: 404}, False),
        (NONE, {POOLS: 403, TEMPLATES: 503}, False),
        (NONE, {TEMPLATES: 404}, True),
        (NONE, {POOLS: 404}, True),
    ],
)
async def test_a_definition_that_is_added_or_deleted_ends_the_watch(
    features: Features, statuses: dict[str, int], expected: bool
) -> None:
    assert await ends(Api(**statuses), features) == expected


async def test_a_definition_deleted_under_a_deleted_namespace_ends_the_watch() -> None:
    api = Api()
    api.status = {(POOLS, "a"): 403, (POOLS, "b"): 404}
    assert await ends(api, BOTH, WATCH_NAMESPACES="a,b")


async def test_an_outage_changes_nothing() -> None:
    for features in (NONE, BOTH):
        api = Api()
        api.reachable = False
        assert not await ends(api, features)
