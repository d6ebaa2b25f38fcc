"""Chat of llama.cpp with tiny random weights of further families against transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from fleet_contract.spec import ModelSpec
from fleet_server.engines.llamacpp.chat import LlamaChat, completion
from fleet_server.protocols import Sampling
from support import tiny_families

NEW = 16
PROMPTS = [[0, 17, 42, 99, 7], [0, *range(20, 120, 2)]]
SPEC = ModelSpec.model_validate({
    "model": "tiny", "dtype": "float32", "contextLength": 512, "batching": {"maxSize": 2},
})  # fmt: skip


@pytest.mark.parametrize("family", tiny_families.CONFIGS)
def test_greedy_tokens_equal_those_of_transformers(tmp_path: Path, family: str) -> None:
    reference = tiny_families.model(family)
    path = tiny_families.write(tmp_path / "tiny.gguf", family, reference)
    engine = LlamaChat(SPEC, path, 1)
    try:
        for prompt in PROMPTS:
            wanted = greedy(reference, prompt)
            assert len(set(wanted)) > 2
            body = completion(prompt, Sampling(NEW, temperature=0), cache_prompt=False)
            body |= {"stream": False, "return_tokens": True, "ignore_eos": True}
            assert engine._server.post("/completion", body)["tokens"] == wanted
    finally:
        engine.close()


def greedy(reference: Any, prompt: list[int]) -> list[int]:
    """The most probable tokens, one by one, without the end of a turn."""
    ids = list(prompt)
    for _ in range(NEW):
        with torch.inference_mode():
            logits = reference(torch.tensor([ids])).logits[0, -1]
            logits[reference.config.eos_token_id] = -torch.inf
            ids.append(int(logits.argmax()))
    return ids[len(prompt) :]
