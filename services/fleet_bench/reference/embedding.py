"""Embeddings with transformers: pooled, normalised hidden states, one padded batch a request."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fleet_bench.reference import checkpoint
from fleet_bench.reference.protocols import Unusable

KNOWN_MODULES = ("Transformer", "Pooling", "Normalize")


class TransformersEmbedding:
    """`pooling` is `cls`, `mean`, `last` or `auto` (`1_Pooling/config.json`, else mean).

    Longer texts are cut to `max_tokens`, by default the maximum of the tokenizer.
    """

    def __init__(
        self, path: Path, device: str, dtype: str, pooling: str, max_tokens: int | None
    ) -> None:
        from transformers import AutoModel, AutoTokenizer

        place, number_format = checkpoint.place(device, dtype)
        folder, plain = checkpoint.source(path)
        if more := further_modules(folder):
            raise Unusable(
                f"{path} has modules after its transformer that this reference lacks: "
                f"{', '.join(more)}"
            )
        self._tokenizer = AutoTokenizer.from_pretrained(folder, **plain)
        self._model = AutoModel.from_pretrained(folder, **checkpoint.weights(path, number_format))
        self._model = self._model.eval().to(place)
        self._pooling = stored_pooling(folder) if pooling == "auto" else pooling
        longest: int = self._tokenizer.model_max_length
        positions = getattr(self._model.config, "max_position_embeddings", longest)
        self._max_tokens = max_tokens or min(longest, positions)

    def embed(self, texts: Sequence[str]) -> tuple[list[list[float]], int]:
        import torch

        batch = self._tokenizer(
            list(texts), padding=True, truncation=True, max_length=self._max_tokens,
            return_tensors="pt",
        ).to(self._model.device)  # fmt: skip
        with torch.inference_mode():
            states = self._model(**batch).last_hidden_state
            mask = batch["attention_mask"]
            pooled = torch.nn.functional.normalize(self._pooled(states, mask).float(), dim=-1)
        return pooled.tolist(), int(mask.sum())

    def _pooled(self, states: Any, mask: Any) -> Any:
        import torch

        if self._pooling == "cls":
            return states[:, 0]
        if self._pooling == "last":
            places = torch.arange(mask.shape[1], device=mask.device)
            last = (mask * places).argmax(dim=1)
            return states[torch.arange(len(states), device=states.device), last]
        weights = mask.unsqueeze(-1).to(states.dtype)
        return (states * weights).sum(1) / weights.sum(1)


def stored_pooling(folder: Path) -> str:
    """The pooling that sentence-transformers stores in a folder; `mean` by default."""
    try:
        stored = json.loads((folder / "1_Pooling" / "config.json").read_text())
    except (OSError, ValueError):
        return "mean"
    if stored.get("pooling_mode_cls_token"):
        return "cls"
    return "last" if stored.get("pooling_mode_lasttoken") else "mean"


def further_modules(folder: Path) -> list[str]:
    """Modules of sentence-transformers' `modules.json` beyond transformer, pooling and norm."""
    try:
        modules = json.loads((folder / "modules.json").read_text())
    except (OSError, ValueError):
        return []
    names = [str(module["type"]).rpartition(".")[2] for module in modules]
    return [name for name in names if name not in KNOWN_MODULES]
