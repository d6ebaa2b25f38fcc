"""Models on demand: `modelfleet up --on-demand` with more models than fit into the budget.

The models are handlers of a known size, so that two of them fit into the budget and three do not.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx
import psutil
import pytest

from fleet_contract.names import HEADER_COLD
from support.local_fleet import MODELFLEET

SECONDS = 240
BUDGET = "690Mi"
"""A server of the handler takes 270 MiB: 190 for its array, the rest for the process. Two fit and
three do not while it takes 230 to 345."""
MODEL = """\
apiVersion: modelfleet.dev/v1alpha1
kind: InferenceModel
metadata: {{name: {name}}}
spec: {{model: acme/{name}, task: embedding, handler: acme_models.Embedding, {more}}}
---
"""
MODELS = {
    "a": "priority: 0",
    "b": "priority: 0",
    "c": "priority: 0",
    "brief": "scaleToZeroAfter: 1, priority: 1",
    "huge": "replicas: 64",
}
HANDLER = '''
import time

import numpy as np


class Embedding:
    """A model of 190 MiB; texts of two tokens take a second."""

    dimensions, max_tokens, vocab_size = 2, 8, 10

    def __init__(self, spec, folder, threads):
        self.weights = np.ones((190, 1 << 20), dtype=np.uint8)

    def tokenize(self, texts):
        return [[1] * (1 + (text == "slow")) for text in texts]

    def truncate(self, token_ids):
        return token_ids[:8]

    def embed(self, batch):
        if any(len(each) > 1 for each in batch):
            time.sleep(1)
        return np.array([[1.0, 0.0]] * len(batch), dtype=np.float32)

    def close(self):
        pass
'''


@pytest.fixture(scope="module")
def fleet(start_fleet: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("on-demand")
    (folder / "acme_models.py").write_text(HANDLER)
    manifests = "".join(MODEL.format(name=name, more=more) for name, more in MODELS.items())
    (folder / "fleet.yaml").write_text(manifests)
    paths = [str(folder), os.environ.get("PYTHONPATH", "")]
    with start_fleet(
        "-f", "fleet.yaml", "--on-demand", folder=folder, MEMORY_BUDGET=BUDGET,
        PYTHONPATH=os.pathsep.join(filter(None, paths)),
    ) as started:  # fmt: skip
        started.wait_for("The fleet is ready at", SECONDS)
        yield started
        assert started.end() == 0


def servers(fleet: Any, name: str) -> list[str]:
    """The specs of the processes of a model."""
    specs = []
    for child in fleet.children():
        with suppress(psutil.Error):  # it has ended meanwhile
            specs.append(child.environ().get("MODELFLEET_SPEC", ""))
    return [spec for spec in specs if f'"model":"acme/{name}"' in spec]


def running(fleet: Any) -> set[str]:
    """The models that have a process."""
    return {name for name in MODELS if servers(fleet, name)}


def start_seconds(fleet: Any, name: str) -> float:
    """How long the last start of a model took."""
    found = re.findall(rf"acme/{name} is ready after ([0-9.]+) s", "\n".join(fleet.lines))
    return float(found[-1])


async def embed(http: httpx.AsyncClient, name: str, text: str = "a") -> httpx.Response:
    return await http.post("/v1/embeddings", json={"model": f"acme/{name}", "input": text})


async def test_requests_start_models_and_the_idlest_yields(
    fleet: Any, http: httpx.AsyncClient, until: Any
) -> None:
    assert running(fleet) == set()
    assert "Ignored without a cluster" not in "\n".join(fleet.lines)
    health = await http.get("/health")
    assert (health.status_code, set(health.json()["models"].values())) == (200, {"scaled_to_zero"})
    for name in ("a", "b"):
        answer = await embed(http, name)
        assert (answer.status_code, answer.headers[HEADER_COLD]) == (200, "true")
        fleet.wait_for(f"acme/{name} is ready after", SECONDS)
    assert (await embed(http, "a")).headers[HEADER_COLD] == "false"
    assert running(fleet) == {"a", "b"}
    await asyncio.sleep(start_seconds(fleet, "b"))  # for which it would not yield
    assert (await embed(http, "c")).status_code == 200
    fleet.wait_for("acme/b is stopped", SECONDS)
    assert running(fleet) == {"a", "c"}


async def test_a_busy_model_is_waited_for(fleet: Any, http: httpx.AsyncClient) -> None:
    slow = [asyncio.create_task(embed(http, name, "slow")) for name in ("a", "c")]
    await asyncio.sleep(0.3)
    assert (await embed(http, "b")).status_code == 200
    assert [answer.status_code for answer in await asyncio.gather(*slow)] == [200, 200]


async def test_concurrent_requests_for_more_models_than_fit(
    fleet: Any, http: httpx.AsyncClient
) -> None:
    answers = await asyncio.gather(*(embed(http, name) for name in "abcabcabc"))
    assert [answer.status_code for answer in answers] == [200] * 9
    assert len(running(fleet)) <= 2


async def test_an_idle_model_sleeps_and_wakes(
    fleet: Any, http: httpx.AsyncClient, until: Any
) -> None:
    for _ in range(2):
        assert (await embed(http, "brief")).status_code == 200
        fleet.wait_for("acme/brief is stopped", SECONDS)
        assert "brief" not in running(fleet)

    async def sleeps() -> bool:
        listed = (await http.get("/v1/models/acme/brief")).json()
        return bool(listed["state"] == "scaled_to_zero")

    await until(sleeps)


def modelfleet(fleet: Any, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [MODELFLEET, *arguments, "--port", str(fleet.port)], cwd=fleet.folder, timeout=SECONDS,
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_commands_load_and_unload_models_and_print_logs(fleet: Any) -> None:
    for command, expected in (("unload", False), ("load", True), ("unload", False)):
        done = modelfleet(fleet, command, "acme/c")
        assert (done.returncode, done.stderr) == (0, "")
        assert ("c" in running(fleet)) is expected
    refused = modelfleet(fleet, "load", "acme/huge")
    assert refused.returncode == 1
    assert "needs about 12.5 GiB" in refused.stderr
    assert "acme/c" in modelfleet(fleet, "logs", "acme/c").stdout


async def test_servers_are_added_and_removed(fleet: Any, http: httpx.AsyncClient) -> None:
    for name in running(fleet):
        assert modelfleet(fleet, "unload", f"acme/{name}").returncode == 0
    for number in (2, 1):
        done = modelfleet(fleet, "scale", "acme/a", str(number))
        assert (done.returncode, done.stderr) == (0, "")
        assert len(servers(fleet, "a")) == number
        assert (await embed(http, "a")).status_code == 200
    refused = modelfleet(fleet, "scale", "acme/a", "9")
    assert refused.returncode == 1
    assert "more of memory, and" in refused.stderr


async def test_the_console_stops_a_model(fleet: Any, http: httpx.AsyncClient, until: Any) -> None:
    assert (await embed(http, "a")).status_code == 200
    path = "/console/api/models/acme/a"
    assert (await http.post(path, params={"servers": 0})).status_code == 202

    async def is_stopped() -> bool:
        return "a" not in running(fleet)

    await until(is_stopped, SECONDS)


async def test_a_model_beyond_the_budget_is_refused(http: httpx.AsyncClient) -> None:
    answer = await embed(http, "huge")
    assert answer.status_code == 503
    error = answer.json()["error"]
    assert "needs about 12.5 GiB of memory, and MEMORY_BUDGET is 690 MiB" in error["message"]
    assert float(answer.headers["retry-after"]) > 0


async def test_the_report_for_the_supervisor_is_no_one_elses(http: httpx.AsyncClient) -> None:
    assert (await http.get("/control")).status_code == 401
