"""Memory of a real child process."""

from __future__ import annotations

import asyncio
import sys

import psutil

from fleet_bench.compare.sides.memory import (
    Peak,
    watched,
)

MIB = 1024 * 1024


async def test_peak_memory_of_a_child() -> None:
    code = "held = bytearray(96 << 20); print('up', flush=True); input()"
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdin=pipe, stdout=pipe
    )
    assert child.stdout is not None
    await child.stdout.readline()
    peak = Peak()
    async with watched(child.pid, peak):
        pass
    expected = psutil.Process(child.pid).memory_info().rss
    await child.communicate(b"\n")
    assert abs(peak.most - expected) < 8 * MIB
    assert peak.most > 96 * MIB
