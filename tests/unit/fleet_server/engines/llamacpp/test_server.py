"""The task that wakes llama.cpp, with servers that do not notice it at once."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
import xllamacpp

from fleet_server.engines.llamacpp.server import TASK, Connection, Refused, files_read, make_task


class Loop(socketserver.ThreadingUnixStreamServer):
    """Responds to all requests once there are `enough`, as a loop that wakes does."""

    daemon_threads = True

    def __init__(self, path: Path, enough: int, status: int) -> None:
        super().__init__(str(path), Task)
        self.woken = threading.Barrier(enough)
        self.status = status
        self.paths: list[str] = []


class Task(BaseHTTPRequestHandler):
    server: Loop

    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        self.server.woken.wait()
        self.send_response(self.server.status)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"[]")

    def log_message(self, *_: object) -> None: ...


@contextmanager
def served(folder: Path, enough: int, status: int = 200) -> Iterator[Loop]:
    with Loop(folder / "s", enough, status) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield server
        server.shutdown()


def opened(folder: Path) -> Connection:
    connection = Connection(str(folder / "s"))
    connection.connect()
    return connection


@pytest.mark.parametrize("enough", [1, 3])
def test_a_task_is_made_again_until_it_is_done(tmp_path: Path, enough: int) -> None:
    with served(tmp_path, enough) as server:
        make_task(lambda: opened(tmp_path), noticed=0.05 if enough > 1 else 60)
    assert len(server.paths) >= enough
    assert set(server.paths) == {TASK}


def test_a_refused_task_is_an_error(tmp_path: Path) -> None:
    with served(tmp_path, 1, 503), pytest.raises(Refused):
        make_task(lambda: opened(tmp_path))


def test_the_files_that_a_server_reads_again(tmp_path: Path) -> None:
    params = xllamacpp.CommonParams()
    params.model.path = str(tmp_path / "m-00001-of-00002.gguf")
    params.mmproj.path = str(tmp_path / "mmproj.gguf")
    params.speculative.draft.mparams.path = str(tmp_path / "draft.gguf")
    adapter = xllamacpp.CommonAdapterLoraInfo()
    adapter.path = str(tmp_path / "adapter.gguf")
    params.lora_adapters = [adapter]
    assert [str(path.relative_to(tmp_path)) for path in files_read(params)] == [
        "m-00001-of-00002.gguf", "m-00002-of-00002.gguf", "mmproj.gguf", "draft.gguf",
        "adapter.gguf",
    ]  # fmt: skip
