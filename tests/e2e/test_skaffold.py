"""`skaffold dev` without docker: the chart on the real node; an edit reaches the running pod."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import openai
import pytest

from harness import registry, tiers
from harness.api import Api
from harness.binaries import program
from harness.control_plane import ControlPlane
from harness.installation import APPS
from harness.mirror import Mirror
from harness.netns import Namespace
from harness.node import Node
from harness.registry import Registry
from harness.run import Run
from harness.skaffold import Skaffold
from support.waiting import until

FLEET = "fleet"
ROUTER = "fleet-modelfleet-router"
CHAT = "HuggingFaceTB/SmolLM2-135M-Instruct"


@pytest.fixture
def skaffold(
    run: Run,
    node: Node,
    without_operator: None,
    pod_network: Namespace,
    node_control_plane: ControlPlane,
    package_mirror: Mirror,
) -> Iterator[Skaffold]:
    if why := registry.unavailable():
        tiers.did_not_run("skaffold", why)
    with pod_network.host_network():
        program("skaffold")
    with Registry(run):
        made = Skaffold(run, pod_network, node_control_plane.kubeconfig)
        try:
            yield made
        finally:
            made.stop()


def test_an_edit_reaches_the_running_pod(
    skaffold: Skaffold, node_api: Api, package_mirror: Mirror
) -> None:
    environ = {f"PYPI_{name.removeprefix('PIP_')}": value
               for name, value in package_mirror.environ.items()}  # fmt: skip
    dev = skaffold.dev(environ)
    dev.wait_until(lambda: "Watching for changes" in dev.log.read_text(), timeout=900)
    service = node_api.get("v1", "Service", FLEET, ROUTER)
    url = f"http://{service['spec']['clusterIP']}"
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", timeout=300) as client:
        # The operator creates it a moment after it has started.
        until(lambda: CHAT in [one.id for one in client.models.list()], state=dev.log.read_text)
        answer = client.chat.completions.create(
            model=CHAT, messages=[{"role": "user", "content": "What is the capital of France?"}],
            max_tokens=16, temperature=0,
        )  # fmt: skip
    assert "Paris" in (answer.choices[0].message.content or "")

    pods = uids(node_api)
    edited = skaffold.folder / "services" / "fleet_router" / "status" / "models.py"
    edited.write_text(edited.read_text() + f"\n{EDIT}\n")
    dev.wait_until(lambda: owner(url) == "an edited router", timeout=300)
    assert uids(node_api) == pods
    assert "Syncing" in dev.log.read_text()

    skaffold.stop()
    skaffold.delete(environ)
    node_api.wait_list(APPS, "Deployment", FLEET, lambda items: not items, timeout=300)
    node_api.delete({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": FLEET}})


EDIT = """
_from_spec = from_spec


def from_spec(*given: Any) -> Entry:
    return {**_from_spec(*given), "owned_by": "an edited router"}
"""


def owner(url: str) -> str:
    """The owner of the model in the router's list; "" while the router does not respond."""
    try:
        found = httpx.get(f"{url}/v1/models", trust_env=False, timeout=60).json()["data"]
    except (httpx.HTTPError, ValueError, KeyError):
        return ""
    return str(found[0]["owned_by"]) if found else ""


def uids(api: Api) -> set[str]:
    """UIDs of the router's pods."""
    pods = api.items("v1", "Pod", FLEET, labelSelector="app.kubernetes.io/component=router")
    return {pod["metadata"]["uid"] for pod in pods}
