"""Cold start: a request wakes a model that is scaled to zero."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest

from harness import installation
from harness.api import Api, Json
from harness.fleet import RESTRICTED
from harness.models import model, phase, wait
from harness.tenant import Tenant
from harness.wake_times import WakeTimes, now

CHAT = "HuggingFaceTB/SmolLM2-135M-Instruct"
EMBEDDING = "sentence-transformers/all-MiniLM-L6-v2"
SPEECH = "openai/whisper-base"
SMALL = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "3Gi"}}
TIMEOUT = 300.0


def send_request(client: openai.OpenAI, model_id: str, speech_wav: bytes) -> bool:
    """Whether a valid first response comes; for chat, its first token."""
    if model_id == EMBEDDING:
        return len(client.embeddings.create(model=EMBEDDING, input="A cat.").data) == 1
    if model_id == SPEECH:
        file = ("speech.wav", speech_wav)
        return bool(client.audio.transcriptions.create(model=SPEECH, file=file).text)
    messages: Any = [{"role": "user", "content": "What is the capital of France?"}]
    with client.chat.completions.create(
        model=CHAT, messages=messages, max_tokens=8, stream=True
    ) as stream:
        return any(chunk.choices and chunk.choices[0].delta.content for chunk in stream)


@pytest.fixture
def client(
    api: Api, tenant: Tenant, client: openai.OpenAI, image: Callable[[str], str]
) -> Iterator[openai.OpenAI]:
    """The client of the tenant's router, whose load the operator reads."""
    images = image("operator"), image("server")
    namespace = {"ROUTER_NAMESPACE": tenant.namespace}
    installation.install_operator(api, *images, RESTRICTED, **namespace)
    yield client
    installation.install_operator(api, *images, RESTRICTED)


@pytest.mark.parametrize("model_id", [EMBEDDING, CHAT, SPEECH], ids=["embed", "chat", "speech"])
def test_a_request_wakes_a_model_at_zero(
    tenant: Tenant,
    client: openai.OpenAI,
    weights_on_node: Callable[[str], str],
    speech_wav: bytes,
    model_id: str,
    record_property: Callable[[str, object], None],
) -> None:
    fields = {"source": weights_on_node(model_id), "resources": SMALL, "minReplicas": 0}
    task = {EMBEDDING: "embedding", CHAT: "chat", SPEECH: "speech"}[model_id]
    scaling = {"maxReplicas": 1, "scaleToZeroAfter": 5}
    tenant.kubectl.apply(model("woken", model=model_id, task=task, **fields, **scaling))
    wait(tenant, "woken", phase("ScaledToZero"), TIMEOUT)
    tenant.wait_list("v1", "Pod", lambda pods: not models_of(pods), TIMEOUT)
    with WakeTimes(tenant) as times:
        sent = now()
        assert send_request(client, model_id, speech_wav)
        received = now()
        (pod,) = tenant.items("v1", "Pod", labelSelector="modelfleet.dev/inferencemodel=woken")
    stages = {name: round(spent, 2) for name, spent in times.stages(pod, sent, received).items()}
    record_property("seconds", json.dumps(stages))
    print(f"{model_id}: {json.dumps(stages)}")
    # The pod's first stages end when this process sees their events: late on a busy machine.
    assert min(stages.values()) > -1, "the stages follow each other"
    wait(tenant, "woken", lambda item: has_reported(item, stages["load"]), TIMEOUT)


def has_reported(item: Json | None, load_seconds: float) -> bool:
    """Whether the status has the cold start of this wake, and the kubelet's readiness.

    Both come after the response, which the router sends without waiting for them; until then the
    status has the previous cold start.
    """
    status = (item or {})["status"]
    reported = status.get("coldStart", {}).get("loadSeconds")
    return status.get("readyReplicas") == 1 and reported == pytest.approx(load_seconds, abs=0.02)


def models_of(pods: list[Json]) -> list[str]:
    labelled = (pod["metadata"] for pod in pods)
    return [meta["name"] for meta in labelled if "modelfleet.dev/inferencemodel" in meta["labels"]]
