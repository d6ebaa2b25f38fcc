"""The torch engine: chat, vision, embeddings, rerank and Whisper through Hugging Face transformers.

The only package that imports torch. Nothing is fetched or executed from a repository: local
safetensors and GGUF files only, no remote code, no pickles. The engines are imported lazily.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

# huggingface_hub reads these when it is imported.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
# Progress bars would end up in the log.
os.environ.setdefault("TQDM_DISABLE", "1")

if TYPE_CHECKING:
    from fleet_server.engines.torch.chat import TorchChat
    from fleet_server.engines.torch.embedding import TorchEmbedding
    from fleet_server.engines.torch.rerank import TorchRerank
    from fleet_server.engines.torch.speech import TorchSpeech

__all__ = ["TorchChat", "TorchEmbedding", "TorchRerank", "TorchSpeech"]

_HOMES = {
    "TorchChat": "chat",
    "TorchEmbedding": "embedding",
    "TorchRerank": "rerank",
    "TorchSpeech": "speech",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
