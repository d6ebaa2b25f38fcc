"""How to reach a cluster's API: from inside a pod, or as a kubeconfig file says.

Read once by `launch`; `kube_client` connects with it. Sources: kubernetes.io/docs,
tasks/run-application/access-api-from-pod and reference/config-api/kubeconfig.v1.
"""

from __future__ import annotations

import base64
import binascii
import os
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

POD_FILES = Path("/var/run/secrets/kubernetes.io/serviceaccount")
DEFAULT_NAMESPACE = "default"


@dataclass(frozen=True, slots=True)
class KubeAccess:
    """`namespace` is that of the pod or of the kubeconfig's context."""

    server: str
    tls: ssl.SSLContext
    namespace: str
    token: str = field(default="", repr=False)
    token_file: Path | None = None

    def bearer(self) -> str:
        """The token of now, "" for none: the kubelet renews a pod's every hour.

        Raises OSError when its file cannot be read.
        """
        return self.token_file.read_text().strip() if self.token_file else self.token


def find(environ: Mapping[str, str], pod_files: Path = POD_FILES) -> KubeAccess:
    """KUBECONFIG, else the pod's own account, else ~/.kube/config.

    Raises ValueError that says what is missing or wrong.
    """
    if named := environ.get("KUBECONFIG", "").strip():
        return from_kubeconfig(Path(named.split(os.pathsep)[0]))
    if host := environ.get("KUBERNETES_SERVICE_HOST"):
        return from_pod(host, environ.get("KUBERNETES_SERVICE_PORT", "443"), pod_files)
    home = Path(environ.get("HOME", "/")) / ".kube" / "config"
    if home.exists():
        return from_kubeconfig(home)
    raise ValueError("no cluster: not in a pod, KUBECONFIG is not set, there is no ~/.kube/config")


def from_pod(host: str, port: str, files: Path) -> KubeAccess:
    """The ServiceAccount that is mounted into every pod. Raises ValueError."""
    name = f"[{host}]" if ":" in host else host
    token = files / "token"
    try:
        authority = (files / "ca.crt").read_text()
        namespace = (files / "namespace").read_text().strip()
        token.read_text()
    except OSError as error:
        raise ValueError(f"the pod's service account cannot be read: {error}") from error
    return KubeAccess(f"https://{name}:{port}", _tls(authority), namespace, token_file=token)


def from_kubeconfig(path: Path) -> KubeAccess:
    """The current context of a kubeconfig file. Raises ValueError."""
    try:
        config = yaml.safe_load(path.read_text())
        context = _named(config, "contexts", config["current-context"])["context"]
        cluster = _named(config, "clusters", context["cluster"])["cluster"]
        user = _named(config, "users", context["user"])["user"] or {}
        server = str(cluster["server"]).rstrip("/")
        if "exec" in user or "auth-provider" in user:
            raise ValueError("logs in with a plugin; a token or a client certificate is needed")
        authority = _data(cluster, "certificate-authority", path)
        tls = _tls(authority.decode() if authority else None)
        if cluster.get("insecure-skip-tls-verify") is True:
            tls.check_hostname = False
            tls.verify_mode = ssl.CERT_NONE
        _present(tls, _data(user, "client-certificate", path), _data(user, "client-key", path))
    except (KeyError, TypeError, AttributeError, binascii.Error, yaml.YAMLError) as error:
        raise ValueError(f"{path}: not a usable kubeconfig: {error!r}") from error
    except (ValueError, OSError) as error:
        raise ValueError(f"{path}: {error}") from error
    return KubeAccess(
        server,
        tls,
        context.get("namespace") or DEFAULT_NAMESPACE,
        token=user.get("token", ""),
        token_file=path.parent / user["tokenFile"] if user.get("tokenFile") else None,
    )


def _tls(authority: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=authority)
    # Cluster authorities often lack the extensions that strict mode asks for; no client minds.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def _present(tls: ssl.SSLContext, certificate: bytes | None, key: bytes | None) -> None:
    if certificate is None or key is None:
        return
    with tempfile.NamedTemporaryFile() as pair:  # ssl reads certificates from files only
        pair.write(certificate + b"\n" + key)
        pair.flush()
        tls.load_cert_chain(pair.name)


def _named(config: Any, kind: str, name: str) -> dict[str, Any]:
    for entry in config[kind]:
        if entry["name"] == name:
            return dict(entry)
    raise ValueError(f"there is no {name!r} in {kind}")


def _data(section: Mapping[str, Any], key: str, path: Path) -> bytes | None:
    if section.get(f"{key}-data"):
        return base64.b64decode(str(section[f"{key}-data"]), validate=True)
    if section.get(key):
        return (path.parent / str(section[key])).read_bytes()
    return None
