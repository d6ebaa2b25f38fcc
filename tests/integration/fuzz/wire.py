"""Sends bytes as they are and judges what comes back; used by every test of this folder."""

from __future__ import annotations

import http.client
import io
import json
import re
import socket
from dataclasses import dataclass
from typing import Any

PATIENCE = 60.0
"""Seconds without a byte that count as a hang; a busy machine is slow."""
REFUSALS = frozenset({400, 404, 405, 408, 413, 429, 431})
"""What a request may be refused with while every server is well."""
MOST_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer; `closed` None means that the connection was closed without one."""

    status: int
    headers: dict[str, str]
    body: bytes


class _Kept(io.BytesIO):
    """What a socket gave, for http.client to read."""

    def makefile(self, *_: Any) -> _Kept:
        return self


def exchange(port: int, raw: bytes, *, leave: bool = False, method: str = "POST") -> Answer | None:
    """The answer to the bytes, None where the connection was closed without a byte.

    The request must ask for the connection to be closed, or `leave` has this client say that it
    sends no more. Raises TimeoutError for a hang, http.client.HTTPException for half an answer.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as sock:
        received = bytearray()
        try:
            sock.sendall(raw)
            if leave:
                sock.shutdown(socket.SHUT_WR)
        except TimeoutError:
            raise
        except OSError:
            pass  # refused while it was sent; the answer may have come
        try:
            while piece := sock.recv(65536):
                received += piece
                assert len(received) < MOST_BYTES, "an answer without end"
        except ConnectionResetError:
            pass
    if not received:
        return None
    response = http.client.HTTPResponse(_Kept(bytes(received)), method=method)  # type: ignore[arg-type]
    response.begin()
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, headers, response.read())


def judge(answer: Answer | None, refusals: frozenset[int] = REFUSALS) -> None:
    """A good answer, or a refusal in OpenAI's shape. Raises AssertionError."""
    assert answer is not None, "closed without an answer"
    kind = answer.headers.get("content-type", "")
    if answer.status == 200:
        if kind.startswith("application/json"):
            strict(answer.body)
        elif kind.startswith("text/event-stream"):
            assert answer.body.endswith(b"\n\n")
            assert told_error(answer.body) is None
        return
    assert answer.status in refusals, (answer.status, answer.body[:500])
    assert kind.startswith("application/json"), (kind, answer.body[:500])
    found = strict(answer.body)
    assert isinstance(found, dict), found
    assert set(found) == {"error"}, found
    error = found["error"]
    assert set(error) == {"message", "type", "param", "code"}, error
    assert isinstance(error["message"], str), error
    assert error["message"], error
    assert len(error["message"]) < 10_000, "a message that repeats the request"
    assert error["type"] in ("invalid_request_error", "rate_limit_error"), error
    assert error["param"] is None or isinstance(error["param"], str), error
    assert "Traceback" not in error["message"]


def told_error(stream: bytes) -> re.Match[bytes] | None:
    """The error object among the events of a stream; `null` is none."""
    return re.search(rb'"error":\s*\{', stream)


def strict(raw: bytes) -> Any:
    """JSON without the words Python adds to it, in UTF-8 without halves of surrogates."""
    found = json.loads(raw.decode("utf-8"), parse_constant=_refused)
    json.dumps(found, ensure_ascii=False).encode("utf-8")
    return found


def _refused(word: str) -> Any:
    raise AssertionError(f"{word} is no JSON")


def post(path: str, body: bytes, content_type: str = "application/json") -> bytes:
    """A POST that asks for the connection to be closed."""
    head = (
        f"POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n"
        f"content-type: {content_type}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
