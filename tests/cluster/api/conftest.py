"""Fixtures of the operator on the API tier: definition installed, operator running."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from harness import operator_process
from harness.api import Api, Json
from harness.control_plane import ControlPlane
from harness.models import model, phase, wait
from harness.nodes import GPU, on_node
from harness.operator_process import ACCOUNT, OperatorProcess
from harness.played_kubelet import PlayedKubelet
from harness.run import Run
from harness.tenant import Tenant


@pytest.fixture(scope="session")
def definition(api: Api) -> None:
    """InferenceModels are known to the API server."""
    operator_process.install(api)


@pytest.fixture(scope="session")
def cluster_operator(
    run: Run, control_plane: ControlPlane, api: Api, definition: None
) -> Iterator[OperatorProcess]:
    """One operator for all tests, serving the whole cluster."""
    operator_process.grant(api)
    process = OperatorProcess(run, control_plane, api)
    yield process
    process.stop()


@pytest.fixture
def operator(cluster_operator: OperatorProcess) -> OperatorProcess:
    """The operator, running; a test may kill it, the next one finds it running again."""
    if not cluster_operator.running:
        cluster_operator.start()
    return cluster_operator


@pytest.fixture
def another_operator(
    run: Run, api: Api, control_plane: ControlPlane, cluster_operator: OperatorProcess
) -> Iterator[Callable[..., OperatorProcess]]:
    """Starts operators in the place of the common one, which has gone meanwhile."""
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
def put(
    tenant: Tenant, kubelet: PlayedKubelet, add_node: Callable[..., Json]
) -> Callable[..., Json]:
    """Adds a node and a model of the same name that runs nowhere else, and waits until it is ready.

    With `gpus`, the node has so many and the model asks for one. The fields of the spec follow.
    """

    def put_one(name: str, gpus: int = 0, **spec: Any) -> Json:
        add_node(name, gpus=gpus)
        if gpus:
            spec.setdefault("resources", {"limits": {GPU: 1}})
        made = tenant.create(model(name, **on_node(name), **spec))
        wait(tenant, name, phase("Ready"))
        return made

    return put_one
