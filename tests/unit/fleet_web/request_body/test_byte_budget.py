"""The bytes of concurrent request bodies, of all callers and of one."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet_contract.errors import QueueFull, TooLarge
from fleet_web.request_body.byte_budget import (
    CALLER_SHARE,
    MAX_MEMORY_BYTES,
    ByteBudget,
    memory_limit,
)


def test_bodies_held_at_once_are_bounded() -> None:
    memory = ByteBudget(100)
    one, other = memory.reserve("a"), memory.reserve("b")
    one.acquire(60)
    with pytest.raises(QueueFull, match="100 bytes for all"):
        other.acquire(41)
    assert not other.try_acquire(41)
    other.acquire(40)
    one.free(10)
    other.acquire(10)
    one.release()
    one.release()
    assert memory.left == 50
    other.release()
    assert memory.left == 100


def test_a_caller_with_several_requests_gets_its_share() -> None:
    memory = ByteBudget(100)
    share = int(100 * CALLER_SHARE)
    first, second = memory.reserve("a"), memory.reserve("a")
    first.acquire(share - 5)
    second.acquire(5)
    with pytest.raises(QueueFull, match=f"one caller may have {share} bytes"):
        second.acquire(1)
    other = memory.reserve("b")
    other.acquire(share)
    second.release()
    second = memory.reserve("a")
    assert second.try_acquire(5)
    assert not second.try_acquire(1)


def test_a_single_request_may_be_larger_than_the_share() -> None:
    memory = ByteBudget(100)
    only = memory.reserve("a")
    only.acquire(90)
    second = memory.reserve("a")
    assert not second.try_acquire(1)
    only.release()
    assert second.try_acquire(90)


def test_a_request_that_can_never_fit_is_too_large() -> None:
    memory = ByteBudget(100)
    only, other = memory.reserve("a"), memory.reserve("b")
    only.acquire(60)
    with pytest.raises(TooLarge, match="more than the 100 bytes"):
        only.acquire(41)
    with pytest.raises(TooLarge):
        other.acquire(101)
    assert (only.size, memory.left) == (60, 40)


def test_callers_without_requests_are_removed() -> None:
    memory = ByteBudget(100)
    for number in range(1000):
        memory.reserve(str(number)).release()
    assert not memory._callers


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
    assert memory_limit(0.4, tmp_path) == expected
