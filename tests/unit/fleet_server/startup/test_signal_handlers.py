"""Signal handlers that a native library replaced, in a process of their own."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import ctypes, os, signal
from fleet_server.startup import signal_handlers

received = []
signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
libc = ctypes.CDLL(None)
libc.signal.argtypes = [ctypes.c_int, ctypes.c_void_p]
libc.signal.restype = ctypes.c_void_p
libc.signal(signal.SIGTERM, 1)  # SIG_IGN
os.kill(os.getpid(), signal.SIGTERM)
print(len(received))
signal_handlers.restore()
os.kill(os.getpid(), signal.SIGTERM)
print(len(received))
"""


def test_a_handler_that_a_library_replaced_is_called_again() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60
    )
    assert ended.stdout.split() == ["0", "1"]
