"""HTTP stub servers on the addresses of simulated pods."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class HttpStub:
    """Responds to GET requests by path, with JSON or text, while the `with` block runs.

    `responses` maps a path to status and body, and can be changed at any time.
    """

    def __init__(self, address: str, port: int, responses: dict[str, tuple[int, Any]]) -> None:
        self.responses = responses
        self.requested_paths: list[str] = []
        self._server = ThreadingHTTPServer((address, port), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requested_paths.append(self.path)
                status, body = outer.responses.get(self.path, (404, {}))
                content = (body if isinstance(body, str) else json.dumps(body)).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        return Handler
