"""A parser of requests that ignores offers to upgrade the connection.

Java's HttpClient and `curl --http2` offer HTTP/2 with their first request (`Upgrade: h2c`). A
server may ignore the offer and respond over HTTP/1.1 (RFC 9110, section 7.8). llhttp ends such a
request at its head, so that uvicorn loses the body and takes it for the next request.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httptools

FRAMING = (b"content-length", b"transfer-encoding")
"""The headers of a request with a body."""


class RequestParser:
    """Has the methods of `httptools.HttpRequestParser` that uvicorn uses. `protocol` has the
    callbacks, and the headers of the current request as `scope["headers"]`, with names in lower
    case."""

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol
        self._framing: list[tuple[bytes, bytes]] = []
        self.on_message_begin: Callable[[], None] = protocol.on_message_begin
        self.on_url: Callable[[bytes], None] = protocol.on_url
        self.on_header: Callable[[bytes, bytes], None] = protocol.on_header
        self.on_headers_complete: Callable[[], None] = protocol.on_headers_complete
        self.on_body: Callable[[bytes], None] = protocol.on_body
        self._set_parser(httptools.HttpRequestParser(self))

    def _set_parser(self, parser: httptools.HttpRequestParser) -> None:
        # As uvicorn sets it, so that a request before the end of the last response is parsed.
        parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._parser = parser
        self.get_http_version = parser.get_http_version
        self.get_method = parser.get_method
        self.should_keep_alive = parser.should_keep_alive
        self.should_upgrade = parser.should_upgrade

    def feed_data(self, data: bytes) -> None:
        """Parse the next bytes. Raises httptools.HttpParserError."""
        while data:
            try:
                self._parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as upgrade:
                data = data[upgrade.args[0] :]
                if self._framing:
                    self._resume()

    def on_message_complete(self) -> None:
        """Called by httptools. Of a request that offers an upgrade, only the head has been read."""
        if self._parser.should_upgrade():
            headers = self._protocol.scope["headers"]
            self._framing = [header for header in headers if header[0] in FRAMING]
            if self._framing:
                return
        self._protocol.on_message_complete()

    def _resume(self) -> None:
        """Continue with a new parser that has read a head without the offer."""
        body = _Body(self, self._protocol.on_message_complete)
        parser = httptools.HttpRequestParser(body)
        lines = [b"%s: %s\r\n" % header for header in self._framing]
        self._framing = []
        parser.feed_data(b"POST / HTTP/1.1\r\n%s\r\n" % b"".join(lines))
        body.begins = True
        self._set_parser(parser)


class _Body:
    """Passes the callbacks on, after those for the head that the parser has to read first."""

    def __init__(self, parser: RequestParser, on_empty: Callable[[], None]) -> None:
        self.begins = False
        self._parser = parser
        self._on_empty = on_empty
        self.on_body = parser.on_body

    def on_message_begin(self) -> None:
        if self.begins:
            self._parser.on_message_begin()

    def on_url(self, url: bytes) -> None:
        if self.begins:
            self._parser.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.begins:
            self._parser.on_header(name, value)

    def on_headers_complete(self) -> None:
        if self.begins:
            self._parser.on_headers_complete()

    def on_message_complete(self) -> None:
        if self.begins:
            self._parser.on_message_complete()
        else:
            self._on_empty()  # `content-length: 0`
