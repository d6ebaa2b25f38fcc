"""Usage in the last bytes of a response."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from fleet_router.callers.usage import NO_USAGE, TAIL_BYTES, RequestUsage, Tail, parse_usage

CHAT = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


def read(*chunks: bytes) -> RequestUsage:
    tail = Tail()
    for chunk in chunks:
        tail.add(chunk)
    return tail.usage()


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        (CHAT, RequestUsage(7, 0, 3)),
        ({**CHAT, "prompt_tokens_details": {"cached_tokens": 5}}, RequestUsage(7, 5, 3)),
        ({"input_tokens": 7, "output_tokens": 3, "input_tokens_details": {"cached_tokens": 5}},
         RequestUsage(7, 5, 3)),
        ({"input_tokens": 2, "cache_creation_input_tokens": 1, "cache_read_input_tokens": 5,
          "output_tokens": 3}, RequestUsage(8, 5, 3)),
        ({"type": "duration", "seconds": 12}, RequestUsage(0, 0, 0, 12.0)),
        ({"prompt_tokens": 1e300}, RequestUsage(10**9)),
        ({"prompt_tokens": -1, "completion_tokens": 1}, RequestUsage(0, 0, 1)),
        ({"prompt_tokens": True, "completion_tokens": "3"}, NO_USAGE),
        ({**CHAT, "prompt_tokens_details": [5]}, RequestUsage(7, 0, 3)),
        ({}, NO_USAGE),
        ([7], NO_USAGE),
    ],
)  # fmt: skip
def test_usage_objects(counts: Any, expected: RequestUsage) -> None:
    assert parse_usage(orjson.dumps(counts)) == expected


def test_what_is_not_json_is_no_usage() -> None:
    assert parse_usage(b"{'prompt_tokens': 7}") is NO_USAGE


def test_the_last_usage_counts() -> None:
    first, last = orjson.dumps({"prompt_tokens": 99}), orjson.dumps(CHAT)
    body = b'{"content":"\\"usage\\":' + first + b'","usage":' + first + b',"usage":' + last + b"}"
    assert read(body) == RequestUsage(7, 0, 3)
    assert read(body, b',"usage":null}') == RequestUsage(7, 0, 3)


def test_a_comment_at_the_end_of_a_stream_has_it() -> None:
    assert read(b"data: {}\n\n: usage ", orjson.dumps(CHAT), b"\n\n") == RequestUsage(7, 0, 3)
    assert read(b": usage " + orjson.dumps(CHAT)) == RequestUsage(7, 0, 3)
    assert read(b"data: usage " + orjson.dumps(CHAT)) is NO_USAGE


def test_only_the_end_is_searched() -> None:
    usage = b'"usage":' + orjson.dumps(CHAT)
    assert read(usage, b" " * (TAIL_BYTES - len(usage))) == RequestUsage(7, 0, 3)
    assert read(usage, b" " * (TAIL_BYTES - len(usage) + 1)) is NO_USAGE
    assert read(b" " * 10 * TAIL_BYTES, usage) == RequestUsage(7, 0, 3)
    assert read(*[b" "] * (3 * TAIL_BYTES), usage) == RequestUsage(7, 0, 3)


def test_the_last_two_bytes() -> None:
    tail = Tail()
    tail.add(b"a")
    assert tail.end == b"a"
    tail.add(b"bc")
    assert tail.end == b"bc"
