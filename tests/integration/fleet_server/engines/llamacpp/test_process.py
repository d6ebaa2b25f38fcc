"""The llamacpp engine behind the HTTP server: signals, disconnects, metrics, refusals."""

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

import gguf
import httpx
import pytest

from fleet_contract.launch import encode
from fleet_contract.spec import ModelSpec
from support import tiny_adapter, tiny_chat, tiny_gguf
from support.ports import free_port
from support.waiting import until

START_SECONDS = 300
CHAT = "/v1/chat/completions"
WEEK = [{"role": "user", "content": "List the days of the week."}]
Served = tuple[subprocess.Popen[bytes], httpx.Client]
Serve = Callable[..., AbstractContextManager[Served]]


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Serve:
    """`with serve(gguf, field=value, ...) as (process, client)`."""

    @contextmanager
    def run(gguf: Path, **fields: Any) -> Iterator[Served]:
        home = tmp_path_factory.mktemp("served")
        spec = ModelSpec.model_validate({
            "model": "m", "engine": "llamacpp", "source": f"file://{gguf}", "contextLength": 2048,
            "cache": {"kvGib": 0.1}, **fields,
        })  # fmt: skip
        port = free_port()
        log = home / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "fleet_server", "--port", str(port)], stderr=output,
                env={**os.environ, **encode(spec), "MODELS_DIR": str(home)},
            )  # fmt: skip

        def is_ready() -> bool:
            assert process.poll() is None, log.read_text()
            try:
                return client.get("/readyz").status_code == 200
            except httpx.TransportError:
                return False

        address = f"http://127.0.0.1:{port}"
        try:
            with httpx.Client(base_url=address, timeout=180, trust_env=False) as client:
                until(is_ready, START_SECONDS, state=log.read_text)
                yield process, client
        finally:
            process.kill()
            process.wait()

    return run


@pytest.fixture(scope="module")
def smollm2(demo_weights: Callable[[str], Path]) -> Path:
    [path] = demo_weights("smollm2").glob("*.gguf")
    return path


@pytest.fixture(scope="module")
def client(serve: Serve, smollm2: Path) -> Iterator[httpx.Client]:
    with serve(smollm2) as (_, http):
        yield http


def body(**fields: Any) -> dict[str, Any]:
    return {"messages": WEEK, "model": "m", "temperature": 0} | fields


def metric(http: httpx.Client, name: str) -> float:
    [value] = re.findall(rf"^{name}\{{.*\}} (\S+)$", http.get("/metrics").text, re.MULTILINE)
    return float(value)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_running_streams_are_drained(serve: Serve, smollm2: Path, number: signal.Signals) -> None:
    """xllamacpp replaces the handlers of these signals."""
    with serve(smollm2) as (process, http):
        with http.stream("POST", CHAT, json=body(stream=True, max_tokens=60)) as answer:
            lines = answer.iter_lines()
            next(lines)
            process.send_signal(number)
            rest = [line for line in lines if line]
        assert rest[-1] == "data: [DONE]"
        assert (
            json.loads(rest[-2].removeprefix("data: "))["choices"][0]["finish_reason"] == "length"
        )
        assert process.wait(180) == 0


def test_a_client_that_disconnects_frees_its_cache(client: httpx.Client) -> None:
    assert metric(client, "modelfleet_kv_cache_usage_ratio") == 0
    with client.stream("POST", CHAT, json=body(stream=True, max_tokens=1000)) as answer:
        lines = answer.iter_lines()
        next(lines)
        assert metric(client, "modelfleet_in_flight") == 1
        assert metric(client, "modelfleet_kv_cache_usage_ratio") > 0.2
    until(lambda: metric(client, "modelfleet_in_flight") == 0)
    until(lambda: metric(client, "modelfleet_kv_cache_usage_ratio") == 0)


def test_a_last_message_of_the_assistant_is_a_turn(client: httpx.Client) -> None:
    """Its text is not continued, as with the other engines."""
    turns = [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello."}]

    def prompt_tokens(messages: Any) -> int:
        answer = client.post(CHAT, json=body(messages=messages, max_tokens=1))
        assert answer.status_code == 200, answer.text
        number: int = answer.json()["usage"]["prompt_tokens"]
        return number

    one, two, three = [prompt_tokens(m) for m in (turns[:1], turns, [*turns, turns[1]])]
    assert three - two == two - one > 5


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"n": 17}, "n"),
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
    answer = client.post(CHAT, json=body(**fields))
    assert answer.status_code == 400, answer.text
    if param is not None:
        assert answer.json()["error"]["param"] == param


def test_what_the_template_refuses_is_a_400(serve: Serve, tmp_path: Path) -> None:
    gguf = tiny_gguf.write(tmp_path / "tiny.gguf", tiny_chat.LLAMA)
    with serve(gguf) as (_, http):
        roles = ["user", "system"]
        messages = [{"role": role, "content": "fox"} for role in roles]
        answer = http.post(CHAT, json=body(messages=messages))
        assert answer.status_code == 400, answer.text
        assert "no role system" in answer.json()["error"]["message"]
        assert http.post(CHAT, json=body(messages=messages[:1], max_tokens=3)).status_code == 200
        assert http.get("/livez").status_code == 200


def test_the_engine_is_named(client: httpx.Client) -> None:
    [model] = client.get("/v1/models").json()["data"]
    assert model["engine"] == "llamacpp"


def test_an_adapter_is_chosen_by_the_model_id(serve: Serve, tmp_path: Path) -> None:
    base = tiny_gguf.write(tmp_path / "m.gguf", tiny_chat.QWEN3)
    adapter = tiny_adapter.write_gguf(tmp_path / "a.gguf", tiny_chat.QWEN3, 3)
    adapters = [{"name": "tuned", "source": f"file://{adapter}"}]
    body = {"messages": WEEK, "max_tokens": 8, "temperature": 0}
    with serve(base, engine="auto", adapters=adapters) as (_, http):
        listed = [each["id"] for each in http.get("/v1/models").json()["data"]]
        sent = [http.post(CHAT, json=body | {"model": name}).json() for name in listed]
    assert listed == [each["model"] for each in sent] == ["m", "m:tuned"]
    assert len({each["choices"][0]["message"]["content"] for each in sent}) == 2


def test_texts_that_are_too_long_for_a_reranker_are_refused(serve: Serve, tmp_path: Path) -> None:
    rank = gguf.PoolingType.RANK
    path = tiny_gguf.write(tmp_path / "r.gguf", tiny_chat.QWEN3, pooling=rank)
    with serve(path, task="rerank", contextLength=128) as (_, http):
        body = {"query": "fox", "documents": ["dog", "dog " * 900]}
        refused = http.post("/v1/rerank", json=body)
        cut = http.post("/v1/rerank", json=body | {"truncate": True}).json()["results"]
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "documents"
    assert {each["index"] for each in cut} == {0, 1}
