"""The vllm engine behind the HTTP server: signals, disconnects, metrics, golden checks, failure."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from fleet_contract.launch import encode
from fleet_contract.spec import ModelSpec
from support import scripted_weights, tiny_chat
from support.ports import free_port
from support.waiting import until

START_SECONDS = 900
CHAT = "/v1/chat/completions"
SAME = {"logit_bias": {"77": 100}}
"""Generates the same token until the limit."""
Served = tuple[subprocess.Popen[bytes], httpx.Client]
Serve = Callable[..., AbstractContextManager[Served]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_chat.write(tmp_path_factory.mktemp("tiny"), tiny_chat.QWEN3)


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Serve:
    """`with serve(field=value, ...) as (process, client)`."""

    @contextmanager
    def run(**fields: Any) -> Iterator[Served]:
        home = tmp_path_factory.mktemp("served")
        spec = ModelSpec.model_validate({
            "model": "m", "engine": "vllm", "source": f"file://{folder}", "contextLength": 2048,
            "dtype": "float32", "cache": {"kvGib": 0.01}, **fields,
        })  # fmt: skip
        port = free_port()
        log = home / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "fleet_server", "--port", str(port)], stderr=output,
                env={**os.environ, **encode(spec), "MODELS_DIR": str(home), "THREADS": "1"},
            )  # fmt: skip

        def is_ready() -> bool:
            assert process.poll() is None, log.read_text()
            try:
                return client.get("/readyz").status_code == 200
            except httpx.TransportError:
                return False

        children: list[psutil.Process] = []
        try:
            with httpx.Client(
                base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False
            ) as client:
                until(is_ready, START_SECONDS, every=0.5, state=log.read_text)
                children = psutil.Process(process.pid).children(recursive=True)
                yield process, client
        finally:
            process.terminate()
            try:
                process.wait(60)
            finally:
                process.kill()
            _, alive = psutil.wait_procs(children, timeout=20)
            assert not alive, "the engine's process outlives the server"

    return run


@pytest.fixture(scope="module")
def served(serve: Serve) -> Iterator[Served]:
    with serve(golden=[{"prompt": "fox"}]) as found:
        yield found


@pytest.fixture
def client(served: Served) -> httpx.Client:
    return served[1]


def body(**fields: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": "fox"}]
    return {"messages": messages, "model": "m", "temperature": 0} | fields


def metric(http: httpx.Client, name: str) -> float:
    [value] = re.findall(rf"^{name}\{{.*\}} (\S+)$", http.get("/metrics").text, re.MULTILINE)
    return float(value)


def answer(http: httpx.Client, path: str = CHAT, **fields: Any) -> dict[str, Any]:
    found = http.post(path, json=body(**fields) if path == CHAT else {"model": "m", **fields})
    assert found.status_code == 200, found.text
    parsed: dict[str, Any] = found.json()
    return parsed


def test_a_stream_has_the_text_of_the_whole_answer(client: httpx.Client) -> None:
    whole = answer(client, max_tokens=12)
    assert whole["usage"]["completion_tokens"] == 12
    assert whole["choices"][0]["finish_reason"] == "length"
    with client.stream("POST", CHAT, json=body(stream=True, max_tokens=12)) as events:
        lines = [line for line in events.iter_lines() if line.startswith("data: {")]
    deltas = [json.loads(line[6:])["choices"][0]["delta"].get("content", "") for line in lines]
    assert "".join(deltas) == whole["choices"][0]["message"]["content"]
    assert len(deltas) > 6


def test_texts_are_completed(client: httpx.Client) -> None:
    found = answer(client, "/v1/completions", prompt="The quick", max_tokens=5, temperature=0)
    assert found["usage"]["completion_tokens"] == 5
    ids = client.post("/tokenize", json={"content": "The quick"}).json()["tokens"]
    again = answer(client, "/v1/completions", prompt=ids, max_tokens=5, temperature=0)
    assert again["choices"][0]["text"] == found["choices"][0]["text"]


def test_the_answer_follows_a_schema(client: httpx.Client) -> None:
    schema = {
        "type": "object", "required": ["age"], "additionalProperties": False,
        "properties": {"age": {"type": "integer", "minimum": 0, "maximum": 99}},
    }  # fmt: skip
    wanted = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    found = answer(client, response_format=wanted, max_tokens=60)
    assert set(json.loads(found["choices"][0]["message"]["content"])) == {"age"}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {
            "url": "data:image/png;base64,AA=="}}]}]}, "messages[0].content[0]"),
        ({"response_format": {"type": "json_schema", "json_schema": {
            "name": "a", "schema": {"type": "object", "minProperties": -1}}}}, None),
        ({"max_tokens": 100, "messages": [{"role": "user", "content": "word " * 3000}]},
         "messages"),
    ],
)  # fmt: skip
def test_what_a_client_may_not_send_is_a_400(
    client: httpx.Client, fields: dict[str, Any], param: str | None
) -> None:
    found = client.post(CHAT, json=body(**fields))
    assert found.status_code == 400, found.text
    if param is not None:
        assert found.json()["error"]["param"] == param


def test_the_engine_is_named(client: httpx.Client) -> None:
    [model] = client.get("/v1/models").json()["data"]
    assert (model["engine"], model["device"]) == ("vllm", "cpu")


def test_a_client_that_disconnects_ends_its_generation(client: httpx.Client) -> None:
    before = generated(client)
    with client.stream("POST", CHAT, json=body(stream=True, max_tokens=1900, **SAME)) as events:
        next(events.iter_lines())
    until(lambda: generated(client) > before)
    assert generated(client) - before < 1900
    until(lambda: metric(client, "modelfleet_in_flight") == 0)
    until(lambda: metric(client, "modelfleet_kv_cache_usage_ratio") == 0)


def test_the_memory_of_the_engines_process_counts(served: Served) -> None:
    process, http = served
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    resident = sum(each.memory_info().rss for each in family)
    assert metric(http, "modelfleet_resident_bytes") > 0.9 * resident
    [model] = http.get("/v1/models").json()["data"]
    assert model["memory_bytes"] > 0.9 * resident


def generated(http: httpx.Client) -> float:
    """Tokens of all completions so far."""
    text = http.get("/metrics").text
    found = re.findall(r'^modelfleet_tokens_total\{.*kind="completion".*\} (\S+)$', text, re.M)
    return sum(map(float, found))


def test_the_server_is_unhealthy_without_the_engines_process(served: Served) -> None:
    """The last test of this server."""
    process, http = served
    children = psutil.Process(process.pid).children()
    [child] = [each for each in children if "EngineCore" in " ".join(each.cmdline())]
    with http.stream("POST", CHAT, json=body(stream=True, max_tokens=1900, **SAME)) as events:
        lines = events.iter_lines()
        next(lines)
        child.kill()
        assert "error" in [line for line in lines if line][-1]
    until(lambda: http.get("/livez").status_code == 503)
    assert http.get("/readyz").status_code == 503
    assert http.post(CHAT, json=body(max_tokens=1)).status_code == 503


def test_running_streams_are_drained(serve: Serve) -> None:
    with serve() as (process, http):
        request = body(stream=True, max_tokens=300, **SAME)
        with http.stream("POST", CHAT, json=request) as events:
            lines = events.iter_lines()
            next(lines)
            process.send_signal(signal.SIGTERM)
            rest = [line for line in lines if line]
        assert rest[-1] == "data: [DONE]"
        assert process.wait(60) == 0


TOOL = {"type": "function", "function": {"name": "get_time", "parameters": {
    "type": "object", "properties": {"zone": {"type": "string"}}, "required": ["zone"],
}}}  # fmt: skip
CALL = '{"name": "get_time", "arguments": {"zone": "UTC"}}'


def test_reasoning_and_calls_are_parsed(serve: Serve, tmp_path: Path) -> None:
    """Of a model that writes this text and no other."""
    pieces = [
        "<think>", "Let me see.", "</think>", "A moment.", "<tool_call>", CALL, "</tool_call>",
    ]  # fmt: skip
    source = scripted_weights.write(tmp_path / "scripted", pieces, " ".join(pieces))
    with serve(source=f"file://{source}") as (_, http):
        whole = answer(http, tools=[TOOL])["choices"][0]
        assert whole["finish_reason"] == "tool_calls"
        message = whole["message"]
        assert (message["reasoning_content"], message["content"]) == ("Let me see.", "A moment.")
        [call] = message["tool_calls"]
        assert call["function"]["name"] == "get_time"
        assert json.loads(call["function"]["arguments"]) == {"zone": "UTC"}
        with http.stream("POST", CHAT, json=body(tools=[TOOL], stream=True)) as events:
            lines = [line for line in events.iter_lines() if line.startswith("data: {")]
        deltas = [json.loads(line[6:])["choices"][0]["delta"] for line in lines]
        assert "".join(delta.get("reasoning_content") or "" for delta in deltas) == "Let me see."
        calls = [call for delta in deltas for call in delta.get("tool_calls") or []]
        text = "".join(call["function"].get("arguments") or "" for call in calls)
        assert json.loads(text) == {"zone": "UTC"}


def test_the_engines_process_ends_with_a_server_that_is_killed(serve: Serve) -> None:
    with serve() as (process, _):
        assert any("EngineCore" in " ".join(each.cmdline())
                   for each in psutil.Process(process.pid).children())  # fmt: skip
        process.kill()  # `serve` fails if a child stays
        process.wait()
