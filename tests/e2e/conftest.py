"""Fixtures of the chart's release on the real node of tests/cluster."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from harness import edge as edges
from harness import tiers, volumes
from harness.api import Api, Json
from harness.control_plane import ControlPlane
from harness.edge import Edge
from harness.fleet import (
    CHAT,
    EMBEDDING,
    EXAMPLES,
    MODELS,
    OPERATORS,
    READY_SECONDS,
    REGISTRY,
    RESTRICTED,
    SPEECH,
    TAGS,
    Change,
    Fleet,
    FreshInstall,
    Traffic,
    first_token,
)
from harness.helm import Helm
from harness.mirror import Mirror
from harness.netns import Namespace
from harness.netns_hook import pytest_runtest_protocol  # noqa: F401
from harness.node import Node
from harness.run import Run
from harness.tenant import Tenant
from traffic import ChatStream, Driver, Embeddings, Kind, Plan, Transcription, WholeChat

E2E = Path(__file__).parent
ORDER = {"test_install": 0, "test_uninstall": 2, "test_images": 3, "test_skaffold": 4}
"""Positions of modules; all others use the installed release, so they have position 1."""


def pytest_configure(config: pytest.Config) -> None:
    """Register the fixtures of the run and of its node, shared with tests/cluster."""
    config.pluginmanager.import_plugin("harness.fixtures")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the modules of this folder in the order of ORDER."""
    places = [place for place, item in enumerate(items) if item.path.parent == E2E]
    ordered = sorted((items[n] for n in places), key=lambda item: ORDER.get(item.path.stem, 1))
    for place, item in zip(places, ordered, strict=True):
        items[place] = item


@pytest.fixture(scope="session", autouse=True)
def require_node(node_requirements: None) -> None:
    """Checked before anything is built."""


@pytest.fixture(scope="session")
def helm(run: Run, node_control_plane: ControlPlane, pod_network: Namespace) -> Helm:
    """helm as administrator of the node's cluster."""
    with pod_network.host_network():
        return Helm(run.path("helm", "x").parent, node_control_plane.kubeconfig)


@pytest.fixture(scope="session")
def registry(node: Node, image: Callable[[str], str]) -> str:
    """The chart's values for registry and tag; the images have two tags, so that an upgrade exists.

    The images are on the node already, so nothing is pulled.
    """
    for kind in ("operator", "router", "server", "client"):
        reference, suffix = image(kind), "-cpu" if kind == "server" else ""
        for tag in TAGS:
            node.containerd.tag(reference, f"{REGISTRY}/modelfleet-{kind}:{tag}{suffix}")
    return REGISTRY


@pytest.fixture(scope="session")
def values(registry: str, package_mirror: Mirror) -> dict[str, Any]:
    """Values for a closed network: own registry and package index, weights on a volume."""
    return {
        "image": {"registry": registry, "tag": TAGS[0]},
        "server.mirrors": {
            "pypiIndexUrl": package_mirror.environ["PIP_INDEX_URL"],
            "pypiTrustedHost": package_mirror.environ["PIP_TRUSTED_HOST"],
        },
        "modelCache": {"enabled": True, "size": "5Gi"},
        "router.allowUnauthenticated": True,
        "ingress": {"enabled": True, "host": "models.example.com", "className": "nginx"},
        "test.require": ["chat", "embedding", "speech"],
    }


@pytest.fixture(scope="session")
def fresh_install(
    node_api: Api, run: Run, helm: Helm, without_operator: None, values: dict[str, Any]
) -> Iterator[FreshInstall]:
    """`helm install`, `kubectl apply` of the chat model, and a first response."""
    with Tenant(node_api, "fleet", RESTRICTED, fake_pods=False) as tenant:
        fleet = Fleet(helm, tenant)
        folder = run.path("weights", "x").parent
        folder.chmod(0o777)  # hostPath volumes do not support fsGroup
        volume, _ = volumes.claim("fleet-modelfleet-models", tenant.namespace, folder)
        node_api.create(volume)
        began = time.time()
        notes = fleet.install(values)
        installed = time.time()
        ready = ready_at(fleet, OPERATORS)
        fleet.apply("chat", 1)
        fleet.wait_until_ready("smollm2")
        served = time.time()
        with fleet.client() as client:
            token = first_token(client)
        seconds = {
            "operator ready": ready - began,
            "helm install": installed - began,
            "model ready": served - installed,
            "first token": token,
            "all": time.time() - began,
        }
        yield FreshInstall(fleet, notes, seconds)
    node_api.delete(volume)


