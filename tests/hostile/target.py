"""The address that is attacked, with its models and keys, and HTTP/1.1 on raw sockets to it."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

CHAT = "HuggingFaceTB/SmolLM2-135M-Instruct"
EMBEDDING = "sentence-transformers/all-MiniLM-L6-v2"
SPEECH = "openai/whisper-base"
PATIENCE = 150.0
"""Seconds without a byte after which a response counts as missing."""
SEND_BUFFER = 64 * 1024
"""Small, so that the bytes a server accepted can be told from those in the socket's buffer."""
JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete response."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON. Raises ValueError."""
        return json.loads(self.body)

    def message(self) -> str:
        """The message of an error in OpenAI's format. Raises AssertionError for another body."""
        found = self.json()
        assert set(found) == {"error"}, found
        return str(found["error"]["message"])


@dataclass(frozen=True)
class Target:
    """A fleet with keys. `source` is the local address of attackers without a key, "" for any."""

    url: str
    caller_key: str
    attacker_key: str
    speech: str = SPEECH
    source: str = ""
    extras: Mapping[str, Any] = field(default_factory=dict)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        parts = urlsplit(self.url)
        assert parts.hostname
        return parts.hostname, parts.port or 80

    def connect(self, patience: float = PATIENCE) -> socket.socket:
        """A connection from the attackers' address with a small send buffer."""
        made = socket.create_connection(
            self.address, patience, source_address=(self.source, 0) if self.source else None
        )
        made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        return made

    def head(
        self,
        path: str,
        length: int | None,
        *,
        key: str = "",
        content_type: str = JSON,
        method: str = "POST",
        keep_alive: bool = False,
        **headers: str,
    ) -> bytes:
        """The head of a request; chunked where `length` is None. Underscores in the names of
        headers stand for hyphens."""
        lines = [
            f"{method} {path} HTTP/1.1",
            f"host: {self.address[0]}:{self.address[1]}",
            f"connection: {'keep-alive' if keep_alive else 'close'}",
        ]
        if method == "POST":
            lines.append(f"content-type: {content_type}")
            framing = (
                "transfer-encoding: chunked" if length is None else f"content-length: {length}"
            )
            lines.append(framing)
        if key:
            lines.append(f"authorization: Bearer {key}")
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "", ""]).encode()

    def request(
        self,
        path: str,
        body: bytes = b"",
        *,
        key: str | None = None,
        method: str = "POST",
        content_type: str = JSON,
        patience: float = PATIENCE,
        **headers: str,
    ) -> Reply:
        """The response to a whole request, with the attacker's key by default.

        Raises as `receive`.
        """
        key = self.attacker_key if key is None else key
        head = self.head(
            path, len(body), key=key, content_type=content_type, method=method,
            keep_alive=False, **headers,
        )  # fmt: skip
        with self.connect(patience) as sock:
            with suppress(BrokenPipeError, ConnectionResetError):
                sock.sendall(head)
                sock.sendall(body)
            return receive(sock, method)

    def post(self, path: str, document: Any, **options: Any) -> Reply:
        """The response to a JSON document."""
        return self.request(path, json.dumps(document).encode(), **options)

    def get(self, path: str, **options: Any) -> Reply:
        """The response to a GET."""
        return self.request(path, method="GET", **options)


def receive(sock: socket.socket, method: str = "POST") -> Reply:
    """The response on a connection whose request was sent.

    Raises TimeoutError where nothing comes, ConnectionError and http.client.HTTPException where the
    connection ends before the response does.
    """
    response = http.client.HTTPResponse(sock, method=method)
    try:
        response.begin()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Reply(response.status, headers, response.read())
    finally:
        response.close()
