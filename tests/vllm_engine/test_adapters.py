"""LoRA adapters on vLLM's build for CPUs."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet_contract.spec import ModelSpec
from fleet_server.engines.vllm.chat import VllmChat
from fleet_server.load_error import LoadError
from support import tiny_chat


def test_adapters_are_refused_on_a_cpu(tmp_path: Path) -> None:
    """With adapters, texts differed from those of transformers; the cause is not known."""
    spec = ModelSpec.model_validate({"model": "tiny", "device": "cpu", "engine": "vllm"})
    folder = tiny_chat.write(tmp_path / "base", tiny_chat.LLAMA)
    with pytest.raises(LoadError, match="adapters"):
        VllmChat(spec, folder, 1, {"sql": tmp_path / "sql"})
