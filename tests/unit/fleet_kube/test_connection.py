"""Service accounts, kubeconfig files, exec plugins and the renewal of credentials."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import certifi
import pytest
import yaml
from aiohttp import web

from fleet_kube import connection as connections
from fleet_kube.client import KubeClient
from fleet_kube.connection import Connection, connect
from fleet_kube.errors import ConfigError
from fleet_kube.kind import Kind
from support.aiohttp_server import served
from support.required import require_program

AUTHORITY = Path(certifi.where()).read_bytes()


def config(tmp_path: Path, cluster: dict[str, Any], user: dict[str, Any], **context: str) -> Path:
    path = tmp_path / "config"
    path.write_text(
        yaml.safe_dump(
            {
                "current-context": "here",
                "contexts": [
                    {"name": "there", "context": {"cluster": "none", "user": "none"}},
                    {"name": "here", "context": {"cluster": "c", "user": "u", **context}},
                ],
                "clusters": [{"name": "c", "cluster": cluster}],
                "users": [{"name": "u", "user": user}],
            }
        )
    )
    return path


def tls(found: Connection) -> ssl.SSLContext:
    context = found._api.rest_client.ssl_context
    assert isinstance(context, ssl.SSLContext)
    return context


async def from_kubeconfig(path: Path) -> Connection:
    return await connect({"KUBECONFIG": str(path)})


async def test_a_pod_reads_its_service_account_and_rereads_its_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ca.crt").write_bytes(AUTHORITY)
    (tmp_path / "namespace").write_text("models\n")
    (tmp_path / "token").write_text("one\n")
    found = await connect({"KUBERNETES_SERVICE_HOST": "fd00::1"}, tmp_path)
    assert (found.server, found.namespace) == ("https://[fd00::1]:443", "models")
    assert tls(found).verify_mode is ssl.CERT_REQUIRED
    assert await found.authorization() == "bearer one"
    (tmp_path / "token").write_text("two\n")
    await found.renew("bearer one")
    assert await found.authorization() == "bearer two"
    (tmp_path / "token").write_text("three\n")
    await found.renew("bearer one")  # another request has renewed it since
    assert await found.authorization() == "bearer two"
    later = time.monotonic() + connections.FILE_SECONDS
    monkeypatch.setattr(connections.time, "monotonic", lambda: later)
    assert await found.authorization() == "bearer three"
    assert "three" not in repr(found)


async def test_a_pod_without_a_service_account_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="service account"):
        await connect({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, tmp_path)


async def test_a_kubeconfig_names_server_namespace_and_token(tmp_path: Path) -> None:
    data = base64.b64encode(AUTHORITY).decode()
    cluster = {"server": "https://10.0.0.1:6443/", "certificate-authority-data": data}
    path = config(tmp_path, cluster, {"token": "secret"}, namespace="models")
    found = await from_kubeconfig(path)
    assert (found.server, found.namespace) == ("https://10.0.0.1:6443", "models")
    assert await found.authorization() == "Bearer secret"
    assert "secret" not in repr(found)


async def test_files_are_found_next_to_the_kubeconfig(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ca.pem").write_bytes(AUTHORITY)
    (tmp_path / "token").write_text("filed")
    cluster = {"server": "https://x", "certificate-authority": "ca.pem"}
    path = config(tmp_path, cluster, {"tokenFile": "token"})
    found = await from_kubeconfig(path)
    assert (await found.authorization(), found.namespace) == ("Bearer filed", "default")
    (tmp_path / "token").write_text("replaced")
    later = time.monotonic() + connections.FILE_SECONDS
    monkeypatch.setattr(connections.time, "monotonic", lambda: later)
    assert await found.authorization() == "Bearer replaced"
    skipping = {"server": "https://x", "insecure-skip-tls-verify": True}
    assert not tls(await from_kubeconfig(config(tmp_path, skipping, {}))).check_hostname


async def test_several_kubeconfigs_are_merged(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    path = config(tmp_path, {"server": "https://x"}, {"token": "t"})
    users = {"users": [{"name": "u", "user": {"token": "hidden"}}]}
    (tmp_path / "more" / "config").write_text(yaml.safe_dump(users))
    found = await connect({"KUBECONFIG": f"{path}:{tmp_path}/more/config:{tmp_path}/missing"})
    assert await found.authorization() == "Bearer t"


@pytest.mark.parametrize(
    ("cluster", "user", "message"),
    [
        ({}, {}, "server"),
        ({"server": "https://x", "certificate-authority": "none.pem"}, {}, "none.pem"),
        ({"server": "https://x", "certificate-authority-data": "!"}, {}, "certificates"),
        (
            {"server": "https://x"},
            {"client-certificate-data": "eA==", "client-key-data": "eA=="},
            "config",
        ),
    ],
)
async def test_unsupported_configurations_are_errors(
    tmp_path: Path, cluster: dict[str, Any], user: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        await from_kubeconfig(config(tmp_path, cluster, user))


@pytest.mark.parametrize("text", ["", "[]", "{", "current-context: none\ncontexts: []"])
async def test_an_invalid_kubeconfig_is_an_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(ConfigError, match="config"):
        await connect({"KUBECONFIG": str(path)})


async def test_a_kubeconfig_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="missing: not a usable kubeconfig: no such file"):
        await connect({"KUBECONFIG": str(tmp_path / "missing")})


async def test_without_any_cluster_all_ways_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="KUBECONFIG"):
        await connect({"HOME": str(tmp_path)})


PLUGIN = """
import json, os, pathlib, sys
folder = pathlib.Path(__file__).parent
runs = len((folder / "runs").read_text()) + 1 if (folder / "runs").exists() else 1
(folder / "runs").write_text("x" * runs)
asked = json.loads(os.environ["KUBERNETES_EXEC_INFO"])
status = json.loads((folder / "status").read_text())
if "token" in status:
    status["token"] += f"-{os.environ['ACCOUNT']}-{runs}"
