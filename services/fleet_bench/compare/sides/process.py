"""A server as a child process: started on a free port, ready within the block, then stopped."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

import httpx

from fleet_bench.compare.errors import CannotCompare

START_SECONDS = 3600.0
"""The first start may fetch and convert weights."""
STOP_SECONDS = 20.0
POLL_SECONDS = 0.1
LOG_CHARS = 3000


@dataclass(frozen=True, slots=True)
class Running:
    url: str
    pid: int


@contextmanager
def running(
    name: str, command: Sequence[str], environ: Mapping[str, str], ready_path: str
) -> Iterator[Running]:
    """Start `command` with `--port` and wait until `ready_path` responds with 200.

    Raises CannotCompare with the end of its output if it ends first.
    """
    port = free_port()
    with tempfile.TemporaryFile("w+", errors="replace") as log:
        child = subprocess.Popen(  # noqa: S603  (fixed arguments, no shell)
            [*command, "--port", str(port)], env=dict(environ), stdin=subprocess.DEVNULL,
            stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            url = f"http://127.0.0.1:{port}"
            _await(name, child, url + ready_path, log)
            yield Running(url, child.pid)
        finally:
            _stop(child)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def _await(name: str, child: subprocess.Popen[bytes], url: str, log: IO[str]) -> None:
    deadline = time.monotonic() + START_SECONDS
    with httpx.Client(trust_env=False, timeout=5) as http:
        while time.monotonic() < deadline:
            if (status := child.poll()) is not None:
                log.seek(0)
                raise CannotCompare(
                    f"{name} ended with status {status} before it was ready:\n"
                    f"{log.read()[-LOG_CHARS:].strip()}"
                )
            with contextlib.suppress(httpx.HTTPError):
                if http.get(url).status_code == 200:
                    return
            time.sleep(POLL_SECONDS)
    raise CannotCompare(f"{name} was not ready after {START_SECONDS:.0f} s.")


def _stop(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
