"""The caller of a request."""

from __future__ import annotations

from typing import Any

import pytest

from fleet_web.request_body.caller import caller_of

HASH = b"0123456789abcdef"


def scope(*headers: tuple[bytes, bytes], client: Any = ("192.0.2.1", 4711)) -> dict[str, Any]:
    return {"type": "http", "headers": list(headers), "client": client}


def test_the_router_names_the_caller() -> None:
    assert caller_of(scope((b"x-modelfleet-caller", HASH))) == HASH.decode()


@pytest.mark.parametrize("value", [b"", b"0123456789ABCDEF", HASH + b"0", b"x" * 16, b"\xff" * 16])
def test_anything_else_is_the_peer(value: bytes) -> None:
    assert caller_of(scope((b"x-modelfleet-caller", value))) == "192.0.2.1"
    assert caller_of(scope((b"x-caller", HASH))) == "192.0.2.1"


def test_a_request_without_a_peer_has_an_empty_caller() -> None:
    assert caller_of(scope(client=None)) == ""
