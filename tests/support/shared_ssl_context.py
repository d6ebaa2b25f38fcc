"""One SSL context for all httpx clients of a test run that have none of their own.

Each client would read all certificate authorities: 40 ms of CPU with OpenSSL 3.0, also for plain
HTTP, and tests create thousands of clients, many of them while they wait for a process.
"""

from __future__ import annotations

import os
import ssl
from functools import cache
from typing import Any

import httpx
import pytest
from httpx._transports import default

VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
"""Those that choose the authorities."""


def pytest_configure(config: pytest.Config) -> None:
    """Replace the function with which transports create their contexts."""
    patch = pytest.MonkeyPatch()
    patch.setattr(default, "create_ssl_context", ssl_context)
    config.add_cleanup(patch.undo)


def ssl_context(verify: Any = True, cert: Any = None, trust_env: bool = True) -> ssl.SSLContext:
    """As httpx.create_ssl_context."""
    if verify is not True or cert is not None:
        return httpx.create_ssl_context(verify, cert, trust_env)
    chosen = tuple(os.environ.get(name) for name in VARIABLES) if trust_env else ()
    return _shared(trust_env, chosen)


@cache
def _shared(trust_env: bool, _chosen: tuple[str | None, ...]) -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=trust_env)
