"""uvicorn's server with a callback at the first signal."""

from __future__ import annotations

from collections.abc import Callable
from types import FrameType

import uvicorn


class Server(uvicorn.Server):
    """Calls `on_drain` at the first signal, so that readiness fails before sockets close."""

    def __init__(self, config: uvicorn.Config, on_drain: Callable[[], None] | None) -> None:
        super().__init__(config)
        self._on_drain = on_drain

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._on_drain is not None and not self.should_exit:
            self._on_drain()
        super().handle_exit(sig, frame)
