"""Free ports on the loopback."""

from __future__ import annotations

import socket


def free_port() -> int:
    """A port that was free at the time of the call."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Different ports that were free at the time of the call."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [sock.getsockname()[1] for sock in sockets]
    for sock in sockets:
        sock.close()
    return ports
