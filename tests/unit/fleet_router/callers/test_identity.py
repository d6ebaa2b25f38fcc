"""The id of a caller: by key, else by address."""

from __future__ import annotations

import hashlib

from fleet_router.callers.identity import caller_id
from fleet_router.callers.keys import Key
from fleet_router.callers.quota import Quota


def by_key(digit: str) -> str:
    return caller_id(Quota(Key(name="k", sha256=digit * 64)), "10.0.0.1")


def test_a_key_is_identified_wherever_its_requests_come_from() -> None:
    expected = hashlib.sha256(b"key:" + b"1" * 64).digest()[:8].hex()
    assert by_key("1") == expected
    assert by_key("1") != by_key("2")


def test_without_keys_the_address_identifies() -> None:
    assert caller_id(None, "10.0.0.1") == hashlib.sha256(b"peer:10.0.0.1").digest()[:8].hex()
    assert caller_id(None, "10.0.0.1") != caller_id(None, "10.0.0.2")
    assert caller_id(None, "::ffff:10.0.0.1") == caller_id(None, "10.0.0.1")
    assert len(caller_id(None, "")) == 16


def test_a_host_with_many_ipv6_addresses_is_one_caller() -> None:
    assert caller_id(None, "2001:db8::1") == caller_id(None, "2001:db8::ffff:1")
    assert caller_id(None, "2001:db8::1") != caller_id(None, "2001:db8:0:1::1")
    link_local = hashlib.sha256(b"peer:fe80::").digest()[:8].hex()
    assert caller_id(None, "fe80::1") == link_local
