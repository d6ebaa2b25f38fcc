"""Several servers of a model with a custom handler and no weights, run by `modelfleet up -f`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from fleet_contract.names import HEADER_ENDPOINT

MODEL = "acme/own"
SERVERS = 3
FLEET = f"""
apiVersion: modelfleet.dev/v1alpha1
kind: InferenceModel
metadata: {{name: own}}
spec:
  model: {MODEL}
  task: embedding
  handler: acme_models.Embedding
  replicas: {SERVERS}
  image: registry.example.com/own:1
  nodeSelector: {{disk: fast}}
---
apiVersion: modelfleet.dev/v1alpha1
kind: InferenceModel
metadata: {{name: stopped}}
spec: {{model: acme/stopped, task: embedding, handler: acme_models.Embedding, replicas: 0}}
"""
HANDLER = '''
import os

import numpy as np


class Embedding:
    """Vectors that show which process made them."""

    dimensions, max_tokens, vocab_size = 2, 8, 10

    def __init__(self, spec, folder, threads):
        self.threads = threads

    def tokenize(self, texts):
        return [[1] for _ in texts]

    def truncate(self, token_ids):
        return token_ids[:8]

    def embed(self, batch):
        angle = (os.getpid() % 6000) / 1000
        return np.array([[np.cos(angle), np.sin(angle)]] * len(batch), dtype=np.float32)

    def close(self):
        pass
'''


@pytest.fixture(scope="module")
def fleet(start_fleet: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("replicas")
    (folder / "acme_models.py").write_text(HANDLER)
    (folder / "fleet.yaml").write_text(FLEET)
    paths = [str(folder), os.environ.get("PYTHONPATH", "")]
    with start_fleet(
        "-f", "fleet.yaml", folder=folder, HOLD_SECONDS="0", CHAT_BATCH_WINDOW_MS="5",
        PYTHONPATH=os.pathsep.join(filter(None, paths)),
    ) as started:  # fmt: skip
        started.wait_for("The fleet is ready at", 300)
        yield started
        assert started.end() == 0


def servers(fleet: Any) -> list[Any]:
    return [
        child for child in fleet.children()
        if f'"model":"{MODEL}"' in child.environ().get("MODELFLEET_SPEC", "")
    ]  # fmt: skip


async def processes_used(http: httpx.AsyncClient, number: int = 30) -> set[float]:
    """The first values of the vectors of `number` requests, one for each process that responded."""
    found = set()
    for text in range(number):
        answer = await http.post("/v1/embeddings", json={"model": MODEL, "input": f"t{text}"})
        assert answer.status_code == 200, answer.text
        found.add(answer.json()["data"][0]["embedding"][0])
    return found


def test_each_server_has_a_row_a_log_and_a_share_of_the_cpus(fleet: Any) -> None:
    rows = [line for line in fleet.lines if line.startswith(MODEL)]
    assert len({line.split()[-4] for line in rows}) == SERVERS
    assert any("stopped" in line for line in fleet.lines if line.startswith("acme/stopped"))
    logs = {path.name for path in Path(fleet.folder / "run" / str(fleet.port)).glob("*.log")}
    assert logs == {"router.log", *(f"acme--own-{number}.log" for number in (1, 2, 3))}
    threads = {child.environ()["MODELFLEET_THREADS"] for child in servers(fleet)}
    assert len(threads) == 1


async def test_headers_name_servers_like_their_logs(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/embeddings", json={"model": MODEL, "input": "a"})
    assert answer.headers[HEADER_ENDPOINT] in {f"acme--own-{number}" for number in (1, 2, 3)}


def test_ignored_settings_are_printed_once(fleet: Any) -> None:
    (line,) = (line for line in fleet.lines if "CHAT_BATCH_WINDOW_MS" in line)
    assert line.startswith("CHAT_BATCH_WINDOW_MS is ignored: ")


def test_cluster_only_settings_are_named(fleet: Any) -> None:
    (line,) = (line for line in fleet.lines if line.startswith("Ignored without a cluster"))
    assert line == "Ignored without a cluster: acme/own (image, nodeSelector)."


async def test_the_router_spreads_requests_over_all(http: httpx.AsyncClient) -> None:
    assert len(await processes_used(http)) == SERVERS


async def test_a_stopped_model_is_listed_and_rejected(http: httpx.AsyncClient) -> None:
    listed = (await http.get("/v1/models")).json()["data"]
    assert {each["id"] for each in listed} == {MODEL, "acme/stopped"}
    answer = await http.post("/v1/embeddings", json={"model": "acme/stopped", "input": "a"})
    assert answer.status_code == 503
    health = await http.get("/health")
    assert (health.status_code, health.json()["models"]["acme/stopped"]) == (200, "stopped")


async def test_the_others_respond_while_one_restarts(
    fleet: Any, http: httpx.AsyncClient, until: Any
) -> None:
    before = await processes_used(http)
    servers(fleet)[0].kill()
    assert await processes_used(http, 10) <= before
    fleet.wait_for("is ready after", 180)

    async def all_again() -> bool:
        return len(await processes_used(http)) == SERVERS

    assert await until(all_again)
