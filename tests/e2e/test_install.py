"""A new release: notes, time to the first token, and every task with the official client through
the routers' Service.
"""

from __future__ import annotations

import hashlib
import json
import math
import secrets
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from harness.fleet import CHAT, EMBEDDING, MODELS, ROUTERS, SPEECH, Fleet, FreshInstall, names
from harness.helm import HelmError
from harness.kubectl import KubectlError
from harness.models import wait
from support.waiting import until

COLD_START = {"schedule", "image", "start", "fetch", "load", "warm"}


def test_time_to_first_token(
    fresh_install: FreshInstall, figures: Callable[[str, Any], None]
) -> None:
    def has_cold_start(found: Any) -> bool:
        return "coldStart" in (found or {}).get("status", {})

    cold = wait(fresh_install.fleet.tenant, "smollm2", has_cold_start)["status"]["coldStart"]
    stages = {name: cold[f"{name}Seconds"] for name in COLD_START}
    assert stages["fetch"] > 0
    # Kubernetes' timestamps of the first two are whole seconds.
    assert sum(stages.values()) == pytest.approx(cold["totalSeconds"], abs=3)
    assert cold["totalSeconds"] <= fresh_install.seconds["all"]
    figures("first_token", {"release": fresh_install.seconds, "model": cold})


def test_notes(fresh_install: FreshInstall) -> None:
    assert (
        f"kubectl -n {fresh_install.fleet.tenant.namespace} apply -f - <<END" in fresh_install.notes
    )
    assert "curl http://models.example.com/v1/models" in fresh_install.notes
    assert "helm test fleet" in fresh_install.notes
    assert "WARNING: an Ingress may expose the router" in fresh_install.notes


def test_the_namespace_is_restricted_and_every_component_has_a_policy(fleet: Fleet) -> None:
    with pytest.raises(KubectlError, match="violates PodSecurity"):
        fleet.kubectl("run", "bad", "--image=a", "--privileged", "--dry-run=server")
    policies = fleet.tenant.items("networking.k8s.io/v1", "NetworkPolicy")
    assert {policy["metadata"]["name"] for policy in policies} == {
        f"fleet-modelfleet-{name}" for name in ("operator", "router", "models", "prefetch", "test")
    }


def test_chat(fleet: Fleet) -> None:
    messages: Any = [{"role": "user", "content": "What is the capital of France?"}]
    with (
        fleet.client() as client,
        client.chat.completions.create(
            model=CHAT, messages=messages, max_tokens=24, temperature=0, stream=True
        ) as stream,
    ):
        text = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
        assert "Paris" in text
        assert {entry.id for entry in client.models.list()} == {CHAT, EMBEDDING, SPEECH}


def test_embeddings(fleet: Fleet) -> None:
    texts = ["A cat sits.", "A kitten is sitting.", "Tax law"]
    with fleet.client() as client:
        answer = client.embeddings.create(model="minilm", input=texts)
    cat, kitten, tax = (item.embedding for item in answer.data)
    assert cosine(cat, kitten) > 0.6 > 0.2 > cosine(cat, tax)


def test_the_state_of_the_fleet_is_shown(fleet: Fleet) -> None:
    """By the kubectl plugin, which reads routers and servers through the API server, and by the
    console's data."""
    found = json.loads(fleet.kubectl.modelfleet("status", "-o", "json"))
    rows = {row["model"]: row for row in found}
    assert rows.keys() == {CHAT, EMBEDDING, SPEECH}
    row = rows[EMBEDDING]
    assert (row["state"], row["servers"], row["held"]) == ("Ready", "2/2", 0)
    assert row["in_flight"] is not None
    assert row["memory_bytes"] > 50 << 20
    assert "<title>Modelfleet</title>" in httpx.get(fleet.url, trust_env=False).text

    def shown() -> list[Any]:
        answer = httpx.get(f"{fleet.url}/console/api/fleet", trust_env=False)
        models: list[Any] = answer.raise_for_status().json()["models"]
        return models

    until(lambda: {one["id"]: one["state"] for one in shown()} == dict.fromkeys(rows, "ready"), 60)
    # The chart has a port for metrics, so that what callers do needs a key here.
    assert {each["in_flight"] for each in shown()} == {None}


def test_speech(fleet: Fleet, speech_wav: bytes) -> None:
    with fleet.client() as client:
        answer = client.audio.transcriptions.create(model=SPEECH, file=("speech.wav", speech_wav))
    assert "capital" in answer.text.lower()


def test_helm_test(fleet: Fleet) -> None:
    output = fleet.helm("test", "--logs", "--timeout=600s")
    assert all(f"{model}: " in output for model in (CHAT, EMBEDDING, SPEECH))
    assert "walk in the park" in output


def test_api_keys(fleet: Fleet) -> None:
    key = secrets.token_hex(16)
    fleet.kubectl("create", "secret", "generic", "test-key", f"--from-literal=API_KEY={key}")
    keys = [{"name": "test", "sha256": hashlib.sha256(key.encode()).hexdigest()}]
    open_routers = names(fleet.pods(ROUTERS))
    fleet.upgrade({"apiKeys.keys": keys, "test.apiKeySecret": "test-key"})
    fleet.wait_for_pods(ROUTERS, 2, without=open_routers)
    assert models(fleet).status_code == 401
    fleet.helm("test", "--timeout=600s")

    fleet.upgrade({"test.apiKeySecret": ""})
    with pytest.raises(HelmError, match=r"FAILED: AuthenticationError: .*Invalid API key"):
        fleet.helm("test", "--logs", "--timeout=600s")

    old = names(fleet.pods(ROUTERS))
    fleet.rollback()
    fleet.wait_for_pods(ROUTERS, 2, without=old)
    fleet.kubectl("delete", "secret", "test-key")
    assert len(models(fleet).json()["data"]) == len(MODELS)


def models(fleet: Fleet) -> httpx.Response:
    """List the models without a key."""
    return httpx.get(f"{fleet.url}/v1/models", trust_env=False)


def cosine(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))
