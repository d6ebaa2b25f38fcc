"""https:// with a certificate of the test, made on the spot where openssl is installed."""

from __future__ import annotations

import hashlib
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from fleet_contract.spec import ModelSpec
from fleet_weights.errors import WeightsError
from fleet_weights.fetch import fetch
from fleet_weights.store import Store
from fleet_weights.transfer.retry_policy import RetryPolicy
from support.required import require_program

BODY = b"numbers" * 1000
SHA = hashlib.sha256(BODY).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    redirect_to = ""

    def do_GET(self) -> None:
        if self.path.startswith("/away"):
            self.send_response(302)
            self.send_header("location", self.redirect_to)
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("content-length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, *arguments: Any) -> None:
        """Log nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that do not trust the certificate disconnect during the handshake."""


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[tuple[str, Path, type[_Handler]]]:
    """Address, certificate and handler of a TLS server."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    require_program("openssl")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj",
         "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out",
         str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    handler = type("Handler", (_Handler,), {})
    server = _Server(("127.0.0.1", 0), handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"https://127.0.0.1:{server.server_address[1]}", certificate, handler
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def pull(tmp_path: Path, fast_retries: RetryPolicy) -> Callable[..., Path]:
    def run(source: str, sha256: str = SHA) -> Path:
        spec = ModelSpec(model="acme/x", source=source, sha256=sha256)
        return fetch(spec, Store(tmp_path / "models"), environ={}, retry_policy=fast_retries)

    return run


def test_certificates_of_the_environment_are_trusted(
    secure: tuple[str, Path, type[_Handler]], pull: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    url, certificate, _ = secure
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    folder = pull(f"{url}/a.gguf?signature=secret")
    assert (folder / "a.gguf").read_bytes() == BODY
    with pytest.raises(WeightsError, match="sha256") as caught:
        pull(f"{url}/a.gguf?signature=secret", "0" * 64)
    assert "secret" not in str(caught.value)


def test_an_unknown_certificate_is_refused(
    secure: tuple[str, Path, type[_Handler]], pull: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    with pytest.raises(WeightsError, match="certificate verify failed") as caught:
        pull(f"{secure[0]}/a.gguf")
    assert "SSL_CERT_FILE" in caught.value.hint


def test_no_redirect_from_https_to_http(
    secure: tuple[str, Path, type[_Handler]], server: Any, pull: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    url, certificate, handler = secure
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    handler.redirect_to = server.put("/a.gguf", BODY)
    with pytest.raises(WeightsError, match="from https to http"):
        pull(f"{url}/away/a.gguf")
    assert server.seen == []
