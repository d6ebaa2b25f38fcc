"""Starts the fake servers as a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("fake_servers.py")
ENVIRON = os.environ | {"PYTHONPATH": str(TESTS)}


@contextmanager
def running(
    folder: Path, minilm: Path | None = None
) -> Iterator[tuple[dict[str, Any], subprocess.Popen[bytes]]]:
    """Yield spec and port of each fake server by task, and their process.

    Its log in `folder` must contain no traceback. With `minilm`, the folder of the real model, only
    that one is served.
    """
    arguments = [folder] if minilm is None else [folder, minilm]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, str(SCRIPT), *map(str, arguments)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=ENVIRON,
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert line, (folder / "log").read_text()[-3000:]
            yield json.loads(line), process
            assert process.poll() is None, "the servers' process died"
            check_no_traceback(folder / "log")
        finally:
            process.terminate()
            process.stdin.close()
            process.wait(120)
            process.stdout.close()


def check_no_traceback(log: Path) -> None:
    """Raises AssertionError with the traceback if there is one."""
    text = log.read_text()
    assert "Traceback" not in text, text[max(0, text.index("Traceback") - 500) :][:5000]
