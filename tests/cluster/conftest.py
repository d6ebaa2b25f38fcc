"""Fixtures of real clusters: the API tier, with nodes and pods that tests write.

What a test asks for: `tenant`, a namespace of its own; `add_node`, nodes for the scheduler;
`kubelet`, which has bound pods become ready or fail. The fixtures of the real node are in `node/`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest

from harness import leftovers, nodes, tiers
from harness.api import Api, Json
from harness.binaries import CONTROL_PLANE, program
from harness.control_plane import ControlPlane
from harness.netns import NODE_ADDRESS, Namespace
from harness.played_kubelet import PlayedKubelet
from harness.run import Run
from harness.tenant import Tenant

_NETWORK = pytest.StashKey[Namespace]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Only the tests of this folder are inside the run's network namespace."""
    if present := item.config.stash.get(_NETWORK, None):
        present.enter()
    try:
        return (yield)
    finally:
        if present := item.config.stash.get(_NETWORK, None):
            present.leave()


@pytest.fixture(scope="session")
def run() -> Iterator[Run]:
    """The run; what killed runs left behind is removed first."""
    leftovers.sweep()
    for name in CONTROL_PLANE:
        program(name)
    current = Run()
    yield current
    leftovers.remove(current.folder, keep_folder=True)
    current.close()


@pytest.fixture(scope="session")
def network(run: Run, pytestconfig: pytest.Config) -> Iterator[Namespace | None]:
    """The run's network namespace, in which this process then is; None means loopback."""
    if tiers.existing_cluster() or tiers.namespace_unavailable():
        yield None
        return
    namespace = pytestconfig.stash[_NETWORK] = Namespace()
    yield namespace
    del pytestconfig.stash[_NETWORK]
    namespace.close()


@pytest.fixture(scope="session")
def pod_network(network: Namespace | None) -> Namespace:
    """For tests in which something dials a pod's or a Service's address."""
    if network is None:
        if tiers.existing_cluster():
            pytest.skip("MODELFLEET_TEST_KUBECONFIG: the played pods have addresses only with us")
        tiers.did_not_run("tests that dial pods", str(tiers.namespace_unavailable()))
    return network


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
