"""Installs Python's signal handlers again, which native libraries such as llama.cpp replace."""

from __future__ import annotations

import signal


def restore() -> None:
    """Install the handlers of SIGINT and SIGTERM again. Only the main thread may call it."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if (handler := signal.getsignal(number)) is not None:
            signal.signal(number, handler)
