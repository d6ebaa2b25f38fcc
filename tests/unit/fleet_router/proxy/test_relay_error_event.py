"""The error event that ends a broken stream."""

from __future__ import annotations

import pytest

from fleet_contract.error_shapes import error_body
from fleet_contract.errors import UpstreamFailed
from fleet_router.proxy.response_writer import error_event


@pytest.mark.parametrize(
    ("tail", "separator"), [(b"", b""), (b"\n\n", b""), (b"x\n", b"\n\n"), (b"xy", b"\n\n")]
)
def test_an_error_event_is_separated_from_earlier_events(tail: bytes, separator: bytes) -> None:
    event = error_event(UpstreamFailed("gone").body(), tail)
    assert event.startswith(separator + b"data: {")
    assert event.endswith(b"\n\n")


def test_an_event_in_anthropics_format_has_a_name() -> None:
    event = error_event(error_body(UpstreamFailed("gone"), "/v1/messages"), b"")
    assert event.startswith(b'event: error\ndata: {"type":"error","error":{"type":"api_error"')