def ready_at(fleet: Fleet, label: str) -> float:
    """When the only pod of a label became ready, in whole seconds since the epoch."""
    (pod,) = fleet.pods(label)
    conditions = {one["type"]: one for one in pod["status"]["conditions"]}
    return datetime.fromisoformat(conditions["Ready"]["lastTransitionTime"]).timestamp()


@pytest.fixture(scope="session")
def fleet(fresh_install: FreshInstall) -> Fleet:
    """The release with all its models ready."""
    for example, name in EXAMPLES.items():
        fresh_install.fleet.apply(example, MODELS[name])
    fresh_install.fleet.wait_for_all_pods()
    return fresh_install.fleet


@pytest.fixture(scope="session")
def ingress(fleet: Fleet) -> Json:
    """The Ingress of the release, if nginx is installed."""
    if why := edges.unavailable():
        tiers.did_not_run("edge proxy", why)
    return fleet.tenant.get("networking.k8s.io/v1", "Ingress", "fleet-modelfleet")


@pytest.fixture(scope="session")
def edge(fleet: Fleet, run: Run, ingress: Json) -> Iterator[Edge]:
    """nginx, configured as the Ingress requires."""
    with Edge(run, ingress, fleet.url) as made:
        yield made


@pytest.fixture
def traffic(
    fleet: Fleet,
    speech_wav: bytes,
    figures: Callable[[str, Any], None],
    request: pytest.FixtureRequest,
) -> Traffic:
    """`with traffic() as (driver, change)` checks at its end that no request failed. The requests
    go to the routers' Service, to the URL of one router, or through an edge proxy.

    `with change(NAME)` marks a change, and waits at its end until requests sent after the change
    have their responses. Connections are kept alive. With `begun=False` no response starts before
    it is complete, so that the router can retry the request. `embeddings` are further models.
    """

    @contextmanager
    def run(
        begun: bool = True,
        edge: Edge | None = None,
        router: str = "",
        embeddings: Sequence[str] = (),
    ) -> Iterator[tuple[Driver, Change]]:
        kinds: list[Kind] = [WholeChat(CHAT, 24, "Paris"), Embeddings(EMBEDDING, 384)]
        if begun:  # a transcription takes as long as many other requests
            kinds = 2 * [*kinds, ChatStream(CHAT, 12, "Paris")]
            kinds.append(Transcription(SPEECH, speech_wav, ("capital",)))
        kinds += [Embeddings(one, 384, name=one) for one in embeddings]
        url, host = (edge.url, edge.host) if edge else (router or fleet.url, "")
        plan = Plan(
            url, rate=2 if begun else 8, concurrency=4, timeout=200, seconds=3600, host=host
        )

        @contextmanager
        def change(name: str) -> Iterator[None]:
            with driver.mark(name):
                yield
                driver.wait_for_requests(len(kinds), seconds=READY_SECONDS)

        with Driver(plan, kinds) as driver:
            driver.wait_for_requests(len(kinds), seconds=READY_SECONDS)
            yield driver, change
        report = driver.report()
        figures(request.node.name + ("_behind_the_edge" if edge else ""), report.as_json())
        assert report.clean, report

    return run


@pytest.fixture(scope="session")
def figures() -> Any:
    """`figures(name, content)` writes measurements to the folder E2E_FIGURES."""

    def keep(name: str, content: Any) -> None:
        if folder := os.environ.get("E2E_FIGURES"):
            Path(folder, f"{name}.json").write_text(json.dumps(content, indent=1))

    return keep
