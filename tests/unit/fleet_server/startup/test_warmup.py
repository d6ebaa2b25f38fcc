"""Warm-up of encoders with a context that is shorter than its text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from fleet_contract.spec import ModelSpec
from fleet_server.startup.warmup import warm

MAX_TOKENS = 5


class Encoder:
    """Refuses what is longer than its context, as engines do."""

    max_tokens = MAX_TOKENS

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        return [[1] * 14 for _ in texts]

    def tokenize_pairs(self, query: str, documents: Sequence[str]) -> list[list[int]]:
        return [[1] * 27 for _ in documents]

    def truncate(self, token_ids: Sequence[int]) -> list[int]:
        return list(token_ids[:MAX_TOKENS])

    truncate_pair = truncate

    def embed(self, batch: Sequence[Sequence[int]]) -> np.ndarray:
        if any(len(ids) > MAX_TOKENS for ids in batch):
            raise ValueError("too long")
        self.batches.append([len(ids) for ids in batch])
        return np.zeros((len(batch), 2), np.float32)

    score = embed


@pytest.mark.parametrize("task", ["embedding", "rerank"])
def test_inputs_are_cut_to_the_context(task: str, tmp_path: Path) -> None:
    model = Encoder()
    warm(ModelSpec.model_validate({"model": "a", "task": task, "warmup": {"batchSize": 2}}), model)
    assert model.batches[0] == [MAX_TOKENS] * 2
