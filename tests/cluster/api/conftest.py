"""Fixtures of the operator on the API tier."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import operator_process, router_process
from harness.api import Api, Json
from harness.control_plane import ControlPlane
from harness.fake_kubelet import FakeKubelet
from harness.models import model, phase, wait
from harness.nodes import GPU, on_node
from harness.operator_process import ACCOUNT, OperatorProcess
from harness.router_process import RouterProcess
from harness.run import Run
from harness.tenant import Tenant

FOLDER = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests of this folder that stop the shared operator after all others, which would
    start it again.
    """
    places = [place for place, item in enumerate(items) if item.path.parent == FOLDER]
    ordered = sorted((items[place] for place in places), key=stops_the_operator)
    for place, item in zip(places, ordered, strict=True):
        items[place] = item


def stops_the_operator(item: pytest.Item) -> bool:
    """Whether a test has operators of its own."""
    return "another_operator" in getattr(item, "fixturenames", ())


@pytest.fixture(scope="session")
def definition(api: Api) -> None:
    """Install the definition of InferenceModel."""
    operator_process.install(api)


@pytest.fixture(scope="session")
def cluster_operator(
    run: Run, control_plane: ControlPlane, api: Api, definition: None
) -> Iterator[OperatorProcess]:
    """An operator for the whole cluster, shared by all tests."""
    operator_process.grant(api)
    process = OperatorProcess(run, control_plane, api)
    yield process
    process.stop()


@pytest.fixture
def operator(cluster_operator: OperatorProcess) -> OperatorProcess:
    """The shared operator, restarted if an earlier test killed it."""
    if not cluster_operator.running:
        cluster_operator.start()
    return cluster_operator


@pytest.fixture
def another_operator(
    run: Run, api: Api, control_plane: ControlPlane, cluster_operator: OperatorProcess
) -> Iterator[Callable[..., OperatorProcess]]:
    """Start other operators while the shared one is stopped."""
    cluster_operator.stop()
    made: list[OperatorProcess] = []

    def start(account: str = ACCOUNT, server: str = "", **settings: str) -> OperatorProcess:
        made.append(OperatorProcess(run, control_plane, api, account, server))
        made[-1].start(**settings)
        return made[-1]

    yield start
    for process in made:
        process.stop()


@pytest.fixture
def put(tenant: Tenant, kubelet: FakeKubelet, add_node: Callable[..., Json]) -> Callable[..., Json]:
    """Create a node and a model with the same name that runs only there, and wait until it is
    ready.

    `gpus` is the number of GPUs of the node; the model then requests one. Other arguments are
    fields of the spec.
    """

    def put_one(name: str, gpus: int = 0, **spec: Any) -> Json:
        add_node(name, gpus=gpus)
        if gpus:
            spec.setdefault("resources", {"limits": {GPU: 1}})
        made = tenant.create(model(name, **on_node(name), **spec))
        wait(tenant, name, phase("Ready"))
        return made

    return put_one


@pytest.fixture
def make_router(
    run: Run, control_plane: ControlPlane, definition: None, tenant: Tenant
) -> Iterator[Callable[..., RouterProcess]]:
    """Start routers for the test's namespace."""
    router_process.grant(tenant)
    made: list[RouterProcess] = []

    def make(**settings: str) -> RouterProcess:
        router = RouterProcess(run, control_plane, tenant, **settings)
        made.append(router)
        router.start()
        return router

    yield make
    for router in made:
        router.stop()
