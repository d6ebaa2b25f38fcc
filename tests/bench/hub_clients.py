"""Fetches a repository with fleet_weights and with huggingface_hub from a local hub.

In turns: time, CPU, peak memory and requests of a complete fetch. Then once each: the bytes fetched
after a killed process, a flipped bit, and a server with 1 kB/s.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MIB = 1 << 20
COMMIT = "0123456789abcdef0123456789abcdef01234567"
WEIGHTS = "model.safetensors"
OURS = """
from dataclasses import replace
from pathlib import Path
from fleet_contract.spec import ModelSpec
from fleet_weights.fetch import fetch
from fleet_weights.store import Store
from fleet_weights.transfer.retry_policy import RETRY_POLICY
policy = replace(RETRY_POLICY, window_seconds=5, attempts=2)
spec = ModelSpec(model="acme/m", source="hf://acme/m")
fetch(spec, Store(Path(sys.argv[1])), retry_policy=policy)
"""
LIBRARY = """
from huggingface_hub import snapshot_download
from huggingface_hub.utils import disable_progress_bars
disable_progress_bars()
snapshot_download("acme/m", local_dir=sys.argv[1], max_workers=4)
"""
CLIENTS = {"fleet_weights": OURS, "huggingface_hub": LIBRARY}
PROGRAM = """
import resource, sys, time
started = time.perf_counter()
{client}
used = resource.getrusage(resource.RUSAGE_SELF)
peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(time.perf_counter() - started, used.ru_utime + used.ru_stime, int(peak) / 1024)
"""


class Handler(BaseHTTPRequestHandler):
    """`files` of one repository; `cut`, `flip` and `slow` change how its weights are sent."""

    protocol_version = "HTTP/1.1"
    files: dict[str, bytes]
    requests: int
    sent: int
    cut: int
    flip: bool
    slow: bool
    reached: threading.Event

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        type(self).requests += 1
        path = self.path.partition("?")[0]
        if path.startswith("/api/models/"):
            entries = [self._entry(name, tree="/tree/" in path) for name in self.files]
            listing = {"id": "acme/m", "sha": COMMIT, "siblings": entries}
            body = json.dumps(entries if "/tree/" in path else listing).encode()
            self._head(200, len(body), {"content-type": "application/json"})
            self._write(body)
            return
        name = path.partition("/resolve/")[2].partition("/")[2]
        body = self.files[name]
        if self.flip and name == WEIGHTS:
            body = body[:1000] + bytes([body[1000] ^ 1]) + body[1001:]
        begin = int(self.headers.get("range", "bytes=0-")[len("bytes=") :].rstrip("-"))
        headers = {"etag": f'"{self._hash(name)}"', "x-repo-commit": COMMIT}
        if "range" in self.headers:
            headers["content-range"] = f"bytes {begin}-{len(body) - 1}/{len(body)}"
        self._head(206 if "range" in self.headers else 200, len(body) - begin, headers)
        if name != WEIGHTS:
            self._write(body[begin:])
        elif self.slow:
            for at in range(begin, len(body), 512):
                self._write(body[at : at + 512])
                time.sleep(0.5)
        elif self.cut and not begin:
            self._write(body[: self.cut])
            self.reached.set()
            time.sleep(30)
        else:
            self._write(body[begin:])

    def _head(self, status: int, length: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in {**headers, "content-length": str(length)}.items():
            self.send_header(key, value)
        self.end_headers()

    def _write(self, body: bytes) -> None:
        if self.command == "GET":
            self.wfile.write(body)
            type(self).sent += len(body)

    def _hash(self, name: str) -> str:
        body = self.files[name]
        if name == WEIGHTS:
            return hashlib.sha256(body).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(body) + body, usedforsecurity=False).hexdigest()

    def _entry(self, name: str, *, tree: bool) -> dict[str, Any]:
        size, found = len(self.files[name]), self._hash(name)
        large = {"sha256": found, "oid": found, "size": size, "pointerSize": 130}
        lfs = {"lfs": large} if name == WEIGHTS else {}
        if tree:
            return {"type": "file", "path": name, "size": size, "oid": found[:40], **lfs}
        return {"rfilename": name, "size": size, "blobId": found[:40], **lfs}

    def log_message(self, *arguments: Any) -> None:
        """Log nothing."""


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Killed clients close their connections."""


@contextmanager
def serving(size: int, **how: Any) -> Iterator[tuple[type[Handler], str]]:
    """A local hub with weights of `size` bytes and 12 small files."""
    small = {f"{number}_Pooling/config.json": b"{}" for number in range(10)}
    files = {
        WEIGHTS: os.urandom(MIB) * (size // MIB),
        "config.json": b"{}",
        "tokenizer.json": b"{}",
    }
    fields = {"files": files | small, "requests": 0, "sent": 0, "cut": 0, "flip": False}
    fields |= {"slow": False, "reached": threading.Event(), **how}
    handler = type("Made", (Handler,), fields)
    server = Server(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield handler, f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def start(client: str, url: str, folder: str) -> subprocess.Popen[str]:
    home = {"HF_HOME": f"{folder}/home", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_OFFLINE": "0"}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(client=CLIENTS[client]), f"{folder}/model"],
        env={**os.environ, **home, "HF_ENDPOINT": url}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def complete(client: str, size: int) -> None:
    with tempfile.TemporaryDirectory() as folder, serving(size) as (handler, url):
        output, errors = start(client, url, folder).communicate()
        seconds, cpu, peak = map(float, output.split() or [0, 0, 0])
        print(
            f"{client}: {seconds:.2f} s, CPU {cpu:.2f} s, peak {peak:.0f} MiB, "
            f"{handler.requests} requests {errors[-300:]}"
        )


def killed(client: str, size: int) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(size, cut=size * 3 // 4) as (handler, url),
    ):
        first = start(client, url, folder)
        handler.reached.wait(60)
        time.sleep(2)  # the client writes the bytes already in its socket
        first.kill()
        first.communicate()
        before, handler.cut = handler.sent, 0
        start(client, url, folder).communicate()
        print(f"{client}, killed at 75%: the next fetched {(handler.sent - before) / size:.0%}")


def damaged(client: str, size: int) -> None:
    with tempfile.TemporaryDirectory() as folder, serving(size, flip=True) as (_, url):
        process = start(client, url, folder)
        process.communicate()
        print(f"{client}, one bit flipped: {'refused' if process.returncode else 'accepted'}")


def slow(client: str, size: int) -> None:
    with tempfile.TemporaryDirectory() as folder, serving(size, slow=True) as (_, url):
        process, began = start(client, url, folder), time.monotonic()
        try:
            process.communicate(timeout=60)
            print(f"{client}, 1 kB/s: failed after {time.monotonic() - began:.0f} s")
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            print(f"{client}, 1 kB/s: still running after 60 s")


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__)
    parse.add_argument("--rounds", type=int, default=5)
    parse.add_argument("--mib", type=int, default=256)
    options = parse.parse_args()
    size = options.mib * MIB
    for _ in range(options.rounds):
        for client in CLIENTS:
            complete(client, size)
    for check in (killed, damaged, slow):
        for client in CLIENTS:
            check(client, size)


if __name__ == "__main__":
    main()
