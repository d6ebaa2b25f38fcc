"""Free ports on the loopback."""

from __future__ import annotations

import random
import socket
from contextlib import suppress

PORTS = range(10_000, 30_000)
"""Below those of outgoing connections and of Kubernetes' NodePorts: one of the former may be in use
again, by another group of tests, before a server listens on it."""


def free_port() -> int:
    """A port that was free at the time of the call."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Different ports that were free at the time of the call."""
    found: list[int] = []
    for port in random.SystemRandom().sample(PORTS, len(PORTS)):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found.append(port)
        if len(found) == count:
            break
    return found
