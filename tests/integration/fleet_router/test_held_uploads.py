"""Uploads to a model without a server."""

from __future__ import annotations

import hashlib
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

COLD, LATE = "acme/cold", "acme/late"
"""Models without a server; the second one gets one."""


MODEL = b'--b\r\ncontent-disposition: form-data; name="model"\r\n\r\n%b\r\n'


FILE = b'--b\r\ncontent-disposition: form-data; name="file"\r\n\r\n'


END = b"\r\n--b--\r\n"


PATIENT = {"HOLD_SECONDS": "600"}


@pytest.fixture(scope="module")
def cold(start_router: Any, entry: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    models = [entry(COLD, "speech"), entry(LATE, "speech")]
    with start_router(tmp_path_factory.mktemp("cold"), models, PATIENT) as fleet:
        yield fleet


@contextmanager
def uploading(fleet: Any, raw: bytes, length: int, model: str = COLD) -> Iterator[socket.socket]:
    """A client that has sent `raw` of `length` bytes and waits."""
    head = (
        "POST /v1/audio/transcriptions HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n"
        "x-id: held-upload\r\n"
        f"content-type: multipart/form-data; boundary=b\r\ncontent-length: {length}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", fleet.port), 120) as sock:
        sock.sendall(head.encode() + raw)
        fleet.await_metric("modelfleet_router_held", 1, model=model)
        yield sock


@pytest.mark.parametrize("sent", [0, 100_000, 20_000_000])
@pytest.mark.parametrize("whole", [True, False])
def test_a_disconnect_frees_its_place(cold: Any, sent: int, whole: bool) -> None:
    raw = MODEL % COLD.encode() + FILE + b"x" * sent + (END if whole else b"")
    with uploading(cold, raw, len(raw) if whole else 21_000_000):
        pass
    cold.await_metric("modelfleet_router_held", 0, model=COLD)
    cold.await_metric("modelfleet_router_in_flight", 0, model=COLD)


def test_buffered_and_later_bytes_reach_the_server(cold: Any, entry: Any, stub: Any) -> None:
    raw = MODEL % LATE.encode() + FILE + os.urandom(5_000_000) + END
    with uploading(cold, raw[:3_000_000], len(raw), LATE) as sock:
        models = [entry(COLD, "speech"), entry(LATE, "speech", stub.port)]
        cold.routes.write_text(json.dumps({"models": models}))
        stub.await_state("held-upload", "running")
        sock.sendall(raw[3_000_000:])
        answer = b"".join(iter(lambda: sock.recv(65_536), b""))
    received = json.loads(answer.split(b"\r\n\r\n", 1)[1])
    assert received["sha256"] == hashlib.sha256(raw).hexdigest()
    assert received["length"] == len(raw)


def test_a_stalled_upload_is_reported_while_it_waits(
    start_router: Any, entry: Any, tmp_path: Any
) -> None:
    environ = PATIENT | {"READ_TIMEOUT": "0.5"}
    with (
        start_router(tmp_path, [entry(COLD, "speech")], environ) as fleet,
        uploading(fleet, MODEL % COLD.encode() + FILE, 1000) as sock,
    ):
        assert sock.recv(65_536).startswith(b"HTTP/1.1 408 ")
        fleet.await_metric("modelfleet_router_held", 0, model=COLD)
