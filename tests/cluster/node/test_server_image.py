"""The server's image on a real node, without the operator and with minimal rights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import openai

from fleet_contract import catalog, launch
from harness import pods
from harness.api import Json
from harness.tenant import Tenant

CHAT = "HuggingFaceTB/SmolLM2-135M-Instruct"
EMBEDDING = "sentence-transformers/all-MiniLM-L6-v2"
APPS = "apps/v1"
TIMEOUT = 300.0

READINESS: Json = {"httpGet": {"path": "/readyz", "port": "http"}, "periodSeconds": 1}
RESOURCES: Json = {"requests": {"cpu": "250m", "memory": "512Mi"}, "limits": {"memory": "2Gi"}}


def ready(item: Json | None) -> bool:
    return bool(item) and item["status"].get("readyReplicas", 0) == 1


@contextmanager
def served(tenant: Tenant, image: str, source: str, model_id: str) -> Iterator[openai.OpenAI]:
    """Deploy the model with a Service; returns the official client once it is ready."""
    claim = source.removeprefix("pvc://").split("/")[0]
    spec = catalog.load()[model_id]
    server = pods.deployment(
        "model",
        image,
        environ=launch.encode(spec) | {"AUTO_DOWNLOAD_MODELS": "0"},
        readinessProbe=READINESS,
        resources=RESOURCES,
    )
    tenant.create(pods.mount(server, "weights", claim, "/models"))
    service = tenant.create(pods.service("model"))
    tenant.wait(APPS, "Deployment", "model", ready, timeout=TIMEOUT)
    address = service["spec"]["clusterIP"]
    with openai.OpenAI(base_url=f"http://{address}/v1", api_key="none", timeout=TIMEOUT) as client:
        yield client


def test_embeddings_are_served_through_a_service(
    tenant: Tenant, image: Callable[[str], str], weights_on_node: Callable[[str], str]
) -> None:
    with served(tenant, image("server"), weights_on_node(EMBEDDING), EMBEDDING) as client:
        answer = client.embeddings.create(
            model=EMBEDDING, input=["A cat sits.", "A kitten is sitting.", "Tax law"]
        )
    cat, kitten, tax = (item.embedding for item in answer.data)
    assert len(cat) == 384
    assert cosine(cat, kitten) > 0.6 > 0.2 > cosine(cat, tax)


def test_chat_is_streamed_through_a_service(
    tenant: Tenant, image: Callable[[str], str], weights_on_node: Callable[[str], str]
) -> None:
    messages: Any = [{"role": "user", "content": "What is the capital of France?"}]
    with (
        served(tenant, image("server"), weights_on_node(CHAT), CHAT) as client,
        client.chat.completions.create(
            model=CHAT, messages=messages, max_tokens=24, temperature=0, stream=True
        ) as stream,
    ):
        text = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    assert "Paris" in text


def test_the_container_is_unprivileged_and_read_only(
    tenant: Tenant, image: Callable[[str], str], weights_on_node: Callable[[str], str]
) -> None:
    script = "id -u; touch /opt/x /models/x; python -c 'import torch'"
    with served(tenant, image("server"), weights_on_node(EMBEDDING), EMBEDDING):
        output = tenant.kubectl(
            "exec", "deploy/model", "--", "sh", "-c", f"({script}) 2>&1 || true"
        )
    assert output.startswith("65532\n")
    assert output.count("Read-only file system") == 2
    assert "No module named 'torch'" in output


def test_missing_weights_are_in_the_termination_message(
    tenant: Tenant, image: Callable[[str], str]
) -> None:
    spec = catalog.load()[EMBEDDING]
    environ = launch.encode(spec) | {"AUTO_DOWNLOAD_MODELS": "0"}
    server = pods.deployment(
        "model", image("server"), environ=environ,
        terminationMessagePolicy="FallbackToLogsOnError",
    )  # fmt: skip
    tenant.create(server)

    def has_message(items: list[Json]) -> bool:
        found = [status for pod in items for status in pod["status"].get("containerStatuses", ())]
        ends = [
            status[state].get("terminated") for status in found for state in ("state", "lastState")
        ]
        return any(
            end
            and end["exitCode"] == 3
            and '"load_failed"' in end.get("message", "\n").splitlines()[-1]
            for end in ends
        )

    tenant.wait_list("v1", "Pod", has_message, timeout=TIMEOUT)


def cosine(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))
