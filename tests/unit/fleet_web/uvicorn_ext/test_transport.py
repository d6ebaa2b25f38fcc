"""The head of a response is written with its body, and never later than in the same turn."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from fleet_web.uvicorn_ext.transport import CoalescingTransport


class Written:
    """A transport that records the calls."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.closing = False

    def is_closing(self) -> bool:
        return self.closing

    def __getattr__(self, name: str) -> Any:
        return lambda *values: self.calls.append((name, *values))


@pytest.fixture
async def joined() -> tuple[Any, list[Any]]:
    below: Any = Written()
    return CoalescingTransport(below, asyncio.get_running_loop()), below.calls


def responding() -> Any:
    return SimpleNamespace(response_started=True)


async def test_a_head_is_written_with_what_follows(joined: Any) -> None:
    transport, calls = joined
    transport.write(b"HTTP/1.1 100 Continue")
    transport.expect_response(responding())
    transport.write(b"head ")
    assert transport._head == b"head "
    transport.write(b"body")
    transport.write(b"more")
    await asyncio.sleep(0)
    assert calls == [
        ("write", b"HTTP/1.1 100 Continue"), ("write", b"head body"), ("write", b"more"),
    ]  # fmt: skip


async def test_a_head_without_a_body_is_written_in_the_same_turn(joined: Any) -> None:
    transport, calls = joined
    transport.expect_response(responding())
    transport.write(b"head")
    assert calls == []
    await asyncio.sleep(0)
    assert calls == [("write", b"head")]
    transport.write(b"body")
    transport.expect_response(responding())
    transport.write(b"second head")
    transport.write(b" and body")
    assert calls[1:] == [("write", b"body"), ("write", b"second head and body")]


@pytest.mark.parametrize("end", ["close", "write_eof"])
async def test_a_kept_head_is_written_before_the_end(joined: Any, end: str) -> None:
    transport, calls = joined
    transport.expect_response(responding())
    transport.write(b"head")
    getattr(transport, end)()
    await asyncio.sleep(0)
    assert calls == [("write", b"head"), (end,)]
    transport.pause_reading()
    assert calls[-1] == ("pause_reading",)


async def test_a_head_is_dropped_when_the_client_is_gone(joined: Any) -> None:
    transport, calls = joined
    transport.expect_response(responding())
    transport.write(b"head")
    transport._transport.closing = True
    await asyncio.sleep(0)
    assert calls == []
