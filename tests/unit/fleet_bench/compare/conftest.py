"""Outcomes for tests of reports and plots."""

from __future__ import annotations

import pytest

from fleet_bench.compare.results.outcome import ComparedFigure, Fact, ModelComparison, Rounds

CHAT = ModelComparison(
    "acme/chat", "chat", "transformers", "modelfleet, openvino (cpu)", 8, 1,
    (
        ComparedFigure("tokens generated", "/s", True, Rounds((20, 24, 22)), Rounds((60, 80, 66))),
        ComparedFigure("first token, p50", "ms", False, Rounds((90, 110, 100)),
                       Rounds((30, 40, 50))),
        ComparedFigure("peak memory", "MiB", False, Rounds((1234.5,)), Rounds((512,))),
    ),
    (Fact("equal outputs", 0.875, "7 of 8"), Fact("equal leading tokens", 0.98, "98.0%")),
)  # fmt: skip
EMBEDDING = ModelComparison(
    "acme/embedding", "embedding", "http://a:1", "http://b:2", 20, 4,
    (ComparedFigure("inputs embedded", "/s", True, Rounds((100, 100)), Rounds((150, 250))),),
    (Fact("cosine, minimum", 0.999991, "0.999991"),),
)  # fmt: skip


@pytest.fixture
def outcomes() -> list[ModelComparison]:
    """One of a chat model, one of an embedding model."""
    return [CHAT, EMBEDDING]
