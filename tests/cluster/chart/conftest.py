"""Fixtures of the chart: helm, and an API server that knows every kind the chart can make."""

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
def renderer(run: Run, outside: Callable[[], AbstractContextManager[None]]) -> Helm:
    """helm without a cluster."""
    with outside():
        return Helm(run.path("helm", "x").parent)


@pytest.fixture(scope="session")
def helm(renderer: Helm, run: Run, api: Api) -> Helm:
    """helm as the cluster's administrator."""
    return Helm(run.path("helm", "x").parent, api.kubeconfig)


@pytest.fixture(scope="session")
def kinds(api: Api, outside: Callable[[], AbstractContextManager[None]]) -> list[Json]:
    """Every kind the chart can make is known: ours, those of monitoring and of Gateway API."""
    with outside():
        foreign = definitions.read()
    operator_process.install(api)
    definitions.install(api, foreign)
    return foreign


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
