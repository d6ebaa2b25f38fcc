"""Memory that is given back to the kernel."""

from __future__ import annotations

import gc
import mmap
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import pytest

from fleet_server import memory

SIZE = 64 * mmap.PAGESIZE


def resident(path: Path) -> int:
    """Resident KiB of the mappings of `path` in this process."""
    found, within = 0, False
    for line in memory.MAPS.read_text().splitlines():
        if line.endswith(str(path)):
            within = True
        elif within and line.startswith("Rss:"):
            found, within = found + int(line.split()[1]), False
    return found


@pytest.mark.skipif(not memory.MAPS.exists(), reason="the system has no /proc")
def test_read_pages_of_mapped_weights_are_dropped_and_written_ones_kept(tmp_path: Path) -> None:
    contents = bytes(range(256)) * (SIZE // 256)
    inside, outside, changed = (tmp_path / "a" / "w", tmp_path / "ab", tmp_path / "a" / "x")
    inside.parent.mkdir()
    for path in (inside, outside, changed):
        path.write_bytes(contents)
    maps = []
    for path in (inside, outside, changed):
        with path.open("rb") as file:
            maps.append(mmap.mmap(file.fileno(), SIZE, access=mmap.ACCESS_COPY))
    maps[2][5] = 0
    assert all(bytes(each[6:]) == contents[6:] for each in maps)
    assert memory.release_files(tmp_path / "a") == SIZE
    assert (resident(inside), resident(outside)) == (0, SIZE // 1024)
    assert bytes(maps[0]) == contents
    assert maps[2][5] == 0


@pytest.mark.skipif(not memory.MAPS.exists(), reason="the system has no /proc")
def test_pages_are_not_dropped_while_files_are_unmapped(tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(bytes(SIZE))
    with (tmp_path / "w").open("rb") as file:
        mapped = mmap.mmap(file.fileno(), SIZE, access=mmap.ACCESS_READ)
    assert bytes(mapped) == bytes(SIZE)
    dropped: list[int] = []
    thread = threading.Thread(target=lambda: dropped.append(memory.release_files(tmp_path)))
    with memory.unmapping:
        thread.start()
        thread.join(0.2)
        assert not dropped
        mapped.close()
    thread.join()
    assert dropped == [0]


def test_memory_is_given_back_without_proc(tmp_path: Path) -> None:
    assert memory.release_files(tmp_path, tmp_path / "smaps") == 0
    memory.trim()
    assert memory.resident_bytes() > 1 << 20


CHILD = """
import subprocess, sys
if sys.argv[1] == "parent":
    held = subprocess.Popen([sys.executable, "-c", sys.argv[2], "child", ""], stdin=0, stdout=1)
    held.wait()
else:
    held = bytearray(b"1") * (64 << 20)
    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(not memory.MAPS.exists(), reason="the system has no /proc")
def test_the_memory_of_descendants_counts() -> None:
    command = [sys.executable, "-c", CHILD, "parent", CHILD]
    alone = memory.family_bytes()
    assert alone >= memory.resident_bytes() * 0.9
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"ready\n"
        assert memory.family_bytes() > alone + (64 << 20)
    assert memory.family_bytes() < alone + (32 << 20)


def test_objects_of_start_up_are_not_examined_again() -> None:
    class Node:
        itself: Node

    unused = Node()
    unused.itself = unused
    gone, kept = weakref.ref(unused), [[]]
    del unused
    try:
        memory.freeze_objects()
        assert gone() is None
        assert not any(each is kept for each in gc.get_objects())
    finally:
        gc.unfreeze()
