"""Fixtures of the API tier: a real control plane with simulated nodes and pods.

Tests use `tenant`, a namespace of their own, `add_node`, which creates nodes for the scheduler, and
`kubelet`, which sets the status of bound pods. The fixtures of a run and of the real node are in
`harness/fixtures.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from harness import nodes, tiers
from harness.api import Api, Json
from harness.background_build import BackgroundBuild
from harness.control_plane import ControlPlane
from harness.fake_kubelet import FakeKubelet
from harness.netns import NODE_ADDRESS, Namespace
from harness.netns_hook import pytest_runtest_protocol  # noqa: F401
from harness.paths import CLUSTER
from harness.run import Run
from harness.tenant import Tenant


def pytest_configure(config: pytest.Config) -> None:
    """Register the fixtures shared with tests/e2e."""
    config.pluginmanager.import_plugin("harness.fixtures")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build the programs in the background if other suites run first."""
    suites = {item.path.relative_to(CLUSTER.parent).parts[0] for item in session.items}
    if "cluster" in suites and len(suites) > 1 and not session.config.option.collectonly:
        building = BackgroundBuild()
        session.config.add_cleanup(building.stop)


@pytest.fixture(scope="session")
def control_plane(run: Run, network: Namespace | None) -> Iterator[ControlPlane]:
    """The control plane of the API tier, for tests that stop and start its API server."""
    if tiers.existing_cluster():
        pytest.skip("MODELFLEET_TEST_KUBECONFIG: tests do not stop its control plane")
    plane = ControlPlane(
        run, "api", NODE_ADDRESS if network else None, "10.97.0.0/16", real_nodes=False
    )
    try:
        plane.start()
        yield plane
    finally:
        plane.stop()


@pytest.fixture(scope="session")
def api(request: pytest.FixtureRequest) -> Iterator[Api]:
    """API client of the API tier's cluster, as administrator."""
    config = tiers.existing_cluster() or request.getfixturevalue("control_plane").kubeconfig
    with Api(config) as client:
        yield client


@pytest.fixture
def tenant(api: Api, request: pytest.FixtureRequest) -> Iterator[Tenant]:
    """A namespace for this test."""
    with Tenant(api, request.node.name) as mine:
        yield mine


@pytest.fixture
def kubelet(api: Api, tenant: Tenant) -> Iterator[FakeKubelet]:
    """Simulated kubelet for the test's pods; pods become ready at once by default."""
    with FakeKubelet(api, tenant.namespace) as simulated:
        yield simulated


@pytest.fixture
def add_node(api: Api) -> Iterator[Callable[..., Json]]:
    """Create ready nodes with the arguments of `nodes.node`; they are deleted after the test."""
    added = []

    def add(name: str, **arguments: Any) -> Json:
        added.append(nodes.node(name, **arguments))
        return api.create(added[-1])

    yield add
    for manifest in added:
        api.delete(manifest)
