"""Memory of a process tree: the sum of fixed values, and of a real child process."""

from __future__ import annotations

import psutil

from fleet_bench.compare.sides.memory import (
    Peak,
    ProcessMemory,
    _from_proc,
    _from_ps,
    processes,
    tree_bytes,
    watched,
)

MIB = 1024 * 1024


def test_a_tree_is_the_process_and_its_descendants() -> None:
    found = [
        ProcessMemory(1, 0, 100), ProcessMemory(2, 1, 10), ProcessMemory(3, 2, 5),
        ProcessMemory(4, 1, 1), ProcessMemory(5, 99, 1000),
    ]  # fmt: skip
    assert tree_bytes(2, found) == 15
    assert tree_bytes(1, found) == 116
    assert tree_bytes(77, found) == 0


def test_a_process_that_is_its_own_parent_ends() -> None:
    assert tree_bytes(0, [ProcessMemory(0, 0, 7)]) == 7


async def test_without_a_process_there_is_no_peak() -> None:
    peak = Peak()
    async with watched(None, peak):
        pass
    assert peak.most == 0


def test_proc_and_ps_agree() -> None:
    assert processes()
    from_proc, from_ps = ({p.pid: p for p in found} for found in (_from_proc(), _from_ps()))
    own = psutil.Process()
    for found in (from_proc[own.pid], from_ps[own.pid]):
        assert found.parent == own.ppid()
        assert abs(found.resident - own.memory_info().rss) < 8 * MIB
