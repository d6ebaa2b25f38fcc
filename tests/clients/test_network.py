"""What the clients of these tests can reach."""

from __future__ import annotations

import os
import sys

import pytest

from support.one_address import Run

PROBE = """
import socket, sys
port = int(sys.argv[1])
for address in (("127.0.0.1", port), ("127.0.0.1", port + 1), ("192.0.2.1", 80)):
    try:
        socket.create_connection(address, timeout=5).close()
        print("reached")
    except OSError as error:
        print(type(error).__name__)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")
def test_clients_reach_the_fleet_alone(isolated: Run, base_url: str) -> None:
    port = base_url.rpartition(":")[2]
    done = isolated([sys.executable, "-c", PROBE, port], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["reached", "ConnectionRefusedError", "OSError"]
