"""Bytes that request bodies may take at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet_contract.errors import QueueFull
from fleet_router.request.byte_budget import MAX_MEMORY_BYTES, ByteBudget, memory_limit


def test_bodies_held_at_once_are_bounded() -> None:
    memory = ByteBudget(100)
    memory.acquire(60)
    with pytest.raises(QueueFull):
        memory.acquire(41)
    memory.acquire(40)
    memory.release(60)
    memory.acquire(60)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("memory.max", "max\n", MAX_MEMORY_BYTES),
        ("memory.max", "268435456\n", 107_374_182),
        ("memory.max", "99999999999\n", MAX_MEMORY_BYTES),
        ("memory/memory.limit_in_bytes", "100\n", 40),
        ("none", "", MAX_MEMORY_BYTES),
    ],
)
def test_the_bound_is_a_part_of_the_containers_memory(
    tmp_path: Path, name: str, text: str, expected: int
) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    assert memory_limit(tmp_path) == expected
