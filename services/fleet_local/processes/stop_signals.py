"""The signals that end a fleet: the first stops it, a second Ctrl-C kills it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopSignals:
    """`stopping` is set by Ctrl-C, SIGTERM or SIGHUP; `force` is called at a second Ctrl-C.

    A second SIGTERM is ignored: a child of `make` may get the same one twice.
    """

    def __init__(self, force: Callable[[], None]) -> None:
        self.stopping = asyncio.Event()
        self._force = force

    def install(self) -> None:
        """Add handlers to the running event loop; a SIGHUP that nohup ignores stays ignored."""
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            if number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                continue
            loop.add_signal_handler(number, self._received, number)

    def _received(self, number: int) -> None:
        if self.stopping.is_set() and number == signal.SIGINT:
            self._force()
        self.stopping.set()
