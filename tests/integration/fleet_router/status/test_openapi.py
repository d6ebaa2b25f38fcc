"""The OpenAPI document of a running router."""

from __future__ import annotations

from typing import Any

import httpx


def test_without_keys_everybody_may_read_it(fleet: Any) -> None:
    assert httpx.get(f"{fleet.url}/openapi.json").json()["openapi"] == "3.1.0"
