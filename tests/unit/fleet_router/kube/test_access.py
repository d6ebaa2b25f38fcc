"""Ways to a cluster's API: a pod's files and kubeconfig files."""

from __future__ import annotations

import base64
import ssl
from pathlib import Path
from typing import Any

import certifi
import pytest
import yaml

from fleet_router.kube import access as kube_access

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


def test_a_pod_reads_its_account_and_its_token_anew(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_bytes(AUTHORITY)
    (tmp_path / "namespace").write_text("models\n")
    (tmp_path / "token").write_text("one\n")
    access = kube_access.find({"KUBERNETES_SERVICE_HOST": "fd00::1"}, tmp_path)
    assert (access.server, access.namespace) == ("https://[fd00::1]:443", "models")
    assert access.tls.verify_mode is ssl.CERT_REQUIRED
    assert access.bearer() == "one"
    (tmp_path / "token").write_text("two\n")
    assert access.bearer() == "two"
    assert "one" not in repr(access)


def test_a_pod_without_an_account_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="service account"):
        kube_access.find({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, tmp_path)


def test_a_kubeconfig_names_server_namespace_and_token(tmp_path: Path) -> None:
    data = base64.b64encode(AUTHORITY).decode()
    cluster = {"server": "https://10.0.0.1:6443/", "certificate-authority-data": data}
    path = config(tmp_path, cluster, {"token": "secret"}, namespace="models")
    access = kube_access.find({"KUBECONFIG": str(path)})
    assert (access.server, access.namespace) == ("https://10.0.0.1:6443", "models")
    assert access.bearer() == "secret"
    assert "secret" not in repr(access)


def test_files_are_found_beside_the_kubeconfig(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(AUTHORITY)
    (tmp_path / "token").write_text("filed")
    cluster = {"server": "https://x", "certificate-authority": "ca.pem"}
    path = config(tmp_path, cluster, {"tokenFile": "token"})
    access = kube_access.from_kubeconfig(path)
    assert (access.bearer(), access.namespace) == ("filed", "default")
    skipping = {"server": "https://x", "insecure-skip-tls-verify": True}
    assert not kube_access.from_kubeconfig(config(tmp_path, skipping, {})).tls.check_hostname


@pytest.mark.parametrize(
    ("cluster", "user", "said"),
    [
        ({"server": "https://x"}, {"exec": {"command": "aws"}}, "plugin"),
        ({}, {}, "server"),
        ({"server": "https://x", "certificate-authority": "none.pem"}, {}, "none.pem"),
        ({"server": "https://x", "certificate-authority-data": "!"}, {}, "kubeconfig"),
        (
            {"server": "https://x"},
            {"client-certificate-data": "eA==", "client-key-data": "eA=="},
            "config",
        ),
    ],
)
def test_what_cannot_be_used_says_why(
    tmp_path: Path, cluster: dict[str, Any], user: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        kube_access.from_kubeconfig(config(tmp_path, cluster, user))


@pytest.mark.parametrize("text", ["", "[]", "{", "current-context: none\ncontexts: []"])
def test_what_is_no_kubeconfig_says_so(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(ValueError, match="config"):
        kube_access.find({"KUBECONFIG": str(path)})


def test_without_any_cluster_all_ways_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="KUBECONFIG"):
        kube_access.find({"HOME": str(tmp_path)})
