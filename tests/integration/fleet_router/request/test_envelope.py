"""Request bodies through the router: streamed uploads, and size limits."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import psutil
import pytest


def upload(*fields: tuple[str, bytes], boundary: str = "b") -> bytes:
    parts = [
        b'--%b\r\ncontent-disposition: form-data; name="%b"\r\n\r\n%b\r\n'
        % (boundary.encode(), name.encode(), value)
        for name, value in fields
    ]
    return b"".join(parts) + b"--%b--\r\n" % boundary.encode()


FORM = {"content-type": "multipart/form-data; boundary=b"}


def test_uploads_are_routed_by_their_form_field(fleet: Any, stub: Any) -> None:
    raw = upload(("file", os.urandom(100_000)), ("model", b"acme/speech"))
    answer = httpx.post(
        f"{fleet.url}/v1/audio/transcriptions", content=raw, headers={**FORM, "x-id": "form"}
    )
    assert answer.status_code == 200
    assert answer.json() == {
        "model": "acme/chat",
        "asked": "acme/speech",
        "length": len(raw),
        "sha256": hashlib.sha256(raw).hexdigest(),
    }
    assert ["content-length", str(len(raw))] in stub.seen("form")["headers"]


def test_an_upload_of_unknown_length_is_streamed_in_chunks(fleet: Any, stub: Any) -> None:
    raw = upload(("model", b"acme/speech"), ("file", os.urandom(3_000_000)))
    pieces = (raw[at : at + 65_536] for at in range(0, len(raw), 65_536))
    answer = httpx.post(
        f"{fleet.url}/v1/audio/transcriptions", content=pieces, headers={**FORM, "x-id": "chunked"}
    )
    assert answer.json()["sha256"] == hashlib.sha256(raw).hexdigest()
    assert ["transfer-encoding", "chunked"] in stub.seen("chunked")["headers"]


@pytest.mark.parametrize(
    ("raw", "headers", "code"),
    [
        (b"{}", {"content-type": "application/json"}, "invalid_content_type"),
        (b"{}", {"content-type": "multipart/form-data"}, "invalid_content_type"),
        (b"nonsense", FORM, "invalid_form"),
        (upload(("model", b"acme/speech"))[:-5], FORM, "invalid_form"),
        (upload(("file", b"abc"))[:-5], FORM, "invalid_form"),
        (upload(("model", b"x" * 2000)), FORM, None),
        (upload(("model", b"\xff")), FORM, None),
        (upload(("model", b"")), FORM, "invalid_value"),
    ],
)
def test_broken_forms_are_not_a_500(
    fleet: Any, raw: bytes, headers: dict[str, str], code: str | None
) -> None:
    answer = httpx.post(f"{fleet.url}/v1/audio/transcriptions", content=raw, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == code


def test_a_large_upload_takes_bounded_memory(fleet: Any) -> None:
    # The model is the last field, so the whole recording is kept until it is known.
    router = psutil.Process(fleet.process.pid)
    before, peak, piece, count = router.memory_info().rss, 0, os.urandom(1_000_000), 200
    start = upload(("file", b""))[: -len(b"\r\n--b--\r\n")]
    end = b"\r\n" + upload(("model", b"acme/speech"))
    digest = hashlib.sha256()

    def body() -> Iterator[bytes]:
        nonlocal peak
        for part in (start, *[piece] * count, end):
            digest.update(part)
            peak = max(peak, router.memory_info().rss)
            yield part

    answer = httpx.post(
        f"{fleet.url}/v1/audio/transcriptions", content=body(), headers=FORM, timeout=180
    )
    assert answer.json()["sha256"] == digest.hexdigest()
    assert peak - before < 50_000_000


def test_a_slow_server_slows_the_client(start_router: Any, entry: Any, tmp_path: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        models = [entry("acme/speech", "speech", listener.getsockname()[1])]
        with (
            start_router(tmp_path, models, {"MAX_AUDIO_BYTES": "500000000"}) as fleet,
            socket.create_connection(("127.0.0.1", fleet.port), 60) as client,
        ):
            router = psutil.Process(fleet.process.pid)
            before = router.memory_info().rss
            client.sendall(
                b"POST /v1/audio/transcriptions HTTP/1.1\r\nhost: localhost\r\n"
                b"content-length: 400000000\r\n"
                b"content-type: multipart/form-data; boundary=b\r\n\r\n"
                b'--b\r\ncontent-disposition: form-data; name="model"\r\n\r\nacme/speech\r\n'
                b'--b\r\ncontent-disposition: form-data; name="file"\r\n\r\n'
            )
            server, _ = listener.accept()
            client.settimeout(1)
            with pytest.raises(TimeoutError):  # the server does not read, so the client must wait
                client.sendall(b"x" * 300_000_000)
            assert router.memory_info().rss - before < 20_000_000
            server.close()
