"""The stacks of the threads that llama.cpp starts.

Its loop tokenises the texts that a grammar forces, of up to 30,000 characters each, with a matcher
that calls itself for each character (`long_runs`).
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

STACK_BYTES = 64 << 20
"""Reserved, not used. Of glibc's 8 MiB, 25,000 characters use all."""
ATTRIBUTE_BYTES = 64
"""Of glibc's `pthread_attr_t`: 56 on x86-64, 64 on AArch64."""


@contextmanager
def large_stacks(size: int = STACK_BYTES) -> Iterator[None]:
    """Native threads that start meanwhile have stacks of `size` bytes. No effect with other C
    libraries than glibc."""
    library = ctypes.CDLL(None)
    if not hasattr(library, "pthread_setattr_default_np"):
        yield
        return
    attributes = ctypes.create_string_buffer(ATTRIBUTE_BYTES)
    if library.pthread_getattr_default_np(attributes) != 0:
        yield
        return
    old = ctypes.c_size_t()
    library.pthread_attr_getstacksize(attributes, ctypes.byref(old))
    _set_default(library, attributes, size)
    try:
        yield
    finally:
        _set_default(library, attributes, old.value)
        library.pthread_attr_destroy(attributes)


def _set_default(library: ctypes.CDLL, attributes: ctypes.Array[ctypes.c_char], size: int) -> None:
    library.pthread_attr_setstacksize(attributes, ctypes.c_size_t(size))
    library.pthread_setattr_default_np(attributes)
