"""A request id on every response."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest


@pytest.mark.parametrize("given", ["a", "order-7:retry_2.b", "x" * 128])
async def test_the_clients_id_is_kept(app: Any, listen: Any, given: str) -> None:
    with listen(app) as port:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            answer = await client.get("/id", headers={"x-request-id": given})
    assert answer.headers["x-request-id"] == given
    assert answer.json() == {"id": given}


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, 'say "hi"', "a\tb", "{}"])
async def test_an_odd_id_is_replaced(app: Any, listen: Any, given: str) -> None:
    with listen(app) as port:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            answer = await client.get("/id", headers={"x-request-id": given})
    made = answer.headers["x-request-id"]
    assert re.fullmatch(r"req-[0-9a-f]{32}", made)
    assert answer.json() == {"id": made}


async def test_every_request_gets_its_own(app: Any, listen: Any) -> None:
    with listen(app) as port:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            ids = {(await client.get("/id")).headers["x-request-id"] for _ in range(5)}
    assert len(ids) == 5
