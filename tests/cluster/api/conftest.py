"""Fixtures of the operator on the API tier: definition installed, operator running."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness import operator_process
from harness.api import Api
from harness.control_plane import ControlPlane
from harness.operator_process import OperatorProcess
from harness.run import Run


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
