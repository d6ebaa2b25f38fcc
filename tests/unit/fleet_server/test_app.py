"""Responses of servers of every task: probes, models, metrics, wrong paths."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import httpx
import pytest

from fleet_contract.endpoints import TASK_OF_PATH
from fleet_contract.server_protocol import ServerPhase
from fleet_contract.spec import Engine, ModelSpec, Task
from fleet_prepare.choose import EngineChoice
from fleet_server.app import create_app
from fleet_server.state import ServerState

Serve = Callable[..., AbstractContextManager[tuple[httpx.Client, ServerState]]]


class Encoder:
    device = "cpu"
    dimensions = 8
    max_tokens = 16
    healthy = True

    def close(self) -> None: ...


@pytest.fixture
def serve(listen: Any) -> Serve:
    @contextmanager
    def start(
        *, with_metrics: bool = True, **fields: Any
    ) -> Iterator[tuple[httpx.Client, ServerState]]:
        spec = ModelSpec.model_validate({"model": "org/m", "task": "embedding"} | fields)
        server = ServerState(spec, 1)
        with (
            listen(create_app(server, with_metrics=with_metrics)) as port,
            httpx.Client(base_url=f"http://127.0.0.1:{port}", verify=False) as client,
        ):
            yield client, server
        server.close()

    return start


def test_probes_follow_the_life_of_a_server(serve: Serve) -> None:
    with serve() as (client, server):
        for phase in (ServerPhase.STARTING, ServerPhase.LOADING, ServerPhase.WARMING):
            server.phase = phase
            for path in ("/readyz", "/health"):
                answer = client.get(path)
                assert answer.status_code == 503
                assert answer.json()["status"] == phase.value
                assert answer.json()["model"] == "org/m"
            assert client.get("/livez").status_code == 200
        model = Encoder()
        server.set_ready(model)
        assert client.get("/readyz").status_code == client.get("/health").status_code == 200
        assert client.get("/readyz").json()["status"] == "ready"
        server.drain()
        assert client.get("/readyz").status_code == 503
        assert client.get("/livez").status_code == 200
        model.healthy = False
        assert client.get("/livez").status_code == 503


def test_a_model_is_described(serve: Serve) -> None:
    with serve(aliases=["m"], contextLength=99) as (client, server):
        (found,) = client.get("/v1/models").json()["data"]
        assert found["state"] == "starting"
        assert (found["dimensions"], found["context_length"]) == (None, 99)
        server.choice = EngineChoice(Engine.OPENVINO, "x:Y", "cpu", "the files say so")
        server.set_ready(Encoder())
        body = client.get("/v1/models").json()
        assert body["object"] == "list"
        (found,) = body["data"]
        assert found.pop("created") > 1_700_000_000
        assert found.pop("memory_bytes") > 1 << 20
        assert found == {
            "id": "org/m", "object": "model", "owned_by": "org", "task": "embedding",
            "engine": "openvino", "engine_reason": "the files say so", "device": "cpu",
            "state": "ready", "modalities": {"input": ["text"], "output": ["embedding"]},
            "dimensions": 8, "context_length": 16, "aliases": ["m"],
            "adapters": [], "parent": None,
        }  # fmt: skip
        for name in ("org/m", "m"):
            assert client.get(f"/v1/models/{name}").json()["id"] == "org/m"
        answer = client.get("/v1/models/other/one")
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "model_not_found"


@pytest.mark.parametrize("task", list(Task))
def test_a_wrong_path_names_the_right_one(serve: Serve, task: Task) -> None:
    with serve(task=task.value) as (client, _):
        for path, its_task in TASK_OF_PATH.items():
            if its_task is task:
                continue
            answer = client.post(path, content=b"not even JSON")
            assert answer.status_code == 400, path
            assert answer.json()["error"]["code"] == "wrong_task"


@pytest.mark.parametrize("task", list(Task))
def test_the_paths_of_a_task_bypass_routing(task: Task) -> None:
    server = ServerState(ModelSpec(model="org/m", task=task), 1)
    asked = {path for path, its_task in TASK_OF_PATH.items() if its_task is task}
    asked -= {"/apply-template", "/v1/chat/completions/render"}  # routes of tokens
    assert set(create_app(server).direct_paths) == asked
    server.close()


def test_other_paths_and_methods(serve: Serve) -> None:
    with serve() as (client, _):
        for method, path, status in (
            ("GET", "/v1/embeddings", 405),
            ("POST", "/v1/models", 405),
            ("DELETE", "/readyz", 405),
            ("GET", "/", 404),
            ("GET", "/docs", 404),
            ("POST", "/v1/chat/completions/more", 404),
        ):
            answer = client.request(method, path)
            assert answer.status_code == status, path
            assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
            assert answer.headers["x-request-id"]


def test_metrics_have_the_seeds_names_and_a_model_label(serve: Serve) -> None:
    with serve() as (client, server):
        server.set_ready(Encoder())
        client.post("/v1/embeddings", content=b"{")
        client.get("/no/such/path")
        answer = client.get("/metrics")
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        lines = [line for line in answer.text.splitlines() if not line.startswith("#")]
        names = {line.split("{")[0] for line in lines}
        assert names >= {
            "embedding_cache_hits_total", "embedding_cache_misses_total",
            "modelfleet_requests_total", "modelfleet_request_seconds_bucket",
            "modelfleet_in_flight", "modelfleet_queue_depth", "modelfleet_resident_bytes",
        }  # fmt: skip
        assert all('model="org/m"' in line for line in lines)
        counted = [line for line in lines if line.startswith("modelfleet_requests_total")]
        assert any('route="/v1/embeddings"' in line and 'code="400"' in line for line in counted)
        assert any('route="other"' in line and 'code="404"' in line for line in counted)
        assert "no/such" not in answer.text


def test_the_use_of_the_cache_is_that_of_the_model(serve: Serve) -> None:
    model = Encoder()
    with serve() as (client, server):
        name = 'modelfleet_kv_cache_usage_ratio{model="org/m"}'
        assert f"{name} 0.0" in client.get("/metrics").text.splitlines()
        server.set_ready(model)
        assert f"{name} 0.0" in client.get("/metrics").text.splitlines()
        setattr(model, "cache_usage", 0.25)  # noqa: B010
        assert f"{name} 0.25" in client.get("/metrics").text.splitlines()


def test_metrics_can_be_switched_off(serve: Serve) -> None:
    with serve(with_metrics=False) as (client, _):
        assert client.get("/metrics").status_code == 404
