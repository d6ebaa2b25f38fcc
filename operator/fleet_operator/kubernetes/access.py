"""How the operator reaches the API server: in a pod by its service account, else by kubeconfig.

One source for both clients, kopf's watches and `api`'s writes.
"""

from __future__ import annotations

import os
import ssl
import tempfile
import time
from pathlib import Path
from typing import Any

import kopf

from fleet_operator.settings import SERVICE_ACCOUNT

REFRESH_SECONDS = 60.0
"""Tokens of service accounts are replaced on disk well before they expire."""


class AccessError(Exception):
    """There is no way to the API server; the message says what was looked for."""


def connection(settings: kopf.OperatorSettings, **_: Any) -> kopf.ConnectionInfo:
    """What kopf is to log in with. Raises AccessError."""
    found = kopf.login_with_service_account(settings=settings)
    if found is None:
        found = kopf.login_with_kubeconfig(settings=settings)
    if found is None:
        raise AccessError(
            "there is neither a service account of a pod nor a kubeconfig (KUBECONFIG)"
        )
    return found


class Access:
    """Address, TLS context and the token of the moment."""

    def __init__(self, found: kopf.ConnectionInfo, account: Path = SERVICE_ACCOUNT) -> None:
        self.server = found.server.rstrip("/")
        self.tls = tls_context(found)
        self._token = found.token
        self._file = account / "token" if (account / "token").exists() else None
        self._read = time.monotonic()

    def headers(self) -> dict[str, str]:
        """The header that says who asks."""
        if self._file is not None and time.monotonic() - self._read > REFRESH_SECONDS:
            self.refresh()
        return {"Authorization": f"Bearer {self._token}"} if self._token else {}

    def refresh(self) -> None:
        """Read the token again; called too when the API server refuses it."""
        self._read = time.monotonic()
        if self._file is not None:
            self._token = self._file.read_text(encoding="utf-8").strip()


def tls_context(found: kopf.ConnectionInfo) -> ssl.SSLContext | None:
    """The TLS context of a connection; None for plain http."""
    if found.server.startswith("http://"):
        return None
    context = ssl.create_default_context(
        cafile=_text(found.ca_path) or None, cadata=_decoded(found.ca_data) or None
    )
    if found.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if found.certificate_path:
        context.load_cert_chain(_text(found.certificate_path), _text(found.private_key_path))
    elif found.certificate_data:
        _load_pair(context, _decoded(found.certificate_data), _decoded(found.private_key_data))
    return context


def _load_pair(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """Python loads certificates from files only; this one exists for the moment of loading."""
    descriptor, path = tempfile.mkstemp()
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{certificate}\n{key}\n")
        context.load_cert_chain(path)
    finally:
        Path(path).unlink()


def _text(path: Any) -> str:
    return os.fsdecode(path) if path else ""


def _decoded(data: str | bytes | None) -> str:
    """PEM text of a kubeconfig's base64 data, or of PEM itself."""
    import base64

    if not data:
        return ""
    text = data.decode() if isinstance(data, bytes) else data
    return text if "-----BEGIN" in text else base64.b64decode(text).decode()
