"""Web pages cannot use a server on this machine, by DNS rebinding or from another origin."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from fleet_web.loopback_guard import LoopbackGuard


def refusal(host: str = "", origin: str = "", **accepted: Any) -> str:
    guard = LoopbackGuard(lambda *_: None, **accepted)  # type: ignore[arg-type, return-value]
    headers = [(b"host", host.encode())] if host else []
    return guard.refusal([*headers, (b"origin", origin.encode())] if origin else headers)


@pytest.mark.parametrize(
    "host",
    ["", "127.0.0.1:8000", "localhost:8000", "[::1]:8000", "[::1]", "a.localhost", "LOCALHOST."],
)
def test_names_of_this_machine_are_accepted(host: str) -> None:
    assert refusal(host) == ""


@pytest.mark.parametrize(
    "host",
    ["evil.example:8000", "localhost.evil.example", "192.168.0.2", "a@127.0.0.1.x", "[::1", "["],
)
def test_other_names_are_refused(host: str) -> None:
    assert "ALLOWED_HOSTS" in refusal(host)
    assert refusal(host, hosts=["*"]) == ""


def test_listed_names_are_accepted() -> None:
    assert refusal("Fleet.example.:443", hosts=["fleet.example"]) == ""
    assert refusal("x.fleet.example", hosts=["fleet.example"])


@pytest.mark.parametrize(
    "origin",
    ["http://localhost:3000", "http://127.0.0.1", "https://[::1]:9", "tauri://localhost",
     "vscode-webview://x", "chrome-extension://abc"],
)  # fmt: skip
def test_local_pages_and_applications_are_accepted(origin: str) -> None:
    assert refusal("localhost", origin) == ""


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "HTTP://evil.example", "null", "http://["]
)
def test_other_pages_are_refused(origin: str) -> None:
    assert "CORS_ORIGINS" in refusal("localhost", origin)
    assert refusal("localhost", origin, origins=["*"]) == ""
    assert refusal("localhost", origin, origins=[origin]) == ""


async def test_a_refusal_is_an_error_of_openais_shape() -> None:
    async def app(*_: Any) -> None:
        raise AssertionError

    transport = httpx.ASGITransport(LoopbackGuard(app))
    async with httpx.AsyncClient(transport=transport, base_url="http://evil.example") as http:
        answer = await http.get("/v1/models")
    assert answer.status_code == 403
    assert answer.json()["error"]["type"] == "permission_error"
