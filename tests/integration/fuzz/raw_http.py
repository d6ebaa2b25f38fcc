"""Sends raw bytes and checks the response."""

from __future__ import annotations

import http.client
import io
import json
import re
import socket
from dataclasses import dataclass
from typing import Any

TIMEOUT_SECONDS = 60.0
"""Seconds without a byte that count as a hang; a busy machine is slow."""
ERROR_STATUSES = frozenset({400, 404, 405, 408, 413, 429, 431})
"""Allowed statuses of errors while all servers are healthy."""
ERROR_TYPES = (
    "invalid_request_error", "rate_limit_error", "permission_error",
    # of Anthropic's errors
    "not_found_error", "request_too_large",
)  # fmt: skip
MAX_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete response."""

    status: int
    headers: dict[str, str]
    body: bytes


class _ReceivedBytes(io.BytesIO):
    """Received bytes as a socket for http.client."""

    def makefile(self, *_: Any) -> _ReceivedBytes:
        return self


def exchange(port: int, raw: bytes, *, leave: bool = False, method: str = "POST") -> Answer | None:
    """Send the bytes and return the response, None if the connection was closed without a byte.

    The request must contain `connection: close`, or `leave` shuts down the sending side after it.
    Raises TimeoutError for a hang, http.client.HTTPException for a truncated response.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_SECONDS) as sock:
        received = bytearray()
        try:
            sock.sendall(raw)
            if leave:
                sock.shutdown(socket.SHUT_WR)
        except TimeoutError:
            raise
        except OSError:
            pass  # rejected while it was sent; the response may have arrived
        try:
            while piece := sock.recv(65536):
                received += piece
                assert len(received) < MAX_BYTES, "an endless response"
        except ConnectionResetError:
            pass
    if not received:
        return None
    response = http.client.HTTPResponse(_ReceivedBytes(bytes(received)), method=method)  # type: ignore[arg-type]
    response.begin()
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, headers, response.read())


def check(answer: Answer | None, statuses: frozenset[int] = ERROR_STATUSES) -> None:
    """Check for a valid response or an error in OpenAI's shape. Raises AssertionError."""
    assert answer is not None, "closed without a response"
    kind = answer.headers.get("content-type", "")
    if answer.status == 200:
        if kind.startswith("application/json"):
            strict(answer.body)
        elif kind.startswith("text/event-stream"):
            assert answer.body.endswith(b"\n\n")
            assert find_error(answer.body) is None
        return
    assert answer.status in statuses, (answer.status, answer.body[:500])
    assert kind.startswith("application/json"), (kind, answer.body[:500])
    found = strict(answer.body)
    assert isinstance(found, dict), found
    # Anthropic's errors, on its paths, have a type besides.
    assert set(found) - {"type"} == {"error"}, found
    assert found.get("type", "error") == "error", found
    error = found["error"]
    assert set(error) - {"details"} == {"message", "type", "param", "code"}, error
    assert isinstance(error["message"], str), error
    assert error["message"], error
    assert len(error["message"]) < 10_000, "a message that repeats the request"
    assert error["type"] in ERROR_TYPES, error
    assert error["param"] is None or isinstance(error["param"], str), error
    assert "Traceback" not in error["message"]


def find_error(stream: bytes) -> re.Match[bytes] | None:
    """Match of an error object in the events of a stream; null is none."""
    return re.search(rb'"error":\s*\{', stream)


def strict(raw: bytes) -> Any:
    """Parse JSON without Python's extensions, in UTF-8 without unpaired surrogates."""
    found = json.loads(raw.decode("utf-8"), parse_constant=_reject_constant)
    json.dumps(found, ensure_ascii=False).encode("utf-8")
    return found


def _reject_constant(word: str) -> Any:
    raise AssertionError(f"{word} is not JSON")


def post(path: str, body: bytes, content_type: str = "application/json") -> bytes:
    """A POST request with `connection: close`."""
    head = (
        f"POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n"
        f"content-type: {content_type}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
