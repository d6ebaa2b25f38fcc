"""The models that two servers have in common."""

from __future__ import annotations

import pytest

from fleet_bench.compare.errors import CannotCompare
from fleet_bench.compare.listing import common, task_of

A = [{"id": "acme/chat", "task": "chat", "aliases": ["chat"]}, {"id": "acme/odd"}]
B = [{"id": "chat"}, {"id": "acme/rank", "task": "rerank"}]


def test_common_models_by_id_or_alias() -> None:
    assert common(A, B) == ["acme/chat"]
    with pytest.raises(CannotCompare, match="--b-model"):
        common(A[1:], B)


def test_the_task_of_a_listing_then_of_the_catalog() -> None:
    assert task_of("chat", [A, B], {}) == "chat"
    assert task_of("acme/odd", [A, B], {"acme/odd": "speech"}) == "speech"
    with pytest.raises(CannotCompare, match="--task"):
        task_of("acme/odd", [A, B], {})
    with pytest.raises(CannotCompare, match="rerank"):
        task_of("acme/rank", [A, B], {})
