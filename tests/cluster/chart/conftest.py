"""Fixtures of the chart: helm, and an API server with all kinds the chart can render."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from chart.release import Definition, Release
from harness import definitions, operator_process
from harness.api import Api, Json
from harness.control_plane import ControlPlane
from harness.fake_kubelet import FakeKubelet
from harness.helm import Helm
from harness.operator_process import OperatorProcess
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


@pytest.fixture
def release(
    helm: Helm, kinds: list[Json], restricted: Tenant, add_node: Callable[..., Json]
) -> Release:
    """The release `fleet`, not installed yet, with a node for its pods."""
    add_node("chart-node", cpu="8")
    return Release(helm, restricted)


@pytest.fixture
def release_operator(
    release: Release, run: Run, control_plane: ControlPlane, api: Api
) -> Iterator[Callable[[], OperatorProcess]]:
    """Start the operator of the installed release, with its settings and rights, as a process."""
    made: list[OperatorProcess] = []

    def start() -> OperatorProcess:
        name, own = "fleet-modelfleet-operator", release.tenant.namespace
        deployment = release.tenant.get("apps/v1", "Deployment", name)
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        settings = {one["name"]: one["value"] for one in container["env"] if "value" in one}
        made.append(OperatorProcess(run, control_plane, api, name, namespace=own))
        made[-1].start(**settings)
        return made[-1]

    yield start
    for process in made:
        process.stop()


@pytest.fixture
def kubelet(api: Api, restricted: Tenant) -> Iterator[None]:
    """Pods of the release become ready."""
    with FakeKubelet(api, restricted.namespace):
        yield


@pytest.fixture
def definition(api: Api, kinds: list[Json]) -> Iterator[Definition]:
    """The definition, restored at the end."""
    found = Definition(api)
    yield found
    found.restore()


@pytest.fixture(scope="session")
def chart() -> Path:
    """The chart's folder."""
    from harness.helm import CHART

    return CHART
