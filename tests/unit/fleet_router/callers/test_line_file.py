"""Whole lines in a file that others rotate, append to and fill the disk of."""

from __future__ import annotations

import errno
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fleet_router.callers import line_file
from fleet_router.callers.line_file import OLD_FILES, LineFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "usage.jsonl"


def test_lines_are_appended_to_what_is_there(path: Path) -> None:
    path.write_bytes(b"old\n")
    file = LineFile(path)
    file.append([b"a\n", b"b\n"])
    file.close()
    file.close()
    assert path.read_bytes() == b"old\na\nb\n"


def test_a_new_file_is_not_readable_by_others(path: Path) -> None:
    LineFile(path).close()
    assert path.stat().st_mode & 0o007 == 0


@pytest.mark.parametrize("how", ["rename", "unlink", "stale"])
def test_a_file_that_was_moved_away_is_opened_again(path: Path, how: str) -> None:
    file = LineFile(path)
    file.append([b"a\n"])
    if how == "unlink":
        path.unlink()
    else:
        path.rename(path.with_name("moved"))
    file.stale = how == "stale"
    file.append([b"b\n"])
    assert path.read_bytes() == b"b\n"
    file.close()


def test_a_stale_file_is_opened_again_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where its inode does not show that it was moved, as on some network file systems."""
    monkeypatch.setattr(LineFile, "_is_current", lambda file: True)
    file = LineFile(path)
    path.rename(path.with_name("moved"))
    file.append([b"a\n"])
    assert not path.exists()
    file.stale = True
    file.append([b"b\n"])
    path.rename(path.with_name("second"))
    file.append([b"c\n"])
    assert not path.exists()
    assert path.with_name("second").read_bytes() == b"b\nc\n"
    file.close()


def test_a_full_file_is_rotated_and_the_oldest_is_dropped(path: Path) -> None:
    file = LineFile(path, max_bytes=4)
    for number in range(OLD_FILES + 4):
        file.append([b"%03d\n" % number])
    names = [path, *(path.with_name(f"usage.jsonl.{n}") for n in range(1, OLD_FILES + 1))]
    last = OLD_FILES + 3
    assert [int(name.read_bytes()) for name in names] == list(range(last, last - 10, -1))
    assert len(list(path.parent.iterdir())) == OLD_FILES + 1
    file.close()


def test_a_rotation_is_followed_by_both_of_two_writers(path: Path) -> None:
    one, two = LineFile(path, max_bytes=4), LineFile(path, max_bytes=4)
    one.append([b"aaa\n"])
    one.append([b"b\n"])
    two.append([b"c\n"])
    assert path.read_bytes() == b"b\nc\n"
    assert path.with_name("usage.jsonl.1").read_bytes() == b"aaa\n"
    one.close()
    two.close()


@contextmanager
def small_disk() -> Iterator[None]:
    """Files of this process have at most 100 bytes, as on a full disk: the write that exceeds
    them is short, and the next fails. No fixture, since pytest's output may be a longer file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


def test_on_a_full_disk_no_part_of_a_line_stays(path: Path) -> None:
    file = LineFile(path)
    with small_disk():
        file.append([b"x" * 59 + b"\n"])
        with pytest.raises(OSError, match="too large"):
            file.append([b"y" * 59 + b"\n"])
        assert path.read_bytes() == b"x" * 59 + b"\n"
        file.append([b"z" * 9 + b"\n"])
    assert path.read_bytes().endswith(b"x\nzzzzzzzzz\n")
    file.close()


def test_a_short_write_is_continued(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(line_file.os, "write", lambda file, data: write(file, data[:3]))
    file = LineFile(path)
    file.append([b"a long line\n"])
    assert path.read_bytes() == b"a long line\n"
    file.close()


def test_a_file_system_without_locks_is_used_without(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(line_file.fcntl, "flock", flock)
    file = LineFile(path)
    file.append([b"a\n"])
    assert path.read_bytes() == b"a\n"
    file.close()
