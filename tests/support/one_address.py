"""A network in which programs reach one port of this machine and nothing else.

A program that is tested against a local server could send its requests elsewhere, and the test
would not notice. Here such a request fails, as there is no route.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

NEW_NETWORK = 0x40000000
"""CLONE_NEWNET of `unshare`."""
SET_FLAGS = 0x8914
"""SIOCSIFFLAGS, with IFF_UP."""
UP = 1
CHUNK = 1 << 16

Run = Callable[..., subprocess.CompletedProcess[str]]
"""`subprocess.run`, of a program in the network."""


@contextmanager
def only_port(port: int) -> Iterator[Run]:
    """A network whose 127.0.0.1 has `port` of this machine's. Where network namespaces cannot be
    made, which takes root on Linux, programs get the machine's network."""
    if sys.platform != "linux" or os.geteuid() != 0:
        yield subprocess.run
        return
    with ThreadPoolExecutor(max_workers=1) as inside:
        listener = inside.submit(_enter, port).result()
        threading.Thread(target=_accept, args=(listener, port), daemon=True).start()

        def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
            return inside.submit(lambda: subprocess.run(command, **options)).result()

        try:
            yield run
        finally:
            # Ends `accept`, which `close` alone does not.
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()


def _enter(port: int) -> socket.socket:
    """Move this thread to a new network; a socket that listens there."""
    if ctypes.CDLL(None, use_errno=True).unshare(NEW_NETWORK) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SET_FLAGS, struct.pack("16sh", b"lo", UP))
    return socket.create_server(("127.0.0.1", port))


def _accept(listener: socket.socket, port: int) -> None:
    while True:
        try:
            near, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_relay, args=(near, port), daemon=True).start()


def _relay(near: socket.socket, port: int) -> None:
    """Pass on bytes in both directions until both have ended."""
    with near, suppress(OSError), socket.create_connection(("127.0.0.1", port)) as far:
        back = threading.Thread(target=_pump, args=(far, near), daemon=True)
        back.start()
        _pump(near, far)
        back.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    """Pass on bytes until the source has no more, then the end."""
    try:
        while data := source.recv(CHUNK):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        # One side is gone: the other must notice, in both directions.
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
