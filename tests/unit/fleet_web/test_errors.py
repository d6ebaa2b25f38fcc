"""One shape for every error."""

from __future__ import annotations

import logging
from typing import Any

import httpx
import pytest

SHAPE = {"message", "type", "param", "code"}


async def ask(port: int, method: str, path: str, **more: Any) -> httpx.Response:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        return await client.request(method, path, **more)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "/json", 405, "method_not_allowed"),
        ("DELETE", "/id", 405, "method_not_allowed"),
        ("GET", "/boom", 500, None),
        ("GET", "/busy", 503, "model_not_ready"),
    ],
)
async def test_every_failure_has_the_shape_and_an_id(
    app: Any, listen: Any, method: str, path: str, status: int, code: str | None
) -> None:
    with listen(app) as port:
        answer = await ask(port, method, path, headers={"x-request-id": "mine"})
    assert answer.status_code == status
    assert set(answer.json()["error"]) == SHAPE
    assert answer.json()["error"]["code"] == code
    assert answer.headers["x-request-id"] == "mine"


async def test_a_405_names_the_methods(app: Any, listen: Any) -> None:
    with listen(app) as port:
        answer = await ask(port, "GET", "/json")
    assert answer.headers["allow"] == "POST"


async def test_the_text_of_an_exception_is_logged_and_never_sent(
    app: Any, listen: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR), listen(app) as port:
        answer = await ask(port, "GET", "/boom")
    assert "secret" not in answer.text
    assert "ZeroDivision" not in answer.text
    assert any(record.exc_info for record in caplog.records)


async def test_retry_after_is_rounded_up_and_exact_in_another_header(app: Any, listen: Any) -> None:
    with listen(app) as port:
        answer = await ask(port, "GET", "/busy")
    assert answer.headers["retry-after"] == "2"
    assert answer.headers["retry-after-ms"] == "1200"


async def test_a_failure_during_the_response_closes_the_connection(app: Any, listen: Any) -> None:
    with listen(app) as port, pytest.raises(httpx.RemoteProtocolError):
        await ask(port, "GET", "/half")
