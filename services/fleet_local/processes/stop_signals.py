"""The signals that end a fleet: the first asks, a second Ctrl-C insists. Used by `fleet`."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopSignals:
    """`asked` is set by Ctrl-C, SIGTERM or the closing of the terminal.

    Only a second Ctrl-C insists: a child of `make` may get one SIGTERM twice.
    """

    def __init__(self, insist: Callable[[], None]) -> None:
        self.asked = asyncio.Event()
        self._insist = insist

    def install(self) -> None:
        """Listen, on the running event loop; nohup's wish to outlive the terminal is kept."""
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            if number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                continue
            loop.add_signal_handler(number, self._heard, number)

    def _heard(self, number: int) -> None:
        if self.asked.is_set() and number == signal.SIGINT:
            self._insist()
        self.asked.set()
