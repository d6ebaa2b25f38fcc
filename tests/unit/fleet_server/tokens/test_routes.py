"""/tokenize and /detokenize on the real app around a tiny encoder."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from fleet_contract.server_protocol import CALLER_HEADER
from fleet_contract.spec import ModelSpec
from fleet_server.app import create_app
from fleet_server.engines.openvino.encoder import EmbeddingEngine
from fleet_server.state import ServerState
from support.waiting import until_async

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


def test_tokens_of_a_text_and_back(client: httpx.Client) -> None:
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


def test_empty_inputs_give_empty_results(client: httpx.Client) -> None:
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
        ("/detokenize", {"tokens": [1] * 300_001}, "tokens"),
        ("/detokenize", {"tokens": [1] * 1_000_001}, None),  # too many values for any body
    ],
)
def test_errors_name_the_field(
    client: httpx.Client, path: str, body: Any, param: str | None
) -> None:
    answer = client.post(path, json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


def test_another_model_is_a_404(client: httpx.Client) -> None:
    answer = client.post("/tokenize", json={"model": "other", "content": "a"})
    assert answer.status_code == 404


class GatedVocabulary:
    """Encodes nothing until its gate opens, and records how many calls run at once."""

    size = 64

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.running = 0
        self.most = 0
        self.asked: list[str] = []

    def encode(self, text: str, add_special: bool, parse_special: bool = True) -> list[int]:
        self.asked.append(text)
        self.running += 1
        self.most = max(self.most, self.running)
        assert self.gate.wait(20)
        self.running -= 1
        return []

    def decode(self, token_ids: Any) -> str:
        return self.encode("", False) or ""

    def piece(self, token_id: int) -> bytes:
        return b""

    def close(self) -> None:
        self.gate.set()


@pytest.fixture
def gated() -> GatedVocabulary:
    return GatedVocabulary()


@pytest.fixture
async def gated_client(gated: GatedVocabulary) -> AsyncIterator[httpx.AsyncClient]:
    spec = ModelSpec.model_validate(
        {"model": "tiny", "task": "embedding", "limits": {"maxQueueSize": 4}}
    )
    server = ServerState(spec, 1)
    server.set_ready(SimpleNamespace(vocabulary=gated, max_concurrent=9, close=gated.close))
    app = create_app(server)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://t") as made,
    ):
        yield made
    server.close()


async def test_one_request_runs_at_a_time_and_the_rest_is_bounded(
    gated: GatedVocabulary, gated_client: httpx.AsyncClient
) -> None:
    async def post(text: str, caller: str = "0" * 16) -> httpx.Response:
        headers = {CALLER_HEADER: caller}
        return await gated_client.post("/tokenize", json={"content": text}, headers=headers)

    crowd = [asyncio.create_task(post(f"a{number}")) for number in range(6)]
    await until_async(lambda: sum(task.done() for task in crowd), 20)
    other = asyncio.create_task(post("b", "f" * 16))
    assert (await gated_client.get("/livez")).status_code == 200
    gated.gate.set()
    statuses = sorted([(await task).status_code for task in crowd])
    assert (await other).status_code == 200
    assert 429 in statuses
    assert gated.most == 1
    assert gated.asked.index("b") == 1


async def test_a_disconnected_request_keeps_its_slot_until_the_thread_is_free(
    gated: GatedVocabulary, gated_client: httpx.AsyncClient
) -> None:
    first = asyncio.create_task(gated_client.post("/tokenize", json={"content": "a"}))
    await until_async(lambda: gated.asked, 20)
    first.cancel()
    await asyncio.sleep(0)
    more = [
        asyncio.create_task(gated_client.post("/detokenize", json={"tokens": [1]}))
        for _ in range(5)  # the queue has 4 places
    ]
    await until_async(lambda: sum(task.done() for task in more), 20)
    gated.gate.set()
    statuses = sorted([(await task).status_code for task in more])
    assert statuses == [200] * 4 + [429]
    assert gated.most == 1


def test_pieces_of_repeated_tokens(client: httpx.Client) -> None:
    answer = client.post("/tokenize", json={"content": "w1 w2 w1", "with_pieces": True})
    assert [piece["piece"] for piece in answer.json()["tokens"]] == ["w1", "w2", "w1"]
