"""File servers on the loopback that fail on demand, and small wheels."""

from __future__ import annotations

import hashlib
import json
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from fleet_weights.transfer.retry_policy import RetryPolicy

FAST_RETRIES = RetryPolicy(
    connect_seconds=5, read_seconds=5, attempts=3, first_pause=0.01, longest_pause=0.02
)


@dataclass
class Answer:
    """The response for a path.

    With `break_after`, the connection is closed once after that many bytes; with `wait`, the rest
    is sent when that event is set instead.
    """

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    etag: str = ""
    ranges: bool = True
    break_after: int | None = None
    wait: threading.Event | None = None
    announce: int | None = None


@dataclass
class FileServer:
    """A server that responds with `answers`, by path without query.

    `seen` has the paths and headers of the requests, in order.
    """

    port: int
    answers: dict[str, Answer] = field(default_factory=dict)
    seen: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    reached: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def put(self, path: str, body: bytes = b"", **how: Any) -> str:
        self.answers[path] = Answer(body, **how)
        return self.url + path

    def headers(self, path: str) -> list[dict[str, str]]:
        return [headers for seen, headers in self.seen if seen == path]

    def put_repository(
        self, repo: str, files: dict[str, bytes], *, revision: str = "main", commit: str = "c0ffee"
    ) -> None:
        """Put the responses of a hub's repository; safetensors are large files (LFS)."""
        siblings = []
        for path, body in files.items():
            entry: dict[str, Any] = {"rfilename": path, "size": len(body)}
            if path.endswith((".safetensors", ".gguf", ".bin")):
                sha256 = hashlib.sha256(body).hexdigest()
                entry["lfs"] = {"sha256": sha256, "size": len(body), "pointerSize": 130}
            else:
                blob = hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest()
                entry["blobId"] = blob
            siblings.append(entry)
            etag = f'"{hashlib.sha256(body).hexdigest()}"'
            self.put(
                f"/{repo}/resolve/{commit}/{path}", body, etag=etag,
                headers={"x-repo-commit": commit},
            )  # fmt: skip
        listing = {"id": repo, "sha": commit, "siblings": siblings}
        self.put(f"/api/models/{repo}/revision/{revision}", json.dumps(listing).encode())
        tree = [_in_tree(entry) for entry in siblings]
        self.put(f"/api/models/{repo}/tree/{commit}", json.dumps(tree).encode())


def _in_tree(sibling: dict[str, Any]) -> dict[str, Any]:
    """The file's entry in the hub's tree listing, which `huggingface_hub` reads."""
    entry = {"type": "file", "path": sibling["rfilename"], "size": sibling["size"]}
    large = sibling.get("lfs")
    if large is None:
        return {**entry, "oid": sibling["blobId"]}
    lfs = {"oid": large["sha256"], "size": large["size"], "pointerSize": large["pointerSize"]}
    return {**entry, "oid": "0" * 40, "lfs": lfs}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    files: FileServer

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        headers = {key.lower(): value for key, value in self.headers.items()}
        self.files.seen.append((path, headers))
        answer = self.files.answers.get(path, Answer(b"nothing here", status=404))
        body, status, begin = answer.body, answer.status, 0
        wanted = headers.get("range", "")
        same = headers.get("if-range", answer.etag) == answer.etag
        if status == 200 and answer.ranges and wanted and same:
            begin = int(wanted.removeprefix("bytes=").rstrip("-"))
            status = 206 if begin < len(body) else 416
        self.send_response(status)
        for key, value in answer.headers.items():
            self.send_header(key, value)
        if answer.etag:
            self.send_header("etag", answer.etag)
        if status == 206:
            self.send_header("content-range", f"bytes {begin}-{len(body) - 1}/{len(body)}")
        if status == 416:
            self.send_header("content-range", f"bytes */{len(body)}")
            body = b""
        rest = body[begin:]
        announced = answer.announce if answer.announce is not None else len(rest)
        self.send_header("content-length", str(announced))
        self.end_headers()
        self._send(answer, rest)

    def do_HEAD(self) -> None:
        """Some clients of the hub send HEAD before a download."""
        answer = self.files.answers.get(self.path.partition("?")[0], Answer(status=404))
        self.send_response(answer.status)
        for key, value in {**answer.headers, "etag": answer.etag}.items():
            self.send_header(key, value)
        self.send_header("content-length", str(len(answer.body)))
        self.end_headers()

    def _send(self, answer: Answer, rest: bytes) -> None:
        if answer.break_after is None:
            self.wfile.write(rest)
            return
        self.wfile.write(rest[: answer.break_after])
        self.wfile.flush()
        sent, answer.break_after = answer.break_after, None
        self.files.reached.set()
        if answer.wait is None:
            self.close_connection = True
            return
        answer.wait.wait(30)
        self.wfile.write(rest[sent:])

    def log_message(self, *arguments: Any) -> None:
        """Log nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients of these tests disconnect in the middle of a response."""


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def new_server() -> Iterator[Callable[[], FileServer]]:
    """Start file servers, which are stopped after the test."""
    running: list[tuple[_Server, threading.Thread]] = []

    def start() -> FileServer:
        handler = type("Handler", (_Handler,), {})
        server = _Server(("127.0.0.1", 0), handler)
        files = FileServer(server.server_address[1])
        handler.files = files  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        running.append((server, thread))
        return files

    yield start
    for server, thread in running:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def server(new_server: Callable[[], FileServer]) -> FileServer:
    return new_server()


@pytest.fixture
def fast_retries() -> RetryPolicy:
    """Short delays and few attempts."""
    return FAST_RETRIES


@pytest.fixture
def make_wheel() -> Callable[..., Path]:
    """`make_wheel(folder, name, version, files)` writes a wheel that pip accepts."""

    def make(folder: Path, name: str, version: str, files: dict[str, bytes]) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        stem = f"{name.replace('-', '_')}-{version}"
        wheel = folder / f"{stem}-py3-none-any.whl"
        info = f"{stem}.dist-info"
        with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as out:
            for path, body in files.items():
                out.writestr(path, body)
            out.writestr(
                f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
            )
            out.writestr(
                f"{info}/WHEEL",
                "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            )
            names = [*files, f"{info}/METADATA", f"{info}/WHEEL", f"{info}/RECORD"]
            out.writestr(f"{info}/RECORD", "".join(f"{path},,\n" for path in names))
        return wheel

    return make
