"""Generations in llama.cpp with tiny random weights: turns, slices and the cache."""

from __future__ import annotations

import queue
import random
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from fleet_contract.spec import ModelSpec
from fleet_server.engines.llamacpp.chat import LlamaChat
from fleet_server.engines.llamacpp.server import Connection
from fleet_server.protocols import Sampling, Step
from support import tiny_chat, tiny_gguf
from support.waiting import until

SLICE = 32
CACHE = 512
"""Tokens in all slots: 1,024 bytes each, within `kvGib`."""
LONG = 200
"""Tokens of a prompt; the cache holds two such prompts."""
SPEC = ModelSpec.model_validate({
    "model": "tiny", "dtype": "float32", "contextLength": CACHE // 2,
    "batching": {"maxSize": 4, "maxTokens": SLICE}, "cache": {"kvGib": 0.0005},
})  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaChat]:
    path = tmp_path_factory.mktemp("llamacpp") / "tiny.gguf"
    engine = LlamaChat(SPEC, tiny_gguf.write(path, tiny_chat.QWEN3), 1)
    assert engine._scheduler._tokens == CACHE
    yield engine
    engine.close()


@pytest.fixture
def posted(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The bodies of the completions that llama.cpp gets."""
    bodies: list[dict[str, Any]] = []
    post: Callable[..., Any] = Connection.post

    def recorded(self: Connection, route: str, body: Any) -> Any:
        if route == "/completion":
            bodies.append(body)
        return post(self, route, body)

    monkeypatch.setattr(Connection, "post", recorded)
    return bodies


def submitted(model: LlamaChat, seed: int) -> queue.Queue[Step]:
    ids = random.Random(seed).choices(range(100, 300), k=LONG)
    steps: queue.Queue[Step] = queue.Queue()
    model.submit(model.prompt_of(ids), Sampling(4, temperature=0), steps.put)
    return steps


def result(steps: queue.Queue[Step]) -> tuple[int, str]:
    """The cached tokens of the prompt, and the text."""
    first, *_ = found = [steps.get(timeout=180)]
    while found[-1].finish is None:
        assert found[-1].error is None, found[-1].error
        found.append(steps.get(timeout=180))
    assert first.cached_tokens is not None
    return first.cached_tokens, "".join(step.delta.text for step in found if step.delta)


def test_a_long_prompt_may_wait_longer_than_an_idle_connection(model: LlamaChat) -> None:
    other: Any = SimpleNamespace(caller="other", cancelled=False)
    with model._turns.joined(other), model._turns.turn(other):
        steps = submitted(model, 0)
        until(lambda: len(model._turns._prompts) == 2)
        idle = model._server.connection()
        idle.sock.settimeout(180)
        assert idle.sock.recv(1) == b""  # llama.cpp closes it
        idle.close()
    assert result(steps)[0] == 0


def test_a_prompt_whose_cache_llama_cpp_cleared_is_computed_in_slices(
    model: LlamaChat, posted: list[dict[str, Any]]
) -> None:
    """There are slots for all three prompts, and room in the cache for two."""
    before = [result(submitted(model, seed)) for seed in (1, 2, 3)]
    assert [cached for cached, _ in before] == [0, 0, 0]
    cleared = 0
    for seed, (_, text) in zip((1, 2, 3), before, strict=True):
        posted.clear()
        cached, again = result(submitted(model, seed))
        assert again == text
        slices = [body for body in posted if body["n_predict"] == 0]
        assert len(slices) >= (LONG - cached) // SLICE - 1
        cleared += cached == 0 and len(posted) - len(slices) == 2
    assert cleared  # after llama.cpp was to compute the whole, in the belief that it is cached
