"""The router's own routes: models, health, readiness and metrics."""

from __future__ import annotations

import json
from typing import Any

import httpx
import openai
import pytest
from prometheus_client.parser import text_string_to_metric_families


def test_models_are_listed_with_data_of_their_servers(fleet: Any) -> None:
    data = httpx.get(f"{fleet.url}/v1/models").json()
    entries = {entry["id"]: entry for entry in data["data"]}
    assert list(entries)[:3] == ["acme/chat", "acme/raw", "acme/dead"]
    chat = entries["acme/chat"]
    assert chat["state"] == "ready"
    assert chat["engine"] == "openvino"
    assert chat["created"] == 1_700_000_000
    assert chat["context_length"] == 512
    assert chat["aliases"] == ["chat", "gpt-4o"]
    assert chat["modalities"] == {"input": ["text"], "output": ["text"]}
    assert entries["acme/dead"]["state"] == "starting"
    assert entries["acme/embed"]["dimensions"] == 384
    assert entries["acme/speech"]["modalities"]["input"] == ["audio"]


@pytest.mark.parametrize("name", ["acme/chat", "gpt-4o"])
def test_one_model_is_found_by_id_and_alias(fleet: Any, name: str) -> None:
    client = openai.OpenAI(base_url=f"{fleet.url}/v1", api_key="none")
    assert client.models.retrieve(name).id == "acme/chat"


def test_an_unknown_model_is_a_404(fleet: Any) -> None:
    answer = httpx.get(f"{fleet.url}/v1/models/acme/none")
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "model_not_found"


def test_the_state_of_a_server_that_stopped_is_unavailable(
    start_stub: Any, start_router: Any, entry: Any, tmp_path: Any
) -> None:
    with (
        start_stub("acme/chat") as stub,
        start_router(tmp_path, [entry("acme/chat", "chat", stub.port)]) as fleet,
    ):
        states = []
        for _ in range(2):
            listed = httpx.get(f"{fleet.url}/v1/models").json()["data"]
            states.append(listed[0]["state"])
            stub.process.terminate()
            stub.process.wait(60)
        assert states == ["ready", "unavailable"]


def test_health_has_the_state_of_each_model(fleet: Any) -> None:
    answer = httpx.get(f"{fleet.url}/health")
    assert answer.status_code == 503
    states = answer.json()["models"]
    assert states["acme/chat"] == "ready"
    assert states["acme/dead"] == "starting"
    assert httpx.get(f"{fleet.url}/readyz").status_code == 200
    assert httpx.get(f"{fleet.url}/livez").status_code == 200


def test_metrics_are_one_exposition_of_the_fleet(fleet: Any) -> None:
    assert fleet.chat().status_code == 200
    answer = httpx.get(f"{fleet.url}/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = list(text_string_to_metric_families(answer.text))
    names = [family.name for family in families]
    assert len(names) == len(set(names))
    series = [
        (sample.name, tuple(sorted(sample.labels.items())))
        for f in families
        for sample in f.samples
    ]
    assert len(series) == len(set(series))
    stub = next(family for family in families if family.name == "stub_requests")
    assert {sample.labels["model"] for sample in stub.samples} == {"acme/chat"}
    fds = next(family for family in families if family.name == "process_open_fds")
    assert {sample.labels["model"] for sample in fds.samples} >= {"acme/chat", "acme/speech"}


def test_labels_have_no_values_from_clients(fleet: Any) -> None:
    for path, body in (("/v1/chat/completions", {"model": "typed"}), ("/typed", {})):
        httpx.post(fleet.url + path, json=body)
    assert "typed" not in httpx.get(f"{fleet.url}/metrics").text


def test_metrics_can_be_switched_off(
    start_router: Any, entry: Any, stub: Any, tmp_path: Any
) -> None:
    with start_router(
        tmp_path, [entry("acme/chat", "chat", stub.port)], {"ENABLE_METRICS": "0"}
    ) as fleet:
        assert httpx.get(f"{fleet.url}/metrics").status_code == 404


def test_a_changed_file_is_loaded_and_a_broken_one_ignored(
    start_router: Any, entry: Any, stub: Any, tmp_path: Any
) -> None:
    with start_router(tmp_path, [entry("acme/one", "chat", stub.port)]) as fleet:
        assert fleet.chat("acme/one").status_code == 200
        moved = {"models": [entry("acme/two", "chat", stub.port)]}
        fleet.routes.write_text(json.dumps(moved))
        fleet.await_line("routes_loaded")
        assert fleet.chat("acme/two").status_code == 200
        assert fleet.chat("acme/one").status_code == 404
        fleet.routes.write_text("{")
        fleet.await_line("routes_not_reloaded")
        assert fleet.chat("acme/two").status_code == 200


def test_without_a_file_the_router_is_not_ready_until_it_exists(
    start_router: Any, entry: Any, stub: Any, tmp_path: Any
) -> None:
    with start_router(tmp_path, None) as fleet:
        assert httpx.get(f"{fleet.url}/readyz").status_code == 503
        answer = fleet.chat()
        assert answer.status_code == 503
        assert "retry-after" in answer.headers
        fleet.routes.write_text(json.dumps({"models": [entry("acme/chat", "chat", stub.port)]}))
        fleet.await_line("routes_loaded")
        assert httpx.get(f"{fleet.url}/readyz").status_code == 200
        assert fleet.chat().status_code == 200
