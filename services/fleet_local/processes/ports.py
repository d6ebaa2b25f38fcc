"""The ports of the router and the servers."""

from __future__ import annotations

import contextlib
import errno
import random
import socket
from collections.abc import Collection, Sequence

from fleet_local.errors import StartError

SERVER_PORTS = range(20000, 30000)
"""Below the ephemeral ranges of Linux and macOS: a probe of a port on which no server listens yet
must not get that same port as its source port and connect to itself."""
LOOPBACK = "127.0.0.1"


class ReservedPort:
    """A port that no other process can listen on until `release`."""

    def __init__(self, sockets: Sequence[socket.socket]) -> None:
        self._sockets = sockets

    def release(self) -> None:
        """Free the port for the process that is to listen on it; idempotent."""
        for each in self._sockets:
            each.close()


def reserve(host: str, port: int) -> ReservedPort:
    """Reserve a port for a process that starts later. Raises StartError as `require_free`.

    Connections to it are refused meanwhile. Where connections of an earlier process are in
    TIME_WAIT the port is checked, but not reserved.
    """
    require_free(host, port)
    try:
        # Without SO_REUSEADDR, which would let others bind too; not listening.
        return ReservedPort(_bind(host, port, reuse=False))
    except OSError:
        return ReservedPort(())


def require_free(host: str, port: int) -> None:
    """Raises StartError when the router cannot listen there."""
    try:
        _try_listening(host, port)
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
        _try_listening(LOOPBACK, port)
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


def _try_listening(host: str, port: int) -> None:
    # As uvicorn does: connections in TIME_WAIT do not count.
    bound = _bind(host, port, reuse=True)
    try:
        for each in bound:
            each.listen(1)
    finally:
        for each in bound:
            each.close()


def _bind(host: str, port: int, *, reuse: bool) -> list[socket.socket]:
    """A socket for each address of `host`. Raises OSError; no socket is open then."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    with contextlib.ExitStack() as stack:
        bound = []
        for family, kind, protocol, _, address in found:
            one = stack.enter_context(socket.socket(family, kind, protocol))
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.bind(address)
            bound.append(one)
        stack.pop_all()
    return bound


def _reason(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "another process listens there"
    if error.errno == errno.EACCES:
        return "this port needs root rights"
    if error.errno == errno.EADDRNOTAVAIL:
        return "this machine does not have that address"
    return error.strerror or str(error)
