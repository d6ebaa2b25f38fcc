"""Logins of registries, from Secrets and docker's configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fleet_weights.errors import WeightsError
from fleet_weights.registry.image import scheme
from fleet_weights.registry.logins import Login, basic

ENTRY = {"auth": "dXNlcjpwYXNz"}


def config(auths: Any) -> str:
    return json.dumps({"auths": auths})


@pytest.mark.parametrize(
    ("key", "host"),
    [("ghcr.io", "ghcr.io"), ("https://ghcr.io/v2/", "ghcr.io"), ("host:5000", "host:5000"),
     ("https://index.docker.io/v1/", "docker.io")],
)  # fmt: skip
def test_the_login_of_a_host(key: str, host: str) -> None:
    environ = {"DOCKER_AUTH_CONFIG": config({key: ENTRY})}
    assert basic(host, environ) == "Basic dXNlcjpwYXNz"
    assert basic("other.example.com", environ) is None


def test_a_secret_and_a_file(tmp_path: Path) -> None:
    plain = {"username": "user", "password": "pass"}
    environ = {"DOCKER_AUTH_CONFIG": config({"b": plain})}
    assert basic("b", environ) == "Basic dXNlcjpwYXNz"
    (tmp_path / "config.json").write_text(config({"a": ENTRY, "b": {}}))
    file = {"DOCKER_CONFIG": str(tmp_path)}
    assert basic("a", file) == "Basic dXNlcjpwYXNz"
    assert basic("b", file) is None
    assert basic("a", {**file, **environ}) is None, "the Secret replaces the file"
    assert basic("a", {}) is None


@pytest.mark.parametrize("text", ["{", "[]", '{"auths": 3}'])
def test_logins_that_cannot_be_read_are_not_shown(text: str) -> None:
    with pytest.raises(WeightsError) as caught:
        basic("a", {"DOCKER_AUTH_CONFIG": text})
    assert text not in caught.value.message


def test_a_password_goes_to_no_address_without_https() -> None:
    asked: list[str] = []
    login = Login("https://r/v2/m", "Basic x", lambda url, _: asked.append(url) or {"token": "t"})
    with pytest.raises(WeightsError, match="not https"):
        login.renew('Bearer realm="http://evil/token"')
    assert not asked
    assert login.renew('Bearer realm="https://auth/token",service="s"') == "Bearer t"
    assert asked == ["https://auth/token?service=s"]
    assert login.renew("Basic realm") == "Basic x"
    assert login.header == "Basic x"


def test_registries_without_tls() -> None:
    environ = {"INSECURE_REGISTRIES": "plain.example.com:5000, other"}
    assert scheme("localhost:5000", {}) == scheme("127.0.0.1:1", {}) == "http"
    assert scheme("plain.example.com:5000", environ) == "http"
    assert scheme("plain.example.com", environ) == "https"
    assert scheme("ghcr.io", {}) == "https"
