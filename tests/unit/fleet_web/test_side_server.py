"""A second app on its own port, in the loop of the first."""

from __future__ import annotations

import asyncio
import signal
import socket
from typing import Any

import httpx
import pytest

from fleet_web import side_server


async def app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"side"})


async def test_it_serves_until_cancelled_and_again() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with side_server.listen("127.0.0.1", 0) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        for _ in range(2):
            task = asyncio.create_task(side_server.serve(app, listener))
            async with httpx.AsyncClient(trust_env=False, timeout=30) as http:
                assert (await http.get(url)).text == "side"
            assert signal.getsignal(signal.SIGTERM) is before
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}"):
            side_server.listen("127.0.0.1", port)


async def test_all_addresses_are_those_of_both_families() -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6")
    with side_server.listen("::", 0) as listener:
        port = listener.getsockname()[1]
        task = asyncio.create_task(side_server.serve(app, listener))
        async with httpx.AsyncClient(trust_env=False, timeout=30) as http:
            for host in ("127.0.0.1", "[::1]"):
                assert (await http.get(f"http://{host}:{port}")).text == "side"
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_without_ipv6_all_addresses_are_those_of_ipv4(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    with side_server.listen("::", 0) as listener:
        assert listener.family is socket.AF_INET
