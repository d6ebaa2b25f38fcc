"""A started fleet: its table, models, health and metrics."""

from __future__ import annotations

import json
import shlex
import subprocess
from typing import Any

import httpx
import openai

TASKS = {"chat": "/v1/chat/completions", "embedding": "/v1/embeddings",
         "speech": "/v1/audio/transcriptions"}  # fmt: skip
FIELDS = {
    "id", "object", "created", "owned_by", "task", "engine", "engine_reason", "device", "state",
    "modalities", "dimensions", "context_length", "aliases", "memory_bytes",
}  # fmt: skip


async def test_the_table_equals_the_models_route(fleet: Any, http: httpx.AsyncClient) -> None:
    models = (await http.get("/v1/models")).json()["data"]
    assert [model["task"] for model in models] == ["chat", "embedding", "speech"]
    lines = fleet.output.splitlines()
    header = next(line for line in lines if line.startswith("model "))
    for column in ("model", "task", "engine", "address", "state", "MiB", "seconds to ready"):
        assert column in header
    for model in models:
        (row,) = [line for line in lines if line.startswith(model["id"] + " ")]
        assert f" {model['task']} " in row
        assert f"{model['engine']} ({model['engine_reason']})" in row
        assert " ready " in row
        assert 0 < float(row.split()[-1]) < 600
        assert 50 < float(row.split()[-2]) < model["memory_bytes"] / 2**20 * 10
        address = next(word for word in row.split() if word.startswith("http://127.0.0.1:"))
        async with httpx.AsyncClient(trust_env=False) as direct:
            listed = (await direct.get(f"{address}/v1/models")).json()["data"]
        assert [each["id"] for each in listed] == [model["id"]]


async def test_the_demo_runs_without_torch(http: httpx.AsyncClient, fleet: Any) -> None:
    engines = {
        each["task"]: each["engine"] for each in (await http.get("/v1/models")).json()["data"]
    }
    assert engines == {"chat": "openvino", "embedding": "openvino", "speech": "ctranslate2"}
    for process in fleet.children():
        libraries = {entry.path for entry in process.memory_maps()}
        assert not [path for path in libraries if "/torch/" in path]


def test_the_printed_command_works(fleet: Any) -> None:
    (command,) = [line for line in fleet.output.splitlines() if line.startswith("curl ")]
    words = [*shlex.split(command), "--silent", "--show-error", "--noproxy", "*"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["choices"][0]["message"]["content"]


async def test_models_have_every_field(client: openai.AsyncOpenAI) -> None:
    listed = [model.model_dump() async for model in client.models.list()]
    for model in listed:
        assert set(model) >= FIELDS
        assert model["object"] == "model"
        assert model["state"] == "ready"
        assert model["device"] == "cpu"
        assert model["owned_by"] == model["id"].split("/")[0]
    chat, embedding, speech = listed
    assert chat["modalities"] == {"input": ["text"], "output": ["text"]}
    assert chat["context_length"] == 8192
    assert (embedding["dimensions"], embedding["context_length"]) == (384, 256)
    assert embedding["modalities"] == {"input": ["text"], "output": ["embedding"]}
    assert speech["modalities"] == {"input": ["audio"], "output": ["text"]}


async def test_one_model_is_found_by_id_and_alias(client: openai.AsyncOpenAI) -> None:
    found = await client.models.retrieve("smollm2")
    assert found.id == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert (await client.models.retrieve(found.id)).id == found.id


async def test_health_and_probes(http: httpx.AsyncClient) -> None:
    health = await http.get("/health")
    assert health.status_code == 200
    assert set(health.json()["models"].values()) == {"ready"}
    for path in ("/livez", "/readyz"):
        assert (await http.get(path)).status_code == 200


async def test_one_scrape_has_metrics_of_the_whole_fleet(
    http: httpx.AsyncClient, client: openai.AsyncOpenAI
) -> None:
    listed = [model.id async for model in client.models.list()]
    await client.embeddings.create(model=listed[1], input="a")
    text = (await http.get("/metrics")).text
    for name in ("modelfleet_resident_bytes", "modelfleet_in_flight", "modelfleet_queue_depth"):
        for model in listed:
            assert [line for line in text.splitlines()
                    if line.startswith(f"{name}{{") and f'model="{model}"' in line]  # fmt: skip
    for name in ("embedding_cache_hits_total", "embedding_cache_misses_total",
                 "modelfleet_router_requests_total"):  # fmt: skip
        assert f"\n{name}{{" in text
    series = [line.rpartition(" ")[0] for line in text.splitlines() if not line.startswith("#")]
    assert len(series) == len(set(series))
