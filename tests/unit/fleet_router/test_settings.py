"""Settings are read once and refused by name."""

from __future__ import annotations

import pytest

from fleet_router.settings import RouterSettings


def test_defaults_and_values() -> None:
    settings = RouterSettings.read({})
    assert (settings.host, settings.port, settings.enable_metrics) == ("127.0.0.1", 8000, True)
    settings = RouterSettings.read({"PORT": "9", "ENABLE_METRICS": "no", "READ_TIMEOUT": " "})
    assert (settings.port, settings.enable_metrics, settings.read_timeout) == (9, False, 30.0)
    assert (settings.read_rate, settings.body_timeout) == (1024.0, 600.0)
    assert RouterSettings.read({"KEEP_ALIVE_SECONDS": "600"}).keep_alive_seconds == 600


@pytest.mark.parametrize(
    ("name", "value"),
    [("PORT", "x"), ("PORT", "70000"), ("DRAIN_TIMEOUT", "0"), ("READ_TIMEOUT", "inf"),
     ("ENABLE_METRICS", "maybe"), ("READ_RATE", "-1"), ("BODY_TIMEOUT", "0"),
     ("KEEP_ALIVE_SECONDS", "0"), ("REMOTE_KEYS", "[{}]"), ("USAGE_SINK", "ftp://sink.example"),
     ("USAGE_SINK", "https://sink.example:port/"), ("USAGE_SINK", "https://sink.example:99999/"),
     ("USAGE_SINK", "https://sink.example/\x7f"), ("USAGE_SINK_TOKEN", "sécret")],
)  # fmt: skip
def test_a_bad_value_names_its_variable(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=name):
        RouterSettings.read({name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [("USAGE_SINK_TOKEN", "sécret"), ("USAGE_SINK", "https://user:sécret@sink.example/")],
)
def test_a_refused_secret_is_not_shown(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=name) as caught:
        RouterSettings.read({name: value})
    assert "cret" not in str(caught.value)


@pytest.mark.parametrize("port", ["0", "70000", "8000"])
def test_the_port_for_metrics_is_another_one(port: str) -> None:
    with pytest.raises(ValueError, match="METRICS_PORT"):
        RouterSettings.read({"METRICS_PORT": port})
    assert RouterSettings.read({"METRICS_PORT": "9000"}).metrics_port == 9000
