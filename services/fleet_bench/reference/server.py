"""A loopback HTTP server for one reference model, with the standard library alone.

Each connection has a thread; the model computes one request at a time.
"""

from __future__ import annotations

import email.message
import email.parser
import email.policy
import json
import threading
import traceback
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from fleet_bench.reference import routes

MAX_BODY_BYTES = 256 * 1024 * 1024


class Handler(BaseHTTPRequestHandler):
    """`model`, `name` and `lock` are set on a subclass."""

    protocol_version = "HTTP/1.1"
    model: Any
    name: str
    lock: threading.Lock

    def do_GET(self) -> None:
        if self.path == "/v1/models":
            self._send_json({"object": "list", "data": [{"id": self.name, "object": "model"}]})
        else:
            self._send_json({"status": "ok"} if self.path == "/health" else None)

    def do_POST(self) -> None:
        size = int(self.headers.get("content-length") or 0)
        if size > MAX_BODY_BYTES:
            self.close_connection = True
            self._error(413, "the body is too large")
            return
        raw = self.rfile.read(size)
        try:
            with self.lock:
                self._respond(raw)
        except (ValueError, KeyError, TypeError) as error:
            traceback.print_exc()
            self._error(400, f"{type(error).__name__}: {error}")
        except OSError:  # the client disconnected
            self.close_connection = True

    def _respond(self, raw: bytes) -> None:
        match self.path:
            case "/v1/chat/completions" if (request := json.loads(raw)).get("stream"):
                self._stream(routes.chat_events(self.model, request))
            case "/v1/chat/completions":
                self._send_json(routes.chat(self.model, json.loads(raw)))
            case "/v1/embeddings":
                self._send_json(routes.embeddings(self.model, json.loads(raw)))
            case "/tokenize":
                self._send_json(routes.tokenize(self.model, json.loads(raw)))
            case "/v1/audio/transcriptions" | "/v1/audio/translations":
                given = form(self.headers["content-type"], raw)
                translate = self.path.endswith("translations")
                self._send_json(routes.speech(self.model, given, translate))
            case _:
                self._send_json(None)

    def _send_json(self, body: Any, status: int = 200) -> None:
        if body is None:
            body, status = {"error": {"message": "no such path", "type": "not_found"}}, 404
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _error(self, status: int, message: str) -> None:
        self._send_json({"error": {"message": message, "type": "invalid_request_error"}}, status)

    def _stream(self, events: Iterable[Any]) -> None:
        chunks = (json.dumps(event).encode() for event in events)
        try:
            first = next(iter(chunks))  # a bad request still gets a plain 400
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            self._event(first)
            for chunk in chunks:
                self._event(chunk)
            self._event(b"[DONE]")
            self.wfile.write(b"0\r\n\r\n")
        finally:
            chunks.close()

    def _event(self, data: bytes) -> None:
        line = b"data: " + data + b"\n\n"
        self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (its name there)
        """Requests are not logged."""


def form(content_type: str, raw: bytes) -> dict[str, Any]:
    """Fields of a multipart body: `file` as bytes, the others as text."""
    head = f"content-type: {content_type}\r\n\r\n".encode()
    parsed = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + raw)
    fields: dict[str, Any] = {}
    for part in parsed.iter_parts() if isinstance(parsed, email.message.EmailMessage) else ():
        name = part.get_param("name", header="content-disposition")
        value = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(value, bytes):
            fields[name] = value if name == "file" else value.decode()
    return fields


def serve(model: Any, name: str, port: int) -> ThreadingHTTPServer:
    """A server of `model`, bound and not yet running; port 0 picks a free one."""
    made = type("Bound", (Handler,), {"model": model, "name": name, "lock": threading.Lock()})
    server = ThreadingHTTPServer(("127.0.0.1", port), made)
    server.daemon_threads = True
    return server
