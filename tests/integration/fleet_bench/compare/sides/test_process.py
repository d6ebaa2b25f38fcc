"""Server processes: start, stop and early exit."""

from __future__ import annotations

import sys

import httpx
import psutil
import pytest

from fleet_bench.compare.errors import CannotCompare
from fleet_bench.compare.sides.process import running

SERVE = (
    "import sys; from http.server import HTTPServer, SimpleHTTPRequestHandler as Handler; "
    "HTTPServer(('127.0.0.1', int(sys.argv[-1])), Handler).serve_forever()"
)


def test_start_and_stop() -> None:
    with running("it", [sys.executable, "-c", SERVE], {}, "/") as server:
        assert httpx.get(server.url, trust_env=False).status_code == 200
        child = psutil.Process(server.pid)
    assert not child.is_running()


def test_the_error_of_an_exited_server_has_its_output() -> None:
    command = [sys.executable, "-c", "import sys; print('no weights'); sys.exit(3)"]
    with pytest.raises(CannotCompare, match=r"(?s)it ended with status 3.*no weights"):
        running("it", command, {}, "/").__enter__()
