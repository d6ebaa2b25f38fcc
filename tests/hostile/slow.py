"""Connections that send heads and bodies slowly, or stop halfway."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

from hostile.attack import Attack
from hostile.caller import Caller, chat, speech
from hostile.forms import BOUNDARY, content_type
from hostile.memory import MIB, spooled
from hostile.target import CHAT, SEND_BUFFER, Target

HEADS = 300
HELD_BODIES = 80
BODY_BYTES = 7 * MIB
UPLOADS = 16
UPLOAD_BYTES = 24 * MIB
SPOOL_MIB = 300
"""A quarter of what all uploads together may take, with what is under way."""
DRIP_SECONDS = 0.5
CLOSED_SECONDS = 60.0
"""The suite's fleet has a READ_TIMEOUT of 2 s; a drip must not live for long after it."""
PIECE = b" " * SEND_BUFFER


@contextmanager
def connections(target: Target, count: int) -> Iterator[list[socket.socket]]:
    """Open connections, closed after the block."""
    with ExitStack() as stack:
        yield [stack.enter_context(target.connect(5)) for _ in range(count)]


def alive(sockets: list[socket.socket], piece: bytes) -> list[socket.socket]:
    """Those that took another piece."""
    left = []
    for sock in sockets:
        with suppress(OSError):
            sock.sendall(piece)
            left.append(sock)
    return left


def drip(sockets: list[socket.socket], caller: Caller) -> None:
    """Drip on until every connection is closed. Raises AssertionError where some stay open."""
    caller.rounds(2, 20)
    deadline = time.monotonic() + CLOSED_SECONDS
    while sockets and time.monotonic() < deadline:
        sockets = alive(sockets, b"a")
        time.sleep(DRIP_SECONDS)
    assert not sockets, f"{len(sockets)} connections were open after {CLOSED_SECONDS:g} s"


def slow_heads(target: Target, caller: Caller) -> None:
    """Heads of which a byte comes now and then."""
    with connections(target, HEADS) as sockets:
        drip(alive(sockets, b"POST / HTTP/1.1\r\nhost: a\r\nx: "), caller)


def slow_bodies(target: Target, caller: Caller) -> None:
    """Bodies of which a byte comes now and then."""
    head = target.head("/v1/chat/completions", MIB, key=target.attacker_key)
    with connections(target, HEADS // 3) as sockets:
        drip(alive(sockets, head + b'{"model":"'), caller)


def held_bodies(target: Target, caller: Caller) -> None:
    """Large bodies that are never complete: others are not refused for them."""
    start = b'{"model":"%b","x":"' % CHAT.encode()
    head = target.head("/v1/chat/completions", BODY_BYTES, key=target.attacker_key) + start
    with connections(target, HELD_BODIES) as sockets:
        left = alive(sockets, head)
        for _ in range((BODY_BYTES - 2 * len(PIECE)) // len(PIECE)):
            left = alive(left, PIECE)
        caller.rounds(2, 20)


def held_uploads(target: Target, caller: Caller) -> None:
    """Recordings before the field `model`: what is kept on disk for them is bounded."""
    head = target.head("/v1/audio/transcriptions", UPLOAD_BYTES, key=target.attacker_key,
                       content_type=content_type())  # fmt: skip
    part = f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n'
    most = 0
    router = target.extras.get("router")
    with connections(target, UPLOADS) as sockets:
        left = alive(sockets, head + part.encode())
        for number in range((UPLOAD_BYTES - 2 * len(PIECE)) // len(PIECE)):
            left = alive(left, PIECE)
            if router is not None and number % 16 == 0:
                most = max(most, spooled(router))
        caller.rounds(2, 20)
    assert most < SPOOL_MIB * MIB, f"{most / MIB:.0f} MiB were on disk"


def unread_streams(target: Target, caller: Caller) -> None:
    """Streams that nobody reads."""
    body = json.dumps({
        "model": CHAT, "messages": [{"role": "user", "content": "Count to a thousand."}],
        "max_tokens": 64, "stream": True,
    }).encode()  # fmt: skip
    head = target.head("/v1/chat/completions", len(body), key=target.attacker_key)
    with connections(target, 8) as sockets:
        alive(sockets, head + body)
        caller.rounds(3, 60)


def attack(
    name: str, run: Callable[[Target, Caller], None], mib: float = 64, **more: float
) -> Attack:
    kinds = (chat, speech) if run is held_uploads else (chat,)
    return Attack(name, run, kinds, mib, **more)  # type: ignore[arg-type]


ATTACKS = (
    attack("streams that nobody reads", unread_streams),
    attack("large uploads that stop halfway", held_uploads, mib=96),
    attack("bodies of 7 MiB that stop halfway", held_bodies, mib=256),
    attack("300 heads that drip", slow_heads),
    attack("100 bodies that drip", slow_bodies),
)
