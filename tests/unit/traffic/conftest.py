"""A server on a real socket with the API of OpenAI, or with errors that a test selects."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

Json = dict[str, Any]


def chunk(identity: str = "a", text: str | None = None, finish: str | None = None) -> Json:
    return {"id": identity, "choices": [{"index": 0, "delta": {"content": text},
                                         "finish_reason": finish}]}  # fmt: skip


USAGE: Json = {"id": "a", "choices": [], "usage": {"completion_tokens": 2}}
STREAM: list[Any] = [chunk(text="The capital"), chunk(text=" is Paris."), chunk(finish="stop"),
                     USAGE, "[DONE]"]  # fmt: skip
VECTOR = [0.6, 0.8]


def chat() -> Json:
    return {
        "choices": [{"message": {"content": "It is Paris."}, "finish_reason": "length"}],
        "usage": {"completion_tokens": 4},
    }


def vectors(*vectors: list[float]) -> Json:
    return {"data": [{"index": n, "embedding": vector} for n, vector in enumerate(vectors)]}


@dataclass
class Behaviour:
    """The following responses of the stub."""

    stream: list[Any] = field(default_factory=lambda: list(STREAM))
    chat: Json = field(default_factory=chat)
    embeddings: Json = field(default_factory=lambda: vectors(VECTOR, VECTOR))
    speech: Json = field(default_factory=lambda: {"text": "The capital of France."})
    status: int = 200
    error: Json = field(default_factory=dict)
    cut: bool = False
    """Close before the declared end."""
    identity: str = ""
    """The request id in the response, where not the client's."""
    gate: threading.Event | None = None
    bodies: list[bytes] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    how: Behaviour

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.how.bodies.append(body)
        self.how.hosts.add(self.headers["host"])
        if self.how.gate is not None:
            self.how.gate.wait()
        if self.how.status != 200:
            self._send("application/json", json.dumps(self.how.error).encode(), self.how.status)
        elif self.path == "/v1/embeddings":
            self._json(self.how.embeddings)
        elif self.path == "/v1/audio/transcriptions":
            self._json(self.how.speech)
        elif b'"stream"' in body:
            self._send("text/event-stream", b"".join(map(event, self.how.stream)))
        else:
            self._json(self.how.chat)

    def _json(self, body: Json) -> None:
        self._send("application/json", json.dumps(body).encode())

    def _send(self, kind: str, body: bytes, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body) + self.how.cut))
        self.send_header("x-request-id", self.how.identity or self.headers["x-request-id"])
        self.send_header("x-modelfleet-endpoint", "stub-0")
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = self.how.cut

    def log_message(self, *_: Any) -> None:
        """Logs nothing."""


def event(data: Any) -> bytes:
    return b"data: %b\n\n" % (data if isinstance(data, str) else json.dumps(data)).encode()


@dataclass
class Stub:
    url: str
    how: Behaviour


@pytest.fixture
def stub() -> Iterator[Stub]:
    how = Behaviour()
    handler = type("Handler", (Handler,), {"how": how})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield Stub(f"http://127.0.0.1:{server.server_address[1]}", how)
    if how.gate is not None:
        how.gate.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def piece() -> Callable[..., Json]:
    """An event of a chat stream."""
    return chunk


@pytest.fixture
def embedded() -> Callable[..., Json]:
    """An embeddings response with vectors."""
    return vectors
