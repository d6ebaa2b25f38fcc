"""Runs web apps on sockets of the loopback."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
from fastapi import FastAPI

from fleet_web import serve

Listen = Callable[..., AbstractContextManager[int]]


@pytest.fixture
def listen() -> Listen:
    """`with listen(app, **options of fleet_web.serve.build) as port` runs uvicorn in a thread."""

    @contextmanager
    def start(app: FastAPI, **options: Any) -> Iterator[int]:
        with socket.create_server(("127.0.0.1", 0), backlog=128) as sock:
            port: int = sock.getsockname()[1]
            server = serve.build(app, "127.0.0.1", port, **{"drain_timeout": 1} | options)
            thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
            thread.start()
            try:
                yield port
            finally:
                server.should_exit = True
                thread.join()

    return start
