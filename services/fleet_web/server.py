"""uvicorn's server with a callback at the first signal, which ends if it cannot listen."""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import Callable
from types import FrameType

import uvicorn
from uvicorn.config import STARTUP_FAILURE

logger = logging.getLogger(__name__)


class Server(uvicorn.Server):
    """Calls `on_drain` at the first signal, so that readiness fails before sockets close."""

    def __init__(self, config: uvicorn.Config, on_drain: Callable[[], None] | None) -> None:
        super().__init__(config)
        self._on_drain = on_drain

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen. Raises SystemExit where that fails, as for a port in use.

        uvloop raises where a socket cannot be bound, but not where it cannot listen: Linux lets two
        processes bind a port, and one of them listen. Its server has no socket then.
        """
        await super().startup(sockets)
        if any(None in server.sockets for server in self.servers):
            logger.error(
                "cannot listen on port %d: another process listens there", self.config.port
            )
            await self.lifespan.shutdown()
            sys.exit(STARTUP_FAILURE)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._on_drain is not None and not self.should_exit:
            self._on_drain()
        super().handle_exit(sig, frame)
