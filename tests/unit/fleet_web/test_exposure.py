"""Addresses that other machines can reach need keys, or a switch."""

from __future__ import annotations

import pytest

from fleet_web.exposure import is_local_name, is_loopback, require_keys, warning

LOCAL = ("127.0.0.1", "127.8.8.8", "::1", "localhost", "LOCALHOST", "fleet.localhost")
OPEN = ("0.0.0.0", "::", "192.168.1.5", "::ffff:10.0.0.1", "")


@pytest.mark.parametrize("host", LOCAL)
def test_loopback_needs_nothing(host: str) -> None:
    assert is_loopback(host)
    require_keys(host, has_keys=False, allowed=False)
    assert warning(host, 8000, has_keys=False) == ""


@pytest.mark.parametrize("host", OPEN)
def test_other_addresses_need_keys_or_the_switch(host: str) -> None:
    assert not is_loopback(host)
    with pytest.raises(ValueError, match="KEYS_FILE, or ALLOW_UNAUTHENTICATED=1"):
        require_keys(host, has_keys=False, allowed=False)
    require_keys(host, has_keys=True, allowed=False)
    require_keys(host, has_keys=False, allowed=True)
    assert f"{host}:8000" in warning(host, 8000, has_keys=False)
    assert warning(host, 8000, has_keys=True) == ""


def test_an_unresolvable_name_is_left_to_the_listener() -> None:
    assert not is_loopback("name.invalid")
    require_keys("name.invalid", has_keys=False, allowed=False)


@pytest.mark.parametrize("name", [*LOCAL, "[::1]", "localhost."])
def test_local_names(name: str) -> None:
    assert is_local_name(name)


@pytest.mark.parametrize("name", ["localhost.evil.com", "127.0.0.1.nip.io", "evil", "", "0.0.0.0"])
def test_other_names(name: str) -> None:
    assert not is_local_name(name)
