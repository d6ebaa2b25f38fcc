"""Settings of the server that are not fields of a spec."""

from __future__ import annotations

import pytest

from fleet_contract.cpus import available_cpus
from fleet_server.settings import ServerSettings


def test_defaults() -> None:
    for environ in ({}, {"DRAIN_TIMEOUT": " ", "MODELFLEET_THREADS": ""}):
        assert ServerSettings.read(environ) == ServerSettings(
            available_cpus(), True, 30, 30, 1024, 600, 75, 15
        )


def test_each_is_read() -> None:
    environ = {
        "MODELFLEET_THREADS": "3", "ENABLE_METRICS": "off", "DRAIN_TIMEOUT": "1.5",
        "READ_TIMEOUT": "2", "READ_RATE": "0", "BODY_TIMEOUT": "9", "KEEP_ALIVE_SECONDS": "600",
        "HEARTBEAT_SECONDS": "0",
    }  # fmt: skip
    assert ServerSettings.read(environ) == ServerSettings(3, False, 1.5, 2, 0, 9, 600, 0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MODELFLEET_THREADS", "0"), ("MODELFLEET_THREADS", "two"), ("ENABLE_METRICS", "maybe"),
        ("DRAIN_TIMEOUT", "-1"), ("READ_TIMEOUT", "nan"), ("READ_TIMEOUT", "inf"),
        ("READ_RATE", "-1"), ("BODY_TIMEOUT", "0"), ("KEEP_ALIVE_SECONDS", "0"),
        ("HEARTBEAT_SECONDS", "-1"), ("HEARTBEAT_SECONDS", "nan"),
    ],
)  # fmt: skip
def test_a_bad_value_names_its_variable(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=name):
        ServerSettings.read({name: value})
