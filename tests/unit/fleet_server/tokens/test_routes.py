"""/tokenize and /detokenize on the real app around a tiny encoder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from fleet_contract.spec import ModelSpec
from fleet_server.app import create_app
from fleet_server.engines.openvino.encoder import EmbeddingEngine
from fleet_server.state import ServerState

SPEC = ModelSpec.model_validate({"model": "tiny", "task": "embedding", "dtype": "float32"})


@pytest.fixture
def client(tiny_encoder: Callable[..., Path], listen: Any) -> Iterator[httpx.Client]:
    server = ServerState(SPEC, 1)
    server.set_ready(EmbeddingEngine(SPEC, tiny_encoder(), 1))
    with (
        listen(create_app(server)) as port,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", verify=False) as made,
    ):
        yield made
    server.close()


def test_there_and_back(client: httpx.Client) -> None:
    answer = client.post("/tokenize", json={"model": "tiny", "content": "w1 w2"})
    assert answer.json() == {"tokens": [5, 6]}
    body = {"content": "w1 w2", "add_special": True}
    assert client.post("/tokenize", json=body).json() == {"tokens": [2, 5, 6, 3]}
    answer = client.post("/detokenize", json={"model": "tiny", "tokens": [2, 5, 6, 3]})
    assert answer.json() == {"content": "[CLS] w1 w2 [SEP]"}


def test_pieces(client: httpx.Client) -> None:
    answer = client.post(
        "/tokenize", json={"content": "w1 [SEP]", "with_pieces": True, "parse_special": True}
    )
    assert answer.json() == {"tokens": [{"id": 5, "piece": "w1"}, {"id": 3, "piece": "[SEP]"}]}


def test_nothing_gives_nothing(client: httpx.Client) -> None:
    assert client.post("/tokenize", json={"content": ""}).json() == {"tokens": []}
    assert client.post("/detokenize", json={"tokens": []}).json() == {"content": ""}


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/tokenize", {}, "content"),
        ("/tokenize", {"content": 5}, "content"),
        ("/tokenize", {"content": "x" * 1_000_001}, "content"),
        ("/tokenize", {"content": "a", "add_special": "yes"}, "add_special"),
        ("/tokenize", {"content": "a", "with_pieces": 1}, "with_pieces"),
        ("/tokenize", {"content": "a", "parse_special": "no"}, "parse_special"),
        ("/detokenize", {}, "tokens"),
        ("/detokenize", {"tokens": "5"}, "tokens"),
        ("/detokenize", {"tokens": [5, "6"]}, "tokens"),
        ("/detokenize", {"tokens": [True]}, "tokens"),
        ("/detokenize", {"tokens": [-1]}, "tokens"),
        ("/detokenize", {"tokens": [64]}, "tokens"),
        ("/detokenize", {"tokens": [1] * 1_000_001}, "tokens"),
    ],
)
def test_what_is_wrong_is_named(client: httpx.Client, path: str, body: Any, param: str) -> None:
    answer = client.post(path, json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


def test_another_model_is_a_404(client: httpx.Client) -> None:
    answer = client.post("/tokenize", json={"model": "other", "content": "a"})
    assert answer.status_code == 404
