"""The router at the edge: HTTPS, CORS and remote addresses."""

from __future__ import annotations

import json
import ssl
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.required import require_program

KEY = "sk-of-the-router"


def test_https_with_a_certificate(start_router: Any, entry: Any, stub: Any, tmp_path: Path) -> None:
    require_program("openssl")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj",
         "/CN=router", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", chain],
        check=True, capture_output=True,
    )  # fmt: skip
    environ = {"TLS_CERT": str(chain), "TLS_KEY": str(key)}
    trust = ssl.create_default_context(cafile=str(chain))
    with start_router(tmp_path, [entry("acme/chat", "chat", stub.port)], environ) as fleet:
        answer = httpx.post(
            f"https://127.0.0.1:{fleet.port}/v1/chat/completions",
            json={"model": "acme/chat"}, verify=trust,
        )  # fmt: skip
        assert answer.status_code == 200
        with pytest.raises(httpx.TransportError):
            fleet.chat()


def test_cors_of_configured_origins(
    start_router: Any, entry: Any, stub: Any, tmp_path: Path
) -> None:
    models = [entry("acme/chat", "chat", stub.port)]
    environ = {"CORS_ORIGINS": "https://app.example.com"}
    with start_router(tmp_path, models, environ) as fleet:
        url = f"{fleet.url}/v1/chat/completions"
        mine, other = ({"origin": f"https://{name}.example.com"} for name in ("app", "evil"))
        requested = {"access-control-request-method": "POST",
                 "access-control-request-headers": "authorization,content-type"}  # fmt: skip
        preflight = httpx.options(url, headers=mine | requested)
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == mine["origin"]
        assert httpx.options(url, headers=other | requested).status_code == 403
        for body in ({"model": "acme/chat"}, {"model": "none"}):
            answer = httpx.post(url, json=body, headers=mine)
            assert answer.headers["access-control-allow-origin"] == mine["origin"]
            assert "x-modelfleet-model" in answer.headers["access-control-expose-headers"]
        refused = httpx.post(url, json={"model": "acme/chat"}, headers=other)
        assert refused.status_code == 403
        assert "access-control-allow-origin" not in refused.headers


@pytest.mark.parametrize("name", [{"host": "evil.example"}, {"origin": "http://evil.example"}])
def test_pages_of_other_sites_reach_neither_router_nor_server(
    fleet: Any, stub: Any, name: dict[str, str]
) -> None:
    body = {"model": "chat", "messages": []}
    answer = httpx.post(
        f"{fleet.url}/v1/chat/completions", json=body, headers={**name, "x-id": "rebound"}
    )
    assert (answer.status_code, answer.json()["error"]["type"]) == (403, "permission_error")
    assert stub.seen("rebound") == {}


def test_no_cors_without_origins(fleet: Any) -> None:
    answer = httpx.options(f"{fleet.url}/v1/models", headers={"origin": "https://a.example.com"})
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers


def test_a_remote_address_gets_its_own_key_and_model_id(
    start_router: Any, entry: Any, stub: Any, tmp_path: Path
) -> None:
    remote = {"address": f"http://127.0.0.1:{stub.port}/base", "model": "big", "apiKeyEnv": "K"}
    models = [entry("cloud", "chat", engine="remote", remote=remote)]
    rule = {"name": "K", "addresses": [f"http://127.0.0.1:{stub.port}/base"]}
    environ = {"K": KEY, "REMOTE_KEYS": json.dumps([rule])}
    with start_router(tmp_path, models, environ) as fleet:
        answer = httpx.post(
            f"{fleet.url}/v1/chat/completions", json={"model": "cloud", "n": 1.5},
            headers={"x-id": "remote", "authorization": "Bearer sk-of-the-client"},
        )  # fmt: skip
        assert answer.status_code == 200
        assert answer.json()["asked"] == "big"
        assert answer.headers["x-modelfleet-model"] == "cloud"
        got = stub.seen("remote")
        assert got["path"] == "base/v1/chat/completions"
        assert ["authorization", f"Bearer {KEY}"] in got["headers"]
        assert [name for name, _ in got["headers"]].count("authorization") == 1
        listed = httpx.get(f"{fleet.url}/v1/models").json()["data"]
        assert [(each["id"], each["state"]) for each in listed] == [("cloud", "ready")]
        assert httpx.get(f"{fleet.url}/metrics").status_code == 200
        assert KEY not in json.dumps(fleet.process.lines)


def test_remote_errors_are_forwarded_without_waiting(
    start_router: Any, entry: Any, stub: Any, tmp_path: Path, headers: Any
) -> None:
    models = [
        entry("cloud", "chat", engine="remote",
              remote={"address": f"http://127.0.0.1:{stub.port}"}),
        entry("gone", "chat", engine="remote", remote={"address": "http://127.0.0.1:1"}),
    ]  # fmt: skip
    with start_router(tmp_path, models, {"HOLD_SECONDS": "600"}) as fleet:
        assert fleet.chat("cloud", {"status": 503}).status_code == 503
        answer = fleet.chat("gone")
        assert answer.status_code == 503
        assert "cannot be reached" in answer.json()["error"]["message"]
