"""Which hosts images come from, by name and address."""

from __future__ import annotations

import ipaddress

import pytest
from pydantic import ValidationError

from fleet_contract.spec_parts import ImageInputs
from fleet_server.images.hosts import Hosts, is_public

PUBLIC, PRIVATE, LOOPBACK = "93.184.215.14", "10.1.2.3", "127.0.0.1"
METADATA = "169.254.169.254"

CASES = [
    ([], "any.example", PUBLIC, True),
    ([], "any.example", PRIVATE, False),
    (["intranet"], "intranet", PRIVATE, True),
    (["intranet"], "INTRANET.", PRIVATE, True),
    (["intranet"], "intranet", LOOPBACK, True),
    (["intranet"], "intranet", "fd00::5", True),
    (["intranet"], "intranet", PUBLIC, True),
    (["intranet"], "intranet", METADATA, False),
    (["intranet"], "intranet", "::ffff:169.254.169.254", False),
    (["intranet"], "intranet", "224.0.0.1", False),
    (["intranet"], "intranet", "0.0.0.0", False),
    (["intranet"], "other", PRIVATE, False),
    (["intranet"], "sub.intranet", PRIVATE, False),
    (["intranet"], "intranet.evil.example", PRIVATE, False),
    (["intranet"], "any.example", PUBLIC, False),
    (["intranet", "*"], "any.example", PUBLIC, True),
    (["intranet", "*"], "any.example", PRIVATE, False),
    (["*"], "*", PRIVATE, False),
    (["10.0.0.0/8"], "any.example", PRIVATE, True),
    (["10.0.0.0/8"], PRIVATE, PRIVATE, True),
    (["10.0.0.0/8"], "any.example", "::ffff:10.1.2.3", True),
    (["10.0.0.0/8"], "any.example", "11.1.2.3", False),
    (["10.1.2.3"], PRIVATE, PRIVATE, True),
    (["10.1.2.3"], "10.1.2.4", "10.1.2.4", False),
    (["fd00::/8"], "any.example", "fd00::5", True),
    ([f"{METADATA}/32"], "any.example", METADATA, True),
]


@pytest.mark.parametrize(("allowed", "host", "address", "permitted"), CASES)
def test_a_host_and_its_address(
    allowed: list[str], host: str, address: str, permitted: bool
) -> None:
    hosts = Hosts(ImageInputs(allowed_hosts=allowed).allowed_hosts, is_public)
    assert hosts.permits(host, ipaddress.ip_address(address)) == permitted


@pytest.mark.parametrize(
    "host", ["", "http://a", "a/b", "10.0.0.1/8", "10.0.0.0/33", "a_b", "-a", "300.1.1.1", "a b"]
)
def test_invalid_hosts_are_refused(host: str) -> None:
    with pytest.raises(ValidationError):
        ImageInputs(allowed_hosts=[host])


def test_hosts_are_compared_in_lower_case() -> None:
    hosts = ImageInputs(allowed_hosts=["Intranet.Example", "FD00::0/8", "*"]).allowed_hosts
    assert hosts == ["intranet.example", "fd00::/8", "*"]
