"""A container registry on the loopback interface: manifests, blobs with ranges, tokens."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

USER, PASSWORD = "user", "registry-password"
BASIC = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
LAYER = "application/vnd.oci.image.layer.v1.tar"


class Images:
    """What the registry holds; `private` images need tokens; each is valid for `uses` requests.

    The first response for a blob in `cut` ends after that many bytes.
    """

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.private = False
        self.uses = 1000
        self.cut: dict[str, int] = {}
        self.port = 0
        self.ranges: list[str] = []
        self.tokens: dict[str, int] = {}

    def blob(self, data: bytes) -> str:
        """Store a blob; its digest."""
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self.blobs[digest] = data
        return digest

    def manifest(self, tag: str, layers: list[dict[str, Any]]) -> str:
        """Store a manifest under a tag and its digest."""
        return self.put(tag, {"schemaVersion": 2, "layers": layers})

    def put(self, tag: str, manifest: Any) -> str:
        """Store any manifest; its digest."""
        body = json.dumps(manifest).encode()
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        self.manifests[tag] = self.manifests[digest] = body
        return digest

    def layer(self, data: bytes, kind: str = LAYER, title: str = "") -> dict[str, Any]:
        """Store a layer; its entry in a manifest."""
        entry: dict[str, Any] = {"mediaType": kind, "digest": self.blob(data), "size": len(data)}
        if title:
            entry["annotations"] = {"org.opencontainers.image.title": title}
        return entry


def archive(files: Mapping[str, bytes | str]) -> bytes:
    """A tar archive of files, and of symbolic links to texts."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                tar.addfile(member)
            else:
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return out.getvalue()


@contextmanager
def serving(images: Images) -> Iterator[Images]:
    """Serve the images, at `images.port`, while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/token":
                self._token()
            elif images.private and not self._allowed():
                realm = f"http://127.0.0.1:{images.port}/token"
                self._send(401, b"{}", {
                    "www-authenticate": f'Bearer realm="{realm}",service="r",scope="pull"'
                })  # fmt: skip
            elif "/manifests/" in path and (tag := path.rpartition("/")[2]) in images.manifests:
                self._send(200, images.manifests[tag])
            elif "/blobs/" in path and (digest := path.rpartition("/")[2]) in images.blobs:
                self._blob(digest)
            else:
                self._send(404, b"{}")

        def _token(self) -> None:
            if self.headers.get("authorization") != f"Basic {BASIC}":
                self._send(401, b"{}")
                return
            token = f"token-{len(images.tokens)}"
            images.tokens[token] = images.uses
            self._send(200, json.dumps({"token": token}).encode())

        def _allowed(self) -> bool:
            token = self.headers.get("authorization", "").removeprefix("Bearer ")
            left = images.tokens.get(token, 0)
            images.tokens[token] = left - 1
            return left > 0

        def _blob(self, digest: str) -> None:
            data, asked = images.blobs[digest], self.headers.get("range", "")
            begin = int(asked.removeprefix("bytes=").partition("-")[0]) if asked else 0
            if asked:
                images.ranges.append(asked)
            cut = images.cut.pop(digest, None)
            body = data[begin:cut]
            span = {"content-range": f"bytes {begin}-{len(data) - 1}/{len(data)}"} if asked else {}
            self._send(206 if asked else 200, body, span, len(data) - begin)
            if cut is not None:
                self.close_connection = True

        def _send(
            self, status: int, body: bytes, headers: Mapping[str, str] | None = None,
            length: int | None = None,
        ) -> None:  # fmt: skip
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body) if length is None else length))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Keep the output of tests short."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        images.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield images
        finally:
            server.shutdown()
            thread.join()
