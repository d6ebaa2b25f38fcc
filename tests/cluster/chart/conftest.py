"""Fixtures of the chart: helm, and an API server with all kinds the chart can render."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from harness import definitions, operator_process
from harness.api import Api, Json
from harness.helm import Helm
from harness.run import Run
from harness.tenant import Tenant

RESTRICTED = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}


@pytest.fixture(scope="session")
def renderer(run: Run, host_network: Callable[[], AbstractContextManager[None]]) -> Helm:
    """helm without a cluster."""
    with host_network():
        return Helm(run.path("helm", "x").parent)


@pytest.fixture(scope="session")
def helm(renderer: Helm, run: Run, api: Api) -> Helm:
    """helm as cluster administrator."""
    return Helm(run.path("helm", "x").parent, api.kubeconfig)


@pytest.fixture(scope="session")
def kinds(api: Api, host_network: Callable[[], AbstractContextManager[None]]) -> list[Json]:
    """Install the definitions of the project, of monitoring and of Gateway API."""
    with host_network():
        third_party = definitions.read()
    operator_process.install(api)
    definitions.install(api, third_party)
    return third_party


@pytest.fixture
def restricted(api: Api, request: pytest.FixtureRequest) -> Iterator[Tenant]:
    """A namespace that enforces Pod Security "restricted"."""
    with Tenant(api, request.node.name, RESTRICTED) as mine:
        yield mine


@pytest.fixture(scope="session")
def chart() -> Path:
    """The chart's folder."""
    from harness.helm import CHART

    return CHART
