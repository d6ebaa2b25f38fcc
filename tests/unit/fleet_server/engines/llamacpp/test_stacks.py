from __future__ import annotations

import ctypes
import threading

from fleet_server.engines.llamacpp.stacks import ATTRIBUTE_BYTES, large_stacks


def stack_of_a_new_thread() -> int:
    """Bytes."""
    library = ctypes.CDLL(None)
    library.pthread_self.restype = ctypes.c_ulong
    size = ctypes.c_size_t()

    def read() -> None:
        attributes = ctypes.create_string_buffer(ATTRIBUTE_BYTES)
        assert library.pthread_getattr_np(ctypes.c_ulong(library.pthread_self()), attributes) == 0
        library.pthread_attr_getstacksize(attributes, ctypes.byref(size))
        library.pthread_attr_destroy(attributes)

    thread = threading.Thread(target=read)
    thread.start()
    thread.join()
    return size.value


def test_threads_that_start_meanwhile_have_large_stacks() -> None:
    before = stack_of_a_new_thread()
    with large_stacks(before + (8 << 20)):
        assert stack_of_a_new_thread() >= before + (4 << 20)
    assert stack_of_a_new_thread() == before
