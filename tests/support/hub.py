"""A fake Hugging Face hub: serves folders as repositories, over HTTP on the loopback.

Routes (huggingface.co/docs/hub/api): GET /api/models/<repo>/revision/<revision> lists files, GET
/<repo>/resolve/<revision>/<path> is a small file or a redirect to the location of a large one.
Large files (weights) are listed with their SHA-256 as the hub does for Git LFS, small ones with
git's blob id. Ranges are supported.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE = (
    ".safetensors", ".bin", ".onnx", ".onnx_data", ".pt", ".pth", ".h5", ".msgpack", ".gguf",
    ".model",
)  # fmt: skip


class Hub:
    """`repositories` are folders by id; repositories in `gated` require `token`.

    `requested_files` are the requested files as `<repo>/<path>` in order, `listed` the repositories
    whose files were listed.
    """

    def __init__(self, repositories: dict[str, Path]) -> None:
        self.repositories = repositories
        self.gated: set[str] = set()
        self.token = "hf_not-a-real-token"
        self.requested_files: list[str] = []
        self.listed: list[str] = []
        self.url = ""

    def fetched(self, repo: str) -> set[str]:
        """Paths of a repository that were requested."""
        prefix = f"{repo}/"
        return {
            path.removeprefix(prefix) for path in self.requested_files if path.startswith(prefix)
        }

    @contextmanager
    def serving(self, host: str = "127.0.0.1") -> Iterator[Hub]:
        """Serve at an address of this machine until the block ends."""
        handler = type("Handler", (_Handler,), {"hub": self})
        server = _Server((host, 0), handler)
        self.url = f"http://{host}:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients may disconnect during a response."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_GET(self) -> None:
        path = unquote(self.path.partition("?")[0])
        if path.startswith("/api/models/"):
            repo, _, revision = path.removeprefix("/api/models/").partition("/revision/")
            self._list(repo, revision)
            return
        large = path.startswith("/lfs/")
        repo, _, rest = path.removeprefix("/lfs" if large else "").strip("/").partition("/resolve/")
        revision, _, name = rest.partition("/")
        if (folder := self._folder(repo, revision)) is None:
            return
        if not (folder / name).is_file():
            self._error(404, "EntryNotFound")
        elif name.endswith(LARGE) and not large:
            self.send_response(302)
            self.send_header("location", f"{self.hub.url}/lfs{path}")
            self.send_header("content-length", "0")
            self.end_headers()
        else:
            self.hub.requested_files.append(f"{repo}/{name}")
            self._file(folder / name)

    def _folder(self, repo: str, revision: str) -> Path | None:
        """The repository's folder; None after an error response."""
        folder = self.hub.repositories.get(repo)
        if folder is None:
            self._error(401, "RepoNotFound")
            return None
        if repo in self.hub.gated and self.headers.get("authorization") != (
            f"Bearer {self.hub.token}"
        ):
            self._error(401, "GatedRepo")
            return None
        if revision not in ("main", COMMIT):
            self._error(404, "RevisionNotFound")
            return None
        return folder

    def _list(self, repo: str, revision: str) -> None:
        self.hub.listed.append(repo)
        if (folder := self._folder(repo, revision)) is None:
            return
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        siblings = [_sibling(path, path.relative_to(folder).as_posix()) for path in files]
        self._answer(json.dumps({"id": repo, "sha": COMMIT, "siblings": siblings}).encode())

    def _file(self, path: Path) -> None:
        body = path.read_bytes()
        begin = int(self.headers.get("range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        headers = {"etag": f'"{hashlib.sha256(body).hexdigest()}"', "x-repo-commit": COMMIT}
        if begin >= len(body) > 0:
            self._answer(b"", 416, {"content-range": f"bytes */{len(body)}"})
        elif begin:
            headers["content-range"] = f"bytes {begin}-{len(body) - 1}/{len(body)}"
            self._answer(body[begin:], 206, headers)
        else:
            self._answer(body, 200, headers)

    def _error(self, status: int, code: str) -> None:
        self._answer(b"", status, {"x-error-code": code})

    def _answer(
        self, body: bytes, status: int = 200, headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        """Log nothing."""


def _sibling(path: Path, name: str) -> dict[str, Any]:
    body = path.read_bytes()
    entry: dict[str, Any] = {"rfilename": name, "size": len(body)}
    blob = hashlib.sha1(b"blob %d\0" % len(body) + body, usedforsecurity=False).hexdigest()
    if not name.endswith(LARGE):
        return {**entry, "blobId": blob}
    sha256 = hashlib.sha256(body).hexdigest()
    large = {"sha256": sha256, "size": len(body), "pointerSize": 130}
    return {**entry, "blobId": blob, "lfs": large}
