"""Removes a variable from the environment of the process, its start-up environment included."""

from __future__ import annotations

import ctypes
import os


def erase(name: str) -> None:
    """Remove the variable and overwrite its value.

    `/proc/PID/environ` shows the memory that the process was started with, which `os.environ.pop`
    leaves unchanged (proc_pid_environ(5)).
    """
    library = ctypes.CDLL(None)
    library.getenv.restype = ctypes.c_void_p
    address = library.getenv(name.encode())
    if address is not None:
        ctypes.memset(address, 0, len(ctypes.string_at(address)))
    os.environ.pop(name, None)
