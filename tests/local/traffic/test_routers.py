"""Routers are replaced under traffic, behind an address that sends new connections to another one.

The relay in this file does what a Service does in a cluster.
"""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from traffic import Driver, Kind, Plan

CHAT = "HuggingFaceTB/SmolLM2-135M-Instruct"
EMBEDDING = "sentence-transformers/all-MiniLM-L6-v2"
SPEECH = "openai/whisper-base"


class Relay:
    """Forwards each connection to the port that is `target` when it is accepted."""

    def __init__(self, target: int) -> None:
        self.target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self._threads.append(threading.Thread(target=_forward, args=(near, self.target)))
                self._threads[-1].start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(30)


def _forward(near: socket.socket, target: int) -> None:
    with near, suppress(OSError), socket.create_connection(("127.0.0.1", target)) as far:
        back = threading.Thread(target=_pass, args=(far, near))
        back.start()
        _pass(near, far)
        back.join()


def _pass(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


@pytest.fixture
def relay() -> Iterator[Callable[[int], Relay]]:
    made: list[Relay] = []

    def start(target: int) -> Relay:
        made.append(Relay(target))
        return made[-1]

    yield start
    for one in made:
        one.close()


def test_a_replaced_router(
    parts: Any, kinds: Callable[..., list[Kind]], relay: Callable[[int], Relay]
) -> None:
    for model in (CHAT, EMBEDDING, SPEECH):
        parts.server(model)
    old = parts.router()
    address = relay(old.port)
    kept = Plan(address.url, rate=4, concurrency=6)
    fresh = Plan(address.url, rate=4, concurrency=4, keep_alive=False)
    with (
        Driver(kept, kinds(CHAT, EMBEDDING, SPEECH)) as driver,
        Driver(fresh, kinds(EMBEDDING)) as other,
    ):
        for each in (driver, other):
            each.wait_for_requests(6)
        with driver.mark("replaced"):
            new = parts.router()
            driver.wait_for_running(2)
            address.target = new.port
            old.signal(signal.SIGTERM)
            for each in (driver, other):
                each.wait_for_requests(8)
            assert old.wait() == 0
        driver.wait_for_requests(6)
    for report in (driver.report(), other.report()):
        assert report.clean, report
    assert "transcription" in driver.report().slices["replaced"]
    assert new.metric("modelfleet_router_requests_total") > 0
