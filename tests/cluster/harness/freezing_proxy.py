"""A TCP relay in front of the API server whose connections can be frozen.

A frozen connection stays open but transfers no data, as behind a NAT gateway that lost its state.
"""

from __future__ import annotations

import selectors
import socket
import threading
import time
from typing import Self
from urllib.parse import urlsplit

CHUNK = 64 * 1024


class _Pair:
    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client = client
        self.server = server
        self.frozen = False
        self.last_sent = time.monotonic()


class FreezingProxy:
    """Relays a port of the same address to `server` (a URL) while the `with` block runs."""

    def __init__(self, server: str) -> None:
        parts = urlsplit(server)
        self._target = (str(parts.hostname), int(parts.port or 443))
        self._listener = socket.create_server((self._target[0], 0))
        self.server = f"https://{parts.hostname}:{self._listener.getsockname()[1]}"
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ, None)
        self._pairs: list[_Pair] = []
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._relay)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        for pair in self._pairs:
            pair.client.close()
            pair.server.close()
        self._listener.close()
        self._selector.close()

    def freeze(self, quiet_for: float) -> int:
        """Freeze connections whose client has sent nothing for `quiet_for` seconds, such as
        watches.
        """
        with self._lock:
            now = time.monotonic()
            quiet = [pair for pair in self._pairs if now - pair.last_sent > quiet_for]
            for pair in quiet:
                pair.frozen = True
            return len(quiet)

    def close_frozen(self) -> None:
        """Close the frozen connections, so that their clients reconnect."""
        with self._lock:
            for pair in [pair for pair in self._pairs if pair.frozen]:
                self._close(pair)

    def _relay(self) -> None:
        while not self._stop.is_set():
            for key, _ in self._selector.select(timeout=0.05):
                with self._lock:
                    if key.data is None:
                        self._accept()
                    else:
                        self._forward(key.data, key.fileobj)  # type: ignore[arg-type]

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        try:
            server = socket.create_connection(self._target, timeout=60)
        except OSError:
            client.close()
            return
        pair = _Pair(client, server)
        self._pairs.append(pair)
        for side in (client, server):
            side.settimeout(60)
            self._selector.register(side, selectors.EVENT_READ, pair)

    def _forward(self, pair: _Pair, source: socket.socket) -> None:
        if pair not in self._pairs:
            return
        try:
            data = source.recv(CHUNK)
            if source is pair.client:
                pair.last_sent = time.monotonic()
            if not pair.frozen:
                (pair.server if source is pair.client else pair.client).sendall(data)
        except OSError:
            data = b""
        if not data:
            self._close(pair)

    def _close(self, pair: _Pair) -> None:
        self._pairs.remove(pair)
        for side in (pair.client, pair.server):
            self._selector.unregister(side)
            side.close()
