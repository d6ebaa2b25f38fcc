"""LoRA adapters of llama.cpp, in PEFT's format and in GGUF, against transformers with the adapter
added to the weights."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from fleet_contract.spec import ModelSpec
from fleet_server.engines.llamacpp.chat import LlamaChat
from fleet_server.protocols import Sampling, Step
from support import tiny_adapter, tiny_chat, tiny_gguf

NEW = 8
CASES = {"llama3": tiny_chat.LLAMA, "qwen3": tiny_chat.QWEN3}
ADAPTERS = {"first": 3, "second": 28}
"""Seeds with which the second best token is never close to the best one."""
SPEC = ModelSpec.model_validate({
    "model": "tiny", "engine": "llamacpp", "dtype": "float32", "contextLength": 512,
    "batching": {"maxSize": 4},
    "adapters": [{"name": name, "source": f"file:///{name}"} for name in ADAPTERS],
})  # fmt: skip
QUESTIONS = ["fox", "The quick brown fox jumps over the lazy dog. " * 3]


@pytest.fixture(scope="module", params=CASES)
def trio(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[dict[str | None, Any], Any, LlamaChat]]:
    """transformers' models by adapter, their tokenizer, and the engine with both adapters."""
    folder: Path = tmp_path_factory.mktemp(request.param)
    config = CASES[request.param]
    source = tiny_chat.write(folder / "source", config)
    references: dict[str | None, Any] = {}
    files: dict[str, Path] = {}
    for name in (None, *ADAPTERS):
        model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32).eval()
        if name is not None:
            tiny_adapter.merged(model, config, ADAPTERS[name])
            write = {
                "first": lambda seed: tiny_adapter.write_peft(folder / "first", config, seed),
                "second": lambda seed: tiny_adapter.write_gguf(folder / "b.gguf", config, seed),
            }
            files[name] = write[name](ADAPTERS[name])
        references[name] = model
    engine = LlamaChat(SPEC, tiny_gguf.write(folder / "tiny.gguf", config), 1, files)
    yield references, AutoTokenizer.from_pretrained(source), engine
    engine.close()


def test_requests_of_one_moment_follow_the_adapter_that_each_selects(
    trio: tuple[dict[str | None, Any], Any, LlamaChat],
) -> None:
    references, tokenizer, engine = trio
    prompts = [engine.prompt([{"role": "user", "content": text}], []) for text in QUESTIONS]
    cases = [(prompt, name) for prompt in prompts for name in references]
    wanted = [
        complete(tokenizer.decode(greedy(references[name], prompt.state))) for prompt, name in cases
    ]
    assert len(set(wanted)) == len(wanted)
    queues: list[queue.Queue[Step]] = [queue.Queue() for _ in cases]
    for (prompt, name), steps in zip(cases, queues, strict=True):
        engine.submit(prompt, Sampling(NEW, temperature=0, adapter=name), steps.put)
    assert [complete(text_of(steps)) for steps in queues] == wanted


def greedy(reference: Any, prompt: list[int]) -> list[int]:
    with torch.inference_mode():
        found = reference.generate(torch.tensor([prompt]), max_new_tokens=NEW, do_sample=False)
    ids: list[int] = found[0, len(prompt) :].tolist()
    return ids


def complete(text: str) -> str:
    """The text without characters that the last token has left incomplete."""
    return text.rstrip("\ufffd")


def text_of(steps: queue.Queue[Step]) -> str:
    text = ""
    while True:
        step = steps.get(timeout=180)
        assert step.error is None, step.error
        assert step.delta is not None
        text += step.delta.text
        if step.finish is not None:
            return text
