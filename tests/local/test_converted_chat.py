"""A converted tiny random Llama in a separate model server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tokenizers import Tokenizer

from fleet_contract.launch import encode
from fleet_contract.spec import ModelSpec
from fleet_prepare import chat
from fleet_prepare.conversion import Conversion
from support import tiny_chat
from support.ports import free_port
from support.waiting import until

START_SECONDS = 300
FOX: dict[str, Any] = {
    "model": "acme/tiny-llama", "temperature": 0, "max_tokens": 24,
    "messages": [{"role": "user", "content": "fox"}],
}  # fmt: skip


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    home = tmp_path_factory.mktemp("converted")
    source = tiny_chat.write(home / "source", tiny_chat.LLAMA, stored="BF16", shards=2)
    target = home / "target"
    target.mkdir()
    chat.convert(Conversion(source, target, "int8", lambda *_: None, lambda: None, {}))
    spec = ModelSpec.model_validate({
        "model": "acme/tiny-llama", "source": f"file://{target}", "device": "cpu",
        "contextLength": 2048, "cache": {"kvGib": 0.05},
    })  # fmt: skip
    port = free_port()
    with (home / "log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "fleet_server", "--port", str(port)], stderr=log,
            env={**os.environ, **encode(spec), "MODELS_DIR": str(home / "models")},
        )  # fmt: skip
    try:
        with httpx.Client(
            base_url=f"http://127.0.0.1:{port}", timeout=180, trust_env=False
        ) as made:
            wait_until_ready(made, server, home / "log")
            yield made
    finally:
        server.terminate()
        server.wait(30)


def wait_until_ready(http: httpx.Client, server: subprocess.Popen[bytes], log: Path) -> None:
    def is_ready() -> bool:
        assert server.poll() is None, log.read_text()
        try:
            return http.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    until(is_ready, START_SECONDS, state=log.read_text)


def first_choice(http: httpx.Client, **fields: Any) -> dict[str, Any]:
    answer = http.post("/v1/chat/completions", json=FOX | fields)
    assert answer.status_code == 200, answer.text
    choice: dict[str, Any] = answer.json()["choices"][0]
    return choice


def test_a_stream_equals_the_response_without_streaming(http: httpx.Client) -> None:
    complete = first_choice(http)["message"]["content"]
    assert complete
    parts = []
    with http.stream("POST", "/v1/chat/completions", json=FOX | {"stream": True}) as stream:
        for line in stream.iter_lines():
            if line.startswith("data: {"):
                delta = json.loads(line[6:])["choices"][0]["delta"]
                parts.append(delta.get("content") or "")
    assert "".join(parts) == complete
    assert len(parts) > 3


def test_a_stop_string_ends_the_response_before_it(http: httpx.Client) -> None:
    complete = first_choice(http)["message"]["content"]
    middle = next(
        character for character in complete[1:] if character not in (complete[0], "\ufffd")
    )
    stopped = first_choice(http, stop=[middle])
    assert stopped["message"]["content"] == complete.partition(middle)[0]
    assert stopped["finish_reason"] == "stop"


def test_json_object_follows_the_grammar(http: httpx.Client) -> None:
    plain = first_choice(http)["message"]["content"]
    constrained = first_choice(http, response_format={"type": "json_object"}, max_tokens=16)[
        "message"
    ]["content"]
    assert constrained.startswith("{")
    assert not plain.startswith("{")


def test_a_schema(http: httpx.Client) -> None:
    schema = {
        "type": "object", "properties": {"kind": {"enum": ["fox", "dog"]}}, "required": ["kind"],
        "additionalProperties": False,
    }  # fmt: skip
    form = {"type": "json_schema", "json_schema": {"name": "animal", "schema": schema}}
    constrained = first_choice(http, response_format=form, max_tokens=64)
    assert json.loads(constrained["message"]["content"])["kind"] in ("fox", "dog")
    assert constrained["finish_reason"] == "stop"


def test_tokenize_is_the_repositorys_tokenizer(http: httpx.Client) -> None:
    text = "The quick brown fox, 日本語 12345"
    answer = http.post("/tokenize", json={"content": text, "add_special": True}).json()
    tokenizer: Any = Tokenizer.from_str(tiny_chat.tokenizer("llama").to_str())
    assert answer["tokens"] == tokenizer.encode(text).ids
    back = http.post("/detokenize", json={"tokens": answer["tokens"][1:]})
    assert back.json()["content"] == text


def test_a_role_rejected_by_the_template_is_a_client_error(http: httpx.Client) -> None:
    messages = [{"role": "user", "content": "x"}, {"role": "system", "content": "x"}]
    answer = http.post("/v1/chat/completions", json=FOX | {"messages": messages})
    assert answer.status_code == 400
