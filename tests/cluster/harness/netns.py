"""A network namespace without a default route, which the test process itself enters.

The cluster's programs and the tests run in it, so no packet to a cluster address can leave the
machine, and the namespace ends with the run's processes.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NODE_ADDRESS = "10.89.0.2"
FAKE_PODS = "10.90.0.0/16"
FAKE_PODS_V6 = "fd00:90::/64"
"""Addresses of simulated pods; all of them are local in the namespace."""

_NEW_NETWORK = 0x40000000
_SELF = "/proc/thread-self/ns/net"


def unavailable() -> str | None:
    """Why no namespace can be created here, or None."""
    if sys.platform != "linux":
        return "network namespaces need Linux"
    if os.geteuid() != 0:
        return "network namespaces need root, or `unshare --user --map-root-user` before pytest"
    return None


class Namespace:
    """The namespace of a run. The thread that creates it is in it afterwards."""

    def __init__(self) -> None:
        self._host_namespace = os.open(_SELF, os.O_RDONLY | os.O_CLOEXEC)
        _check(_libc().unshare(_NEW_NETWORK))
        self._namespace = os.open(_SELF, os.O_RDONLY | os.O_CLOEXEC)
        # Root of a user namespace may leave its first network namespace, but not return to it.
        self._returns = _libc().setns(self._host_namespace, _NEW_NETWORK) == 0
        self.enter()
        for line in (
            "link set lo up",
            f"addr add {FAKE_PODS.replace('.0.0/', '.0.1/')} dev lo",
            "link add mf0 type veth peer name mf1",
            f"addr add {NODE_ADDRESS}/24 dev mf0",
            "link set mf0 up",
            "link set mf1 up",
        ):
            subprocess.run(["ip", *line.split()], check=True)
        local = ["ip", "-6", "route", "add", "local", FAKE_PODS_V6, "dev", "lo"]
        self.has_ipv6 = subprocess.run(local, capture_output=True).returncode == 0
        """Whether simulated pods may have IPv6 addresses: the kernel may lack them."""

    @property
    def host_path(self) -> str:
        """The machine's network namespace, as a path for `nsenter --net=`."""
        return f"/proc/{os.getpid()}/fd/{self._host_namespace}"

    def route(self, network: str) -> None:
        """Route a cluster network locally, so that its packets pass the firewall rules."""
        subprocess.run(["ip", "route", "add", network, "dev", "mf0"], check=True)

    def route_by(self, network: str, gateway: str) -> None:
        """Route a network through a gateway."""
        subprocess.run(["ip", "route", "add", network, "via", gateway], check=True)

    def link(self, here: str, there: str, other: str, address: str) -> None:
        """Connect the network namespace of process `other`: device `here` with `address` is in this
        one, `there` in the other."""
        for line in (
            f"link add {here} type veth peer name {there} netns {other}",
            f"addr add {address} dev {here}",
            f"link set {here} up",
        ):
            subprocess.run(["ip", *line.split()], check=True)

    def enter(self) -> None:
        """Move this thread, and the processes it starts from now on, into the namespace."""
        _check(_libc().setns(self._namespace, _NEW_NETWORK))

    def leave(self) -> None:
        """Move this thread back to the machine's network, if possible."""
        if self._returns:
            _check(_libc().setns(self._host_namespace, _NEW_NETWORK))

    @contextmanager
    def host_network(self) -> Iterator[None]:
        """Leave the namespace for work that needs the machine's network, such as image builds."""
        self.leave()
        try:
            yield
        finally:
            self.enter()

    def sysctl(self, name: str, value: str) -> None:
        """Set a network setting of this namespace."""
        Path("/proc/sys/net", *name.split(".")[1:]).write_text(value)

    def close(self) -> None:
        """Close the namespace; it ends with its last process."""
        self.leave()
        os.close(self._namespace)
        os.close(self._host_namespace)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
