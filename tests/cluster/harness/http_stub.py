"""HTTP stub servers on the addresses of simulated pods."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class HttpStub:
    """Responds to GET and POST requests by path, with JSON or text, while the `with` block runs.

    `responses` maps a path to status and body, `delays` to the seconds before them; both can be
    changed at any time.
    """

    def __init__(self, address: str, port: int, responses: dict[str, tuple[int, Any]]) -> None:
        self.responses = responses
        self.delays: dict[str, float] = {}
        self.requested_paths: list[str] = []
        self._closing = threading.Event()
        self._server = ThreadingHTTPServer((address, port), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                self.do_GET()

            def do_GET(self) -> None:
                outer.requested_paths.append(self.path)
                outer._closing.wait(outer.delays.get(self.path, 0.0))
                status, body = outer.responses.get(self.path, (404, {}))
                content = (body if isinstance(body, str) else json.dumps(body)).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        return Handler
