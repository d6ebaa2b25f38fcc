"""Responses to probes name the start of their process."""

from __future__ import annotations

import pytest

from fleet_web.instance import probe_headers


@pytest.mark.parametrize(
    ("value", "headers"),
    [("ab12", {"x-modelfleet-instance": "ab12"}), ("", {}), ("a\r\nb: c", {})],
)
def test_the_instance_is_a_header(
    monkeypatch: pytest.MonkeyPatch, value: str, headers: dict[str, str]
) -> None:
    monkeypatch.setenv("MODELFLEET_INSTANCE", value)
    assert probe_headers() == headers


def test_without_a_supervisor_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MODELFLEET_INSTANCE", raising=False)
    assert probe_headers() == {}
