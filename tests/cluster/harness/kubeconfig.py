"""Writes and reads kubeconfig files."""

from __future__ import annotations

import base64
import json
import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


def write(path: Path, server: str, authority: Path, token: str, namespace: str = "default") -> Path:
    """Write a kubeconfig for one server and one bearer token."""
    ca = base64.b64encode(authority.read_bytes()).decode()
    cluster = {"server": server, "certificate-authority-data": ca}
    context = {"cluster": "test", "user": "test", "namespace": namespace}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "test", "cluster": cluster}],
                "users": [{"name": "test", "user": {"token": token}}],
                "contexts": [{"name": "test", "context": context}],
                "current-context": "test",
            }
        )
    )
    return path


@dataclass(frozen=True, slots=True)
class Access:
    """The connection data of a kubeconfig's current context."""

    server: str
    tls: ssl.SSLContext
    token: str | None


def read(path: Path) -> Access:
    """Read the current context. Raises ValueError for an unsupported authentication method."""
    config = yaml.safe_load(path.read_text())
    context = _named(config["contexts"], config["current-context"])["context"]
    cluster = _named(config["clusters"], context["cluster"])["cluster"]
    user = _named(config["users"], context["user"])["user"]
    if "exec" in user or "auth-provider" in user:
        raise ValueError(f"{path}: log in with a token or a client certificate, not a plugin")
    tls = ssl.create_default_context()
    if authority := _data(cluster, "certificate-authority", path):
        tls.load_verify_locations(cadata=authority.decode())
        # A self-signed serving certificate is its own authority and fails the strict checks.
        tls.verify_flags &= ~ssl.VERIFY_X509_STRICT
    certificate = _data(user, "client-certificate", path)
    key = _data(user, "client-key", path)
    if certificate and key:
        with tempfile.NamedTemporaryFile() as pair:
            pair.write(certificate + b"\n" + key)
            pair.flush()
            tls.load_cert_chain(pair.name)
    return Access(cluster["server"], tls, user.get("token"))


def _named(entries: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(entry for entry in entries if entry["name"] == name)


def _data(section: dict[str, Any], key: str, path: Path) -> bytes | None:
    if f"{key}-data" in section:
        return base64.b64decode(str(section[f"{key}-data"]))
    if key in section:
        return (path.parent / str(section[key])).read_bytes()
    return None
