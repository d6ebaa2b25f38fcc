"""A network namespace without a default route, which the test process itself enters.

The cluster's programs are started from inside and the tests talk to them from inside, so no packet
for a cluster address can leave the machine, and nothing of it outlives the run's processes.
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
PLAYED_PODS = "10.90.0.0/16"
"""Addresses of pods that only exist in the API; all of them are local here."""

_NEW_NETWORK = 0x40000000
_SELF = "/proc/thread-self/ns/net"


def unavailable() -> str | None:
    """Why no namespace can be made here, or None."""
    if sys.platform != "linux":
        return "network namespaces need Linux"
    if os.geteuid() != 0:
        return "network namespaces need root, or `unshare --user --map-root-user` before pytest"
    return None


class Namespace:
    """The namespace of a run. The thread that makes it is inside."""

    def __init__(self) -> None:
        self._outside = os.open(_SELF, os.O_RDONLY | os.O_CLOEXEC)
        _check(_libc().unshare(_NEW_NETWORK))
        self._inside = os.open(_SELF, os.O_RDONLY | os.O_CLOEXEC)
        # The root of a user namespace may leave its first network, but not return to it.
        self._returns = _libc().setns(self._outside, _NEW_NETWORK) == 0
        self.enter()
        for line in (
            "link set lo up",
            f"addr add {PLAYED_PODS.replace('.0.0/', '.0.1/')} dev lo",
            "link add mf0 type veth peer name mf1",
            f"addr add {NODE_ADDRESS}/24 dev mf0",
            "link set mf0 up",
            "link set mf1 up",
        ):
            subprocess.run(["ip", *line.split()], check=True)

    @property
    def outside_path(self) -> str:
        """The network that this process came from, as a path for `nsenter --net=`."""
        return f"/proc/{os.getpid()}/fd/{self._outside}"

    def route(self, network: str) -> None:
        """Give a cluster network a local way, so that the firewall's rules see its packets."""
        subprocess.run(["ip", "route", "add", network, "dev", "mf0"], check=True)

    def enter(self) -> None:
        """Move this thread, and what it starts from now on, inside."""
        _check(_libc().setns(self._inside, _NEW_NETWORK))

    def leave(self) -> None:
        """Move this thread back to the machine's network, where that can be done."""
        if self._returns:
            _check(_libc().setns(self._outside, _NEW_NETWORK))

    @contextmanager
    def outside(self) -> Iterator[None]:
        """Step out for work that needs the machine's own network, such as image builds."""
        self.leave()
        try:
            yield
        finally:
            self.enter()

    def sysctl(self, name: str, value: str) -> None:
        """Set a network setting of this namespace only."""
        Path("/proc/sys/net", *name.split(".")[1:]).write_text(value)

    def close(self) -> None:
        """Let go of it: it is gone when the last process in it ends."""
        self.leave()
        os.close(self._inside)
        os.close(self._outside)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
