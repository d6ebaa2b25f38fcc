from __future__ import annotations

import ctypes
import os
import signal

from fleet_server.startup import signal_handlers


def test_a_handler_that_a_library_replaced_is_called_again() -> None:
    received: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
    try:
        libc = ctypes.CDLL(None)
        libc.signal.argtypes = [ctypes.c_int, ctypes.c_void_p]
        libc.signal.restype = ctypes.c_void_p
        libc.signal(signal.SIGTERM, 1)  # SIG_IGN
        os.kill(os.getpid(), signal.SIGTERM)
        assert received == []
        signal_handlers.restore()
        os.kill(os.getpid(), signal.SIGTERM)
        assert received == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)
