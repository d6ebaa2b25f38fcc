"""Fixtures of real clusters: the API tier, with nodes and pods that tests write.

What a test asks for: `tenant`, a namespace of its own; `add_node`, nodes for the scheduler;
`kubelet`, which has bound pods become ready or fail. Those of the run and of the real node are in
`harness/fixtures.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from harness import nodes, tiers
from harness.ahead import Ahead
from harness.api import Api, Json
from harness.control_plane import ControlPlane
from harness.inside import pytest_runtest_protocol  # noqa: F401
from harness.netns import NODE_ADDRESS, Namespace
from harness.paths import CLUSTER
from harness.played_kubelet import PlayedKubelet
from harness.run import Run
from harness.tenant import Tenant


def pytest_configure(config: pytest.Config) -> None:
    """The fixtures that tests/e2e has too."""
    config.pluginmanager.import_plugin("harness.fixtures")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Where other suites run first, the programs are built meanwhile."""
    suites = {item.path.relative_to(CLUSTER.parent).parts[0] for item in session.items}
    if "cluster" in suites and len(suites) > 1 and not session.config.option.collectonly:
        building = Ahead()
        session.config.add_cleanup(building.stop)


@pytest.fixture(scope="session")
def control_plane(run: Run, network: Namespace | None) -> Iterator[ControlPlane]:
    """The control plane of the API tier, for tests that stop and start its API server."""
    if tiers.existing_cluster():
        pytest.skip("MODELFLEET_TEST_KUBECONFIG: the control plane is not ours to stop")
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
    """The API tier's cluster, as its administrator."""
    config = tiers.existing_cluster() or request.getfixturevalue("control_plane").kubeconfig
    with Api(config) as client:
        yield client


@pytest.fixture
def tenant(api: Api, request: pytest.FixtureRequest) -> Iterator[Tenant]:
    """A namespace for this test."""
    with Tenant(api, request.node.name) as mine:
        yield mine


@pytest.fixture
def kubelet(api: Api, tenant: Tenant) -> Iterator[PlayedKubelet]:
    """Reports on the test's pods: ready at once, unless the test has it behave otherwise."""
    with PlayedKubelet(api, tenant.namespace) as played:
        yield played


@pytest.fixture
def add_node(api: Api) -> Iterator[Callable[..., Json]]:
    """Adds a ready node, with the arguments of `nodes.node`; it goes with the test."""
    added = []

    def add(name: str, **arguments: Any) -> Json:
        added.append(nodes.node(name, **arguments))
        return api.create(added[-1])

    yield add
    for manifest in added:
        api.delete(manifest)
