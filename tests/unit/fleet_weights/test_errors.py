"""Errors of weights contain no secrets of their addresses."""

from __future__ import annotations

import pytest

from fleet_weights import address
from fleet_weights.errors import WeightsError


def test_the_query_of_a_presigned_address_is_removed() -> None:
    error = WeightsError("https://h/w?sig=5ecret has no sha256.", "See https://h/w?sig=5ecret")
    assert (error.message, error.hint) == ("https://h/w?... has no sha256.", "See https://h/w?...")
    assert "5ecret" not in str(error)


def test_an_address_that_is_refused_is_shown_without_it() -> None:
    with pytest.raises(WeightsError) as caught:
        address.parse("http://bucket/w.gguf?sig=5ecret")
    assert "http://bucket/w.gguf?..." in caught.value.message
    assert "5ecret" not in str(caught.value)


def test_responses_of_servers_cannot_control_the_terminal() -> None:
    assert WeightsError("HTTP 403 (\x1b[2Jno).\nline").message == "HTTP 403 (\\x1b[2Jno).\nline"
