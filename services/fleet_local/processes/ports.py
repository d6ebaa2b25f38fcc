"""The ports of the router and the servers."""

from __future__ import annotations

import errno
import random
import socket
from collections.abc import Collection

from fleet_local.errors import StartError

SERVER_PORTS = range(20000, 30000)
"""Below the ephemeral ranges of Linux and macOS: a probe of a port on which no server listens yet
must not get that same port as its source port and connect to itself."""
LOOPBACK = "127.0.0.1"


def require_free(host: str, port: int) -> None:
    """Raises StartError when the router cannot listen there."""
    try:
        _bind(host, port)
    except socket.gaierror as error:
        raise StartError(
            f"{host!r} is not an address: {error.strerror}.", "Check --host."
        ) from None
    except OSError as error:
        raise StartError(
            f"Cannot listen on {host}:{port}: {_reason(error)}.",
            f"Stop what listens there, or choose another port: modelfleet up --port {port + 1}"
            if error.errno == errno.EADDRINUSE
            else "Choose another with --host and --port.",
        ) from None


def is_free(port: int) -> bool:
    """Whether a server can listen on this loopback port now."""
    try:
        _bind(LOOPBACK, port)
    except OSError:
        return False
    return True


def pick(taken: Collection[int] = ()) -> int:
    """A free loopback port that is not in `taken`. Raises StartError without any.

    Another process may take it before the server listens.
    """
    for port in random.sample(SERVER_PORTS, len(SERVER_PORTS)):
        if port not in taken and is_free(port):
            return port
    raise StartError(f"No port between {SERVER_PORTS.start} and {SERVER_PORTS.stop} is free.")


def client_host(host: str) -> str:
    """The host for clients on this machine of a server that listens on `host`."""
    if host in ("0.0.0.0", "::", ""):  # noqa: S104  (compared, not listened on)
        return LOOPBACK
    return f"[{host}]" if ":" in host else host


def _bind(host: str, port: int) -> None:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    for family, kind, protocol, _, address in found:
        with socket.socket(family, kind, protocol) as trial:
            # As uvicorn does: connections in TIME_WAIT do not count.
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                trial.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            trial.bind(address)
            trial.listen(1)


def _reason(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "another process listens there"
    if error.errno == errno.EACCES:
        return "this port needs root rights"
    if error.errno == errno.EADDRNOTAVAIL:
        return "this machine does not have that address"
    return error.strerror or str(error)
