"""Bytes without end beside a body: trailers, chunk extensions, heads, what follows a refusal."""

from __future__ import annotations

import json
import socket
import time
from contextlib import suppress
from functools import partial

from hostile.attack import REFUSED, Attack, expect
from hostile.caller import Caller
from hostile.forms import BOUNDARY, content_type
from hostile.target import CHAT, Reply, Target, receive

MOST_BYTES = 64 * 1024 * 1024
"""Sent as fast as it is read; what follows is sent slowly."""
OPEN_SECONDS = 45.0
"""Time until a connection without a complete request, or after a refusal, must be closed."""
DRIP_SECONDS = 0.2
REST_BYTES = 8 * 1024 * 1024
PATH = "/v1/chat/completions"
HI = json.dumps(
    {"model": CHAT, "messages": [{"role": "user", "content": "Hi."}], "max_tokens": 1}
).encode()
CHUNK = b"%x\r\n%b\r\n" % (len(HI), HI)
PIECE = b"a" * 65_536
LINES = b"x-trailer: %b\r\n" % (b"a" * 1000) * 64
TINY = b"a:b\r\n" * 13_000


def endless(target: Target, _: Caller, *, head: bytes, piece: bytes) -> None:
    """Send `piece` again and again, at last slowly, until the connection is closed.

    Raises AssertionError where it stays open.
    """
    deadline, sent = time.monotonic() + OPEN_SECONDS, 0
    with target.connect(OPEN_SECONDS) as sock, suppress(ConnectionError):
        sock.sendall(head)
        while time.monotonic() < deadline:
            if sent > MOST_BYTES:
                time.sleep(DRIP_SECONDS)
            try:
                sock.sendall(piece)
            except TimeoutError:
                break
            sent += len(piece)
        raise AssertionError(f"open after {OPEN_SECONDS:g} s and {sent / 2**20:.0f} MiB")


def endless_flood(name: str, head: bytes, piece: bytes, *, keyed: bool = False) -> Attack:
    """An attack with `endless` after the head of a chunked request and `head`."""

    def run(target: Target, caller: Caller) -> None:
        key = target.attacker_key if keyed else ""
        start = target.head(PATH, None, key=key, keep_alive=True)
        endless(target, caller, head=start + head, piece=piece)

    return Attack(name, run, mib=32)


def endless_head(target: Target, caller: Caller, *, start: bytes) -> None:
    """A request line or a header without end."""
    endless(target, caller, head=start, piece=PIECE)


def refused_upload(target: Target, _: Caller) -> None:
    """A body that is sent to its end after a refusal: the client still gets the response."""
    for path, key, status in (
        (PATH, "", 401),
        (PATH, "wrong", 401),
        ("/v1/nothing", target.attacker_key, 404),
        ("/v1/models", target.attacker_key, 405),
    ):
        for length in (REST_BYTES, None):
            reply = _send_all(
                target, target.head(path, length, key=key, keep_alive=True), length is None
            )
            assert reply.status == status, reply


def _send_all(target: Target, head: bytes, chunked: bool) -> Reply:
    piece = b"%x\r\n%b\r\n" % (len(PIECE), PIECE) if chunked else PIECE
    with target.connect() as sock:
        with suppress(BrokenPipeError, ConnectionResetError):
            sock.sendall(head)
            for _ in range(REST_BYTES // len(PIECE)):
                sock.sendall(piece)
            if chunked:
                sock.sendall(b"0\r\n\r\n")
        return receive(sock)


def dripped_rest(target: Target, _: Caller) -> None:
    """A body that drips on after a 401 does not keep the connection."""
    with target.connect() as sock:
        sock.sendall(target.head(PATH, REST_BYTES, keep_alive=True) + b"{")
        assert receive_status(sock) == 401
        deadline = time.monotonic() + OPEN_SECONDS
        try:
            while time.monotonic() < deadline:
                sock.sendall(b" ")
                time.sleep(DRIP_SECONDS)
        except ConnectionError:
            return
    raise AssertionError(f"the connection was open for {OPEN_SECONDS:g} s after a 401")


def pipelined(target: Target, caller: Caller) -> None:
    """Requests without end on one connection, whose responses are not read."""
    endless(target, caller, head=b"", piece=b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n" * 10_000)


def spaced_names(target: Target, _: Caller) -> None:
    """A form whose 900 parts have thousands of spaces after `name`."""
    part = f"--{BOUNDARY}\r\ncontent-disposition: form-data; name{' ' * 4000}x\r\n\r\n\r\n"
    body = part.encode() * 900 + f"--{BOUNDARY}--\r\n".encode()
    expect([target.request("/v1/audio/transcriptions", body, content_type=content_type())], REFUSED)


def receive_status(sock: socket.socket) -> int:
    """The status of the response on a connection, which is read no further."""
    return int(sock.recv(65_536).split()[1])


ATTACKS = (
    endless_flood("trailers after a 401", b"0\r\n", LINES),
    endless_flood("short trailers after a 401", b"0\r\n", TINY),
    endless_flood("one trailer without end after a 401", b"0\r\nx: ", PIECE),
    endless_flood("trailers after a chat", CHUNK + b"0\r\n", LINES, keyed=True),
    endless_flood("one trailer without end after a chat", CHUNK + b"0\r\nx: ", PIECE, keyed=True),
    endless_flood("a chunk extension without end", b"1;", PIECE, keyed=True),
    endless_flood("chunks of one byte after a 401", b"", b"1\r\n \r\n" * 10_000),
    Attack("a request line without end", partial(endless_head, start=b"GET /"), mib=32),
    Attack(
        "a header without end",
        partial(endless_head, start=b"GET / HTTP/1.1\r\nhost: a\r\nx: "),
        mib=32,
    ),
    Attack("pipelined requests without end", pipelined, mib=32),
    Attack("spaces after the names of 900 parts", spaced_names, mib=32),
    Attack("bodies sent to their end after a refusal", refused_upload, mib=32),
    Attack("a body that drips on after a refusal", dripped_rest, mib=32),
)