print(json.dumps({"apiVersion": asked["apiVersion"], "kind": "ExecCredential", "status": status}))
sys.exit(status.get("exit", 0))
"""


def plugin(tmp_path: Path, **status: Any) -> dict[str, Any]:
    """A user whose plugin returns `status`; its token ends with the number of the run."""
    (tmp_path / "plugin.py").write_text(PLUGIN)
    (tmp_path / "status").write_text(json.dumps(status))
    return {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": sys.executable,
            "args": [str(tmp_path / "plugin.py")],
            "env": [{"name": "ACCOUNT", "value": "me"}],
        }
    }


async def test_an_exec_plugin_runs_once_and_again_when_its_token_is_rejected(
    tmp_path: Path,
) -> None:
    user = plugin(tmp_path, token="t")
    found = await from_kubeconfig(config(tmp_path, {"server": "https://x"}, user))
    assert [await found.authorization() for _ in range(3)] == ["Bearer t-me-1"] * 3
    await asyncio.gather(*(found.renew("Bearer t-me-1") for _ in range(5)))
    assert await found.authorization() == "Bearer t-me-2"


async def test_an_exec_plugin_that_fails_later_is_an_error_until_it_works(tmp_path: Path) -> None:
    user = plugin(tmp_path, token="t")
    found = await from_kubeconfig(config(tmp_path, {"server": "https://x"}, user))
    plugin(tmp_path, exit=1)
    with pytest.raises(ConfigError, match="returned no credentials"):
        await found.renew("Bearer t-me-1")
    plugin(tmp_path, token="t")
    await found.renew("Bearer t-me-1")
    assert await found.authorization() == "Bearer t-me-3"


async def test_an_exec_plugin_runs_again_before_its_token_expires(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expiry = (datetime.now(UTC) + timedelta(seconds=1000)).strftime("%Y-%m-%dT%H:%M:%SZ")
    user = plugin(tmp_path, token="t", expirationTimestamp=expiry)
    found = await from_kubeconfig(config(tmp_path, {"server": "https://x"}, user))
    started = time.monotonic()
    assert await found.authorization() == "Bearer t-me-1"
    monkeypatch.setattr(connections.time, "monotonic", lambda: started + 700)
    assert await found.authorization() == "Bearer t-me-1"
    monkeypatch.setattr(connections.time, "monotonic", lambda: started + 900)
    assert await found.authorization() == "Bearer t-me-2"


def certificate(folder: Path) -> str:
    """A certificate and its key."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-subj", "/CN=me", "-keyout", "key.pem", "-out", "cert.pem"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    return (folder / "cert.pem").read_text() + (folder / "key.pem").read_text()


def presented(found: Connection) -> str:
    """The client certificate."""
    return Path(found.configuration.cert_file).read_text()


async def test_an_exec_plugin_may_return_a_client_certificate(tmp_path: Path) -> None:
    require_program("openssl")
    first, second = certificate(tmp_path), certificate(tmp_path)
    user = plugin(tmp_path, clientCertificateData=first, clientKeyData=first)
    found = await from_kubeconfig(config(tmp_path, {"server": "https://x"}, user))
    assert presented(found) == first
    plugin(tmp_path, clientCertificateData=second, clientKeyData=second)
    await found.renew("")
    assert presented(found) == second


@pytest.mark.parametrize("status", [{"exit": 1}, {}, {"clientCertificateData": "only"}])
async def test_an_exec_plugin_without_credentials_is_an_error(
    tmp_path: Path, status: dict[str, Any]
) -> None:
    path = config(tmp_path, {"server": "https://x"}, plugin(tmp_path, **status))
    with pytest.raises(ConfigError, match=r"exec plugin .* returned no credentials"):
        await from_kubeconfig(path)


async def test_requests_have_the_token_of_an_exec_plugin(tmp_path: Path) -> None:
    seen: list[str | None] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Authorization"))
        return web.json_response({"kind": "Node"}, status=401 if len(seen) == 1 else 200)

    async with served(answer, "/api/v1/nodes/x") as port:
        server = {"server": f"http://127.0.0.1:{port}"}
        found = await from_kubeconfig(config(tmp_path, server, plugin(tmp_path, token="t")))
        client = KubeClient(found, "test")
        try:
            assert await client.get(Kind("v1", "Node", "nodes", namespaced=False), None, "x")
        finally:
            await client.close()
    assert seen == ["Bearer t-me-1", "Bearer t-me-2"]
