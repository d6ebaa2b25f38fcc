"""The operator's settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet_operator.settings import OperatorSettings, account_namespace


def test_defaults() -> None:
    settings = OperatorSettings.read({})
    assert settings.namespaces == ()
    assert (settings.image_cpu, settings.image_cuda) == ("modelfleet-server:cpu", "")
    assert settings.catalog is None
    assert (settings.pod_templates, settings.remote_keys) == ("restricted", None)
    assert settings.service_account == ""
    assert settings.router_selector == {
        "app.kubernetes.io/name": "modelfleet", "app.kubernetes.io/component": "router",
    }  # fmt: skip
    assert (settings.workers, settings.port) == (48, 8080)


def test_lists_and_labels() -> None:
    settings = OperatorSettings.read({
        "WATCH_NAMESPACES": "a, b,", "ROUTER_SELECTOR": "app=router,tier=", "CATALOG": "/c.yaml",
        "IMAGE_PULL_SECRETS": "one",
    })  # fmt: skip
    assert settings.namespaces == ("a", "b")
    assert settings.router_selector == {"app": "router", "tier": ""}
    assert (settings.catalog, settings.pull_secrets) == (Path("/c.yaml"), ("one",))


@pytest.mark.parametrize(("text", "factor"), [("", 2), ("0", 0), ("1", 1), ("100", 100)])
def test_the_factor_of_memory_limits(text: str, factor: float) -> None:
    settings = OperatorSettings.read({"MEMORY_LIMIT_FACTOR": text})
    assert settings.memory_limit_factor == factor


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"WORKERS": "many"}, "WORKERS='many'"),
        ({"WORKERS": "0"}, "WORKERS=0: must be greater than 0"),
        ({"RESYNC_INTERVAL": "-1"}, "RESYNC_INTERVAL=-1.0"),
        ({"MEMORY_LIMIT_FACTOR": "0.5"}, "MEMORY_LIMIT_FACTOR=0.5: must be 0, or 1 to 100"),
        ({"MEMORY_LIMIT_FACTOR": "nan"}, "MEMORY_LIMIT_FACTOR=nan: must be"),
        ({"MEMORY_LIMIT_FACTOR": "101"}, "MEMORY_LIMIT_FACTOR=101.0: must be"),
        ({"POD_TEMPLATES": "open"}, "POD_TEMPLATES='open': must be restricted or full"),
        ({"REMOTE_KEYS": '[{"name": "A"}]'}, "REMOTE_KEYS=.*0.addresses"),
        ({"ROUTER_SELECTOR": "router"}, "ROUTER_SELECTOR='router': must be key=value"),
    ],
)
def test_bad_settings_are_named(environ: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OperatorSettings.read(environ)


def test_the_namespace_of_the_pod(tmp_path: Path) -> None:
    assert account_namespace(tmp_path) == "default"
    (tmp_path / "namespace").write_text("fleet\n")
    assert account_namespace(tmp_path) == "fleet"
