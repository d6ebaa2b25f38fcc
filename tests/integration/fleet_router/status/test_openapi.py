"""The OpenAPI document of a running router."""

from __future__ import annotations

from typing import Any

import httpx


def test_the_document_is_public_without_keys(fleet: Any) -> None:
    assert httpx.get(f"{fleet.url}/openapi.json").json()["openapi"] == "3.1.0"
