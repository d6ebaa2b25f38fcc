"""Output of processes: bounded files, and a terminal with prefixes."""

from __future__ import annotations

import io
import os
import threading
from pathlib import Path

from rich.console import Console

from fleet_local.output.log_output import LogFile, LogTerminal


def test_a_file_of_an_earlier_run_is_renamed(tmp_path: Path) -> None:
    path = tmp_path / "run" / "router.log"
    for text in (b"first\n", b"second\n", b"third\n"):
        output = LogFile(path).open()
        os.write(output, text)
        os.close(output)
    assert path.read_text() == "third\n"
    assert path.with_name("router.log.1").read_text() == "second\n"


def test_restarts_add_to_one_file(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "a.log")
    assert log.tail() == []
    for number in range(3):
        output = log.open()
        os.write(output, b"line %d\n" % number)
        os.close(output)
    assert log.tail() == ["line 0", "line 1", "line 2"]


def test_a_file_above_the_limit_is_truncated_while_it_is_open(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "a.log", most=1000)
    output = log.open()
    os.write(output, b"x" * 999)
    log.trim()
    assert log.path.stat().st_size == 999
    os.write(output, b"yy\n")
    log.trim()
    os.write(output, b"after\n")
    os.close(output)
    assert log.path.read_bytes() == b"after\n"
    assert log.path.with_name("a.log.1").stat().st_size == 1002


def test_a_long_file_is_read_from_its_end_only(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "a.log")
    log.path.write_bytes(b"start\n" + b"y" * 1_000_000 + b"\nend \xff\n")
    tail = log.tail()
    assert tail[-1] == "end �"
    assert "start" not in tail


def test_lines_on_the_terminal_have_the_name_of_the_server() -> None:
    written = threading.Event()

    class Screen(io.StringIO):
        def write(self, text: str) -> int:
            length = super().write(text)
            if "two" in self.getvalue():
                written.set()
            return length

    screen = Screen()
    log = LogTerminal("chat", "cyan", Console(file=screen, width=20))
    output = log.open()
    os.write(output, b"one [bold] " + b"long " * 20 + b"\x1b[2J\ntwo\n")
    os.close(output)
    assert written.wait(10)
    lines = screen.getvalue().splitlines()
    assert lines[0].startswith("chat | one [bold] long")
    assert lines[0].endswith(r"\x1b[2J")
    assert lines[1] == "chat | two"
    assert log.tail()[1] == "two"
