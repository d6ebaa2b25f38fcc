"""Random requests: every response has a valid shape, is not a 500, and leaves nothing behind."""

from __future__ import annotations

import json
import socket
from typing import Any
from urllib.parse import quote

import httpx
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleet_router.routing.paths import PATHS

# A fixed seed: a run fails because of a change, not by chance.
FUZZ = settings(
    max_examples=120, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
NAMES = ["acme/chat", "chat", "acme/embed", "acme/speech", "acme/small", "acme/dead", "none", ""]
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
BODIES = st.fixed_dictionaries(
    {},
    optional={
        "model": st.sampled_from(NAMES) | VALUES, "messages": VALUES, "stream": VALUES,
        "input": VALUES, "max_tokens": VALUES, "prompt": VALUES, "adapter": VALUES,
    },
)  # fmt: skip
PIECES = st.sampled_from(
    [b"POST ", b"GET ", b"/v1/chat/completions", b"/v1/models/", b" HTTP/1.1\r\n", b" HTTP/9.9\r\n",
     b"host: x\r\n", b"content-length: 5\r\n", b"content-length: -1\r\n", b"Transfer-Encoding: ",
     b"chunked\r\n", b"\r\n", b"\r\n\r\n", b"0\r\n\r\n", b"5\r\n", b'{"model":"chat"}', b"\0",
     b"expect: 100-continue\r\n", b"upgrade: websocket\r\nconnection: upgrade\r\n", b"x" * 3000]
)  # fmt: skip


@pytest.fixture(scope="module")
def client(fleet: Any) -> Any:
    with httpx.Client(base_url=fleet.url, timeout=120) as one:
        yield one


def check(answer: httpx.Response) -> None:
    """Check a server's response, or an error of the router in its only shape."""
    assert answer.status_code in (200, 400, 404, 405, 408, 413, 429, 503), answer.text
    assert answer.headers["x-request-id"]
    if answer.status_code != 200 and answer.headers["content-type"] == "application/json":
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


@FUZZ
@given(path=st.sampled_from(sorted(PATHS)), body=BODIES)
def test_any_json(client: httpx.Client, path: str, body: dict[str, Any]) -> None:
    check(client.post(path, content=json.dumps(body).encode()))


@FUZZ
@given(path=st.sampled_from(sorted(PATHS)), raw=st.binary(max_size=300), kind=st.sampled_from(
    ["application/json", "multipart/form-data; boundary=b", "text/plain", ""]))  # fmt: skip
def test_any_bytes(client: httpx.Client, path: str, raw: bytes, kind: str) -> None:
    check(client.post(path, content=raw, headers={"content-type": kind}))


@FUZZ
@given(
    names=st.lists(st.sampled_from(["model", "file", "", 'a"b', "x" * 200]), max_size=4),
    values=st.lists(st.binary(max_size=50) | st.just(b"acme/speech"), min_size=4, max_size=4),
    cut=st.integers(0, 400),
)
def test_any_form(client: httpx.Client, names: list[str], values: list[bytes], cut: int) -> None:
    parts = [
        b'--b\r\ncontent-disposition: form-data; name="%b"\r\n\r\n%b\r\n' % (name.encode(), value)
        for name, value in zip(names, values, strict=False)
    ]
    raw = (b"".join(parts) + b"--b--\r\n")[: cut or None]
    kind = {"content-type": "multipart/form-data; boundary=b"}
    check(client.post("/v1/audio/transcriptions", content=raw, headers=kind))


@FUZZ
@given(
    path=st.text(st.characters(codec="utf-8"), max_size=60),
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD"]),
)
def test_any_path(client: httpx.Client, path: str, method: str) -> None:
    answer = client.request(method, f"/{quote(path, safe='/%.').lstrip('/')}")
    assert answer.status_code in (200, 400, 404, 405, 503)


@FUZZ
@given(pieces=st.lists(PIECES | st.binary(max_size=20), max_size=12))
def test_any_raw_bytes(fleet: Any, pieces: list[bytes]) -> None:
    with socket.create_connection(("127.0.0.1", fleet.port), 120) as sock:
        sock.sendall(b"".join(pieces))
        sock.shutdown(socket.SHUT_WR)  # there is nothing more to wait for
        got = b""
        while piece := sock.recv(65536):
            got += piece
    statuses = {line.split()[1] for line in got.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")}
    assert not statuses & {b"500", b"502"}


def test_no_requests_are_left(fleet: Any, client: httpx.Client) -> None:
    router = psutil.Process(fleet.process.pid)
    body = {"model": "acme/chat", "messages": [{"role": "user", "content": "x" * 5000}]}

    def load(number: int) -> int:
        for n in range(number):
            client.post("/v1/chat/completions", json=body if n % 2 else {"model": f"none-{n}"})
        return int(router.memory_info().rss)

    load(500)
    before = load(500)
    assert load(1500) - before < 8_000_000
    assert router.num_fds() < 200
    assert client.get("/livez").status_code == 200
