"""JSON and compressed bodies that take far more memory or time than their size."""

from __future__ import annotations

import gzip
import itertools
import json
import zlib
from collections.abc import Callable
from functools import cache, partial

from hostile.attack import REFUSED, TAKEN, Attack, at_once, expect
from hostile.caller import Caller, chat, embeddings
from hostile.target import CHAT, EMBEDDING, Target

LARGE = 60 * 1024 * 1024
LARGE_MIB = 256
"""A caller's share of the memory for bodies is 128 MiB; a body may be there twice for a moment."""
MEDIUM = 7 * 1024 * 1024
"""What a text model may well accept."""
SMALL = 256 * 1024
CHAT_PATH = "/v1/chat/completions"
VECTOR_PATH = "/v1/embeddings"
CHAT_HEAD = json.dumps({"model": CHAT, "messages": [{"role": "user", "content": "Hi."}],
                        "max_tokens": 1}).encode()[:-1]  # fmt: skip
VECTOR_HEAD = json.dumps({"model": EMBEDDING, "input": "Hi."}).encode()[:-1]


def filled(head: bytes, start: bytes, unit: bytes, end: bytes, size: int) -> bytes:
    """An object that goes on with `unit` again and again, up to `size` bytes."""
    return head + start + unit * (size // len(unit)) + unit.rstrip(b",") + end


@cache
def keys(size: int) -> bytes:
    """Members with different names, up to `size` bytes."""
    count = size // 11
    return b",".join(b'"%d":0' % number for number in range(1_000_000, 1_000_000 + count))


def in_list(head: bytes, unit: bytes, size: int, field: bytes = b"x") -> bytes:
    """A list in a field."""
    return filled(head, b',"%b":[' % field, unit, b"]}", size)


def bomb(
    name: str, path: str, make: Callable[[], bytes], count: int = 1, mib: float = 160
) -> Attack:
    """`count` such bodies at once: each is served or refused."""

    def run(target: Target, _: Caller) -> None:
        body = make()
        expect(at_once([lambda: target.request(path, body)] * count), TAKEN)

    kinds = (chat,) if path == CHAT_PATH else (chat, embeddings)
    return Attack(name, run, kinds, mib)


def deep(target: Target, _: Caller) -> None:
    """Nesting of every kind and depth."""
    for depth, (left, right) in itertools.product(
        (65, 1000, 100_000), ((b"[", b"]"), (b'{"a":', b"}"))
    ):
        nested = left * depth + b"0" + right * depth
        found = [
            partial(target.request, CHAT_PATH, body)
            for body in (nested, CHAT_HEAD + b',"x":' + nested + b"}", left * depth)
        ]
        expect(at_once(found), TAKEN)


def numbers(target: Target, _: Caller) -> None:
    """Integers of a million digits, and exponents as large."""
    digits = b"9" * 1_000_000
    expect(
        at_once([
            partial(target.request, CHAT_PATH, CHAT_HEAD + b',"seed":' + number + b"}")
            for number in (digits, b"-" + digits, b"1e" + digits, b"0." + digits)
        ]),
        TAKEN,
    )  # fmt: skip


def compressed(target: Target, _: Caller) -> None:
    """Compressed bodies of 60 MiB of spaces are decoded within limits or refused."""
    space = CHAT_HEAD + b" " * LARGE + b"}"
    expect(
        at_once([
            partial(target.request, CHAT_PATH, body, content_encoding=encoding)
            for encoding, body in (
                ("gzip", gzip.compress(space)),
                ("deflate", zlib.compress(space)),
                ("gzip, gzip", gzip.compress(gzip.compress(space))),
            )
        ]),
        TAKEN,
    )  # fmt: skip


def framed(target: Target, _: Caller) -> None:
    """Compressed bodies of thousands of parts without content, each of which needs a decoder."""
    skipped = b"\x50\x2a\x4d\x18" + bytes(4)
    expect(
        at_once([
            partial(target.request, CHAT_PATH, part * (MEDIUM // len(part)),
                    content_encoding=encoding)
            for encoding, part in (("zstd", skipped), ("gzip", gzip.compress(b"")))
        ]),
        REFUSED,
    )  # fmt: skip


ATTACKS = (
    Attack("deep nesting", deep, mib=64),
    Attack("numbers of a million digits", numbers, mib=96),
    Attack("compressed bodies", compressed, mib=LARGE_MIB),
    Attack("compressed bodies of empty parts", framed, mib=64),
    bomb("256 kB of empty lists, 8 at once", CHAT_PATH,
         lambda: in_list(CHAT_HEAD, b"[],", SMALL), count=8),
    bomb("7 MiB of empty lists", CHAT_PATH, lambda: in_list(CHAT_HEAD, b"[],", MEDIUM)),
    bomb("7 MiB of empty objects as messages", CHAT_PATH,
         lambda: in_list(CHAT_HEAD, b"{},", MEDIUM, b"messages")),
    bomb("7 MiB of members", CHAT_PATH, lambda: CHAT_HEAD + b"," + keys(MEDIUM) + b"}"),
    bomb("7 MiB of numbers as input", VECTOR_PATH,
         lambda: in_list(VECTOR_HEAD, b"0,", MEDIUM, b"input")),
    bomb("7 MiB of empty texts as input", VECTOR_PATH,
         lambda: in_list(VECTOR_HEAD, b'"",', MEDIUM, b"input")),
    bomb("60 MiB of empty lists", CHAT_PATH,
         lambda: in_list(CHAT_HEAD, b"[],", LARGE), mib=LARGE_MIB),
    bomb("60 MiB of numbers, twice at once", CHAT_PATH,
         lambda: in_list(CHAT_HEAD, b"0,", LARGE), count=2, mib=LARGE_MIB),
    bomb("60 MiB of empty lists as input", VECTOR_PATH,
         lambda: in_list(VECTOR_HEAD, b"[],", LARGE, b"input")),
)  # fmt: skip
