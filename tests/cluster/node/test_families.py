"""A model of each family by its catalog id is fetched, converted if necessary, and served.

The weights are tiny and random, in the file layout of the public repositories, and come from a
local hub under the same names. All run in the CPU image, which does not contain torch.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from harness import families, volumes
from harness.api import Api, Json
from harness.families import BGE_M3, CHAT, ENGINES, GEMMA, GGUF, NAMES, SPECS, SPEECH
from harness.models import APPS, model, phase, wait
from harness.netns import Namespace
from harness.operator_process import NAMESPACE
from harness.tenant import Tenant
from support.hub import Hub

TIMEOUT = 300.0
SMALL: Json = {
    "requests": {"cpu": "50m", "memory": "128Mi", "ephemeral-storage": "100Mi"},
    "limits": {"memory": "2Gi"},
}
SERVERS = "modelfleet.dev/inferencemodel"
TEXTS = ["The cat sits outside.", "What is the capital of France?"]


@pytest.fixture(scope="module")
def hub(
    pod_network: Namespace,
    demo_weights: Callable[[str], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Hub]:
    with pod_network.host_network():
        folders = families.repositories(tmp_path_factory.mktemp("hub"), demo_weights)
    with families.hub_of(folders) as serving:
        yield serving


def apply(tenant: Tenant, hub: Hub, model_id: str, **spec: Any) -> str:
    """`kubectl apply` a minimal spec of a model; returns the name of the InferenceModel."""
    name = NAMES[model_id]
    manifest = model(name, model=model_id, resources=SMALL, env={"HF_ENDPOINT": hub.url})
    del manifest["spec"]["source"]
    manifest["spec"] |= SPECS.get(model_id, {}) | spec
    tenant.kubectl.apply(manifest)
    return name


def test_a_model_of_each_family_is_served(
    tenant: Tenant,
    client: openai.OpenAI,
    hub: Hub,
    speech_wav: bytes,
    image: Callable[[str], str],
) -> None:
    for model_id in ENGINES:
        apply(tenant, hub, model_id)
    for model_id, engine in ENGINES.items():
        ready = phase("Ready")
        # The engine is known once the operator has probed the ready server.
        found = wait(
            tenant,
            NAMES[model_id],
            lambda seen, ready=ready: ready(seen) and seen["status"]["engine"] != "auto",
            TIMEOUT,
        )
        assert found["status"]["engine"] == engine, model_id
    used = {pod["spec"]["containers"][0]["image"] for pod in servers(tenant)}
    assert used == {image("server")}

    for model_id in (GEMMA, BGE_M3):
        answer = client.embeddings.create(model=model_id, input=TEXTS)
        cat, france = (item.embedding for item in answer.data)
        assert math.hypot(*cat) == pytest.approx(1, abs=1e-3), model_id
        assert cat != france, model_id
    messages: Any = [{"role": "user", "content": TEXTS[1]}]
    for model_id in (CHAT, GGUF):
        chat = client.chat.completions.create(
            model=model_id, messages=messages, max_tokens=8, temperature=0
        )
        assert chat.usage is not None
        assert 0 < chat.usage.completion_tokens <= 8
    transcription = client.audio.transcriptions.create(
        model=SPEECH, file=("speech.wav", speech_wav), language="en", temperature=0,
        response_format="verbose_json",
    )  # fmt: skip
    assert transcription.duration > 0


def test_a_claim_caches_fetched_and_converted_weights(
    tenant: Tenant, operator: None, hub: Hub, tmp_path: Path
) -> None:
    """The second pod finds both in the claim and downloads nothing from the hub."""
    tmp_path.chmod(0o777)
    volume, claim = volumes.claim("cache", tenant.namespace, tmp_path)
    created = tenant.api.create(volume)
    tenant.api.create(claim)
    source = {"persistentVolumeClaim": {"claimName": "cache"}}
    kept = {"name": "models", "$patch": "replace", **source}
    try:
        name = apply(tenant, hub, SPEECH, podTemplate={"spec": {"volumes": [kept]}})
        wait(tenant, name, phase("Ready"), TIMEOUT)
        before, (first,) = list(hub.requested_files), servers(tenant)
        tenant.api.delete(first)
        tenant.wait_list("v1", "Pod", lambda pods: is_replaced(pods, first), TIMEOUT)
        wait(tenant, name, phase("Ready"), TIMEOUT)
        assert hub.requested_files == before
    finally:
        tenant.api.delete(created)


PROFILES: Json = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "modelfleet-profiles", "namespace": NAMESPACE},
}


@pytest.fixture
def cache_on_node(api: Api, operator: None, hub: Hub, tmp_path: Path) -> Iterator[Path]:
    """The folder of the profiles `cached` and `filled`, below which each namespace has its own."""
    folder = tmp_path / "cache"
    cached = {"modelCache": {"node": True, "path": str(folder), "size": "1Gi"}}
    filled = {"modelCache": {**cached["modelCache"], "prefetch": True},
              "env": {"HF_ENDPOINT": hub.url}}  # fmt: skip
    data = {"cached": json.dumps(cached), "filled": json.dumps(filled)}
    api.apply({**PROFILES, "data": data})
    yield folder
    api.delete(PROFILES)


def test_a_cache_on_the_node_serves_the_next_pod(
    api: Api, hub: Hub, cache_on_node: Path, request: pytest.FixtureRequest
) -> None:
    """It downloads and converts nothing, also after all earlier pods are gone."""
    with Tenant(api, request.node.name, fake_pods=False) as tenant:
        name = apply(tenant, hub, SPEECH, profile="cached")
        wait(tenant, name, phase("Ready"), TIMEOUT)
        before, folder = list(hub.requested_files), cache_on_node / tenant.namespace
        kept = sorted(path.name for path in folder.iterdir())
        assert len([one for one in kept if not one.startswith(".")]) == 2
        for replicas in (2, 0, 1):
            apply(tenant, hub, SPEECH, profile="cached", replicas=replicas)
            wait(tenant, name, has_ready(replicas), TIMEOUT)
        assert hub.requested_files == before
        assert sorted(path.name for path in folder.iterdir()) == kept


def test_a_cache_is_filled_before_the_first_server_starts(
    api: Api, hub: Hub, cache_on_node: Path, request: pytest.FixtureRequest
) -> None:
    """Its server downloads and converts nothing."""
    with Tenant(api, request.node.name, fake_pods=False) as tenant:
        manifest = model("speech", model=SPEECH, profile="filled", resources=SMALL, replicas=0)
        del manifest["spec"]["source"]
        tenant.create(manifest)
        folder = cache_on_node / tenant.namespace
        tenant.wait(APPS, "DaemonSet", "modelfleet-prefetch-filled", is_filled(folder), TIMEOUT)
        before = list(hub.requested_files)
        kept = sorted(path.name for path in folder.iterdir())
        assert len([one for one in kept if not one.startswith(".")]) == 2
        api.patch(tenant.namespaced(manifest), {"spec": {"replicas": 1}})
        wait(tenant, "speech", has_ready(1), TIMEOUT)
        assert hub.requested_files == before
        assert sorted(path.name for path in folder.iterdir()) == kept


def is_filled(folder: Path) -> Callable[[Json | None], bool]:
    """Predicate: the pod on the only node has fetched all weights into the folder; the operator may
    still have the profiles of an earlier test, with another one."""

    def holds(found: Json | None) -> bool:
        if found is None or str(folder) not in json.dumps(found["spec"]["template"]):
            return False
        status, generation = found.get("status", {}), found["metadata"]["generation"]
        current = status.get("observedGeneration") == generation
        return current and status.get("updatedNumberScheduled") == status.get("numberReady") == 1

    return holds


def has_ready(servers: int) -> Callable[[Json | None], bool]:
    """Predicate: the status is current and counts so many servers, all of them ready."""
    current = phase("Ready" if servers else "ScaledToZero")

    def holds(found: Json | None) -> bool:
        status = (found or {}).get("status", {})
        counts = (status.get("replicas", 0), status.get("readyReplicas", 0))
        return current(found) and counts == (servers, servers)

    return holds


def servers(tenant: Tenant) -> list[Json]:
    return tenant.items("v1", "Pod", labelSelector=SERVERS)


def is_replaced(pods: list[Json], first: Json) -> bool:
    """Whether another server is ready instead of the first."""
    ready = {
        pod["metadata"]["uid"]
        for pod in pods
        for one in pod["status"].get("conditions", ())
        if one["type"] == "Ready" and one["status"] == "True"
    }
    return bool(ready) and first["metadata"]["uid"] not in ready
