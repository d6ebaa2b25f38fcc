"""A hub in the run's network with a tiny model of each family that the CPU image can serve.

Pods reach it with HF_ENDPOINT; repositories have the names of the public ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.netns import NODE_ADDRESS
from support import hub_repositories, tiny_chat, tiny_gguf
from support.hub import Hub

CHAT = "meta-llama/Llama-3.2-1B-Instruct"
SPEECH = "openai/whisper-tiny"
GEMMA = "google/embeddinggemma-300m"
BGE_M3 = "BAAI/bge-m3"
GGUF = "acme/tiny-GGUF"
"""Not in the catalog: its spec names source, task and engine."""
NAMES = {CHAT: "llama", SPEECH: "whisper", GEMMA: "gemma", BGE_M3: "bge-m3", GGUF: "gguf"}
"""Ids and the names of their InferenceModels."""
ENGINES = {CHAT: "openvino", SPEECH: "ctranslate2", GEMMA: "openvino", BGE_M3: "openvino",
           GGUF: "llamacpp"}  # fmt: skip
SPECS = {GGUF: {"source": f"hf://{GGUF}@main", "task": "chat", "engine": "llamacpp",
                "contextLength": 512}}  # fmt: skip
"""The fields of specs that are not those of the catalog."""


def repositories(root: Path, demo_weights: Callable[[str], Path]) -> dict[str, Path]:
    """Write the tiny models below `root` and return their folders by repository."""
    tokenizer = demo_weights("openai/whisper-base") / "tokenizer.json"
    gguf = root / "gguf"
    gguf.mkdir()
    tiny_gguf.write(gguf / "tiny-F32.gguf", tiny_chat.QWEN3)
    return {
        CHAT: hub_repositories.llama(root / "llama"),
        SPEECH: hub_repositories.whisper(root / "whisper", tokenizer),
        GEMMA: hub_repositories.embeddinggemma(root / "gemma"),
        BGE_M3: hub_repositories.bge_m3(root / "bge-m3"),
        GGUF: gguf,
    }


@contextmanager
def hub_of(folders: dict[str, Path]) -> Iterator[Hub]:
    """Serve the hub at the node's address."""
    with Hub(folders).serving(NODE_ADDRESS) as hub:
        yield hub
