"""LoRA adapters of vLLM against transformers with the adapter added to the weights, on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from fleet_contract.spec import ModelSpec
from fleet_server.engines.vllm.chat import VllmChat
from fleet_server.protocols import Sampling
from support import tiny_adapter, tiny_chat
from support.running import Running, greedy, prompt

NEW = 8
CASES = {"llama3": tiny_chat.LLAMA, "qwen3": tiny_chat.QWEN3}
ADAPTERS = {"first": 3, "second": 28}
"""Seeds with which the second best token is never close to the best one."""
SPEC = ModelSpec.model_validate({
    "model": "tiny", "engine": "vllm", "dtype": "float32", "device": "cpu", "contextLength": 512,
    "batching": {"maxSize": 6}, "cache": {"kvGib": 0.01},
    "adapters": [{"name": name, "source": f"file:///{name}"} for name in ADAPTERS],
})  # fmt: skip
QUESTIONS = ["fox", "The quick brown fox jumps over the lazy dog. " * 3]


@pytest.fixture(scope="module", params=CASES)
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[dict[str | None, Any], VllmChat]]:
    """transformers' models by adapter, and the engine with both adapters."""
    folder: Path = tmp_path_factory.mktemp(request.param)
    config = CASES[request.param]
    source = tiny_chat.write(folder / "source", config)
    references: dict[str | None, Any] = {}
    files: dict[str, Path] = {}
    for name in (None, *ADAPTERS):
        model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32).eval()
        if name is not None:
            tiny_adapter.merged(model, config, ADAPTERS[name])
            files[name] = tiny_adapter.write_peft(folder / name, config, ADAPTERS[name])
        references[name] = model
    engine = VllmChat(SPEC, source, 1, files)
    yield references, engine
    engine.close()


@pytest.mark.parametrize("text", QUESTIONS, ids=["word", "long"])
def test_one_request_follows_its_adapter(
    pair: tuple[dict[str | None, Any], VllmChat], text: str
) -> None:
    references, engine = pair
    ids = prompt(engine, text)
    for name, reference in references.items():
        found = Running(engine, ids, Sampling(NEW, temperature=0, adapter=name)).wait()[0]
        assert found == greedy(reference, ids, NEW), name


def test_requests_of_one_batch_follow_the_adapter_that_each_selects(
    pair: tuple[dict[str | None, Any], VllmChat],
) -> None:
    references, engine = pair
    assert engine.adapters == tuple(ADAPTERS)
    cases = [(prompt(engine, text), name) for text in QUESTIONS for name in references]
    wanted = [greedy(references[name], ids, NEW) for ids, name in cases]
    assert len(set(map(tuple, wanted))) == len(wanted)
    running = [
        Running(engine, ids, Sampling(NEW, temperature=0, adapter=name)) for ids, name in cases
    ]
    assert [each.wait()[0] for each in running] == wanted
