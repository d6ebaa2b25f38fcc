"""Drops the capabilities (capabilities(7)) with which root ignores file modes."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

VERSION_3 = 0x20080522
DAC_OVERRIDE, DAC_READ_SEARCH = 1 << 1, 1 << 2


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


@contextmanager
def bound_by_file_modes() -> Iterator[None]:
    """Within the block, file modes apply to this thread even as root.

    Raises OSError if capabilities cannot be changed.
    """
    if os.geteuid() != 0:
        yield
        return
    if sys.platform != "linux":
        raise OSError("capabilities can be dropped on Linux only")
    libc = ctypes.CDLL(None, use_errno=True)
    header, data = _Header(VERSION_3, 0), (_Data * 2)()
    _check(libc.capget(ctypes.byref(header), data))
    before = data[0].effective
    data[0].effective = before & ~(DAC_OVERRIDE | DAC_READ_SEARCH)
    _check(libc.capset(ctypes.byref(header), data))
    try:
        yield
    finally:
        data[0].effective = before
        _check(libc.capset(ctypes.byref(header), data))


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
