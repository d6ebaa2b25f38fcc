"""Gives memory back, most of it while the server is idle.

Pages of weight files that an engine has read again, for example for a second copy in another
layout, are dropped also between requests that never pause. Freed memory is returned soon after the
last request, since that takes milliseconds. What a model gives up only costs later requests time,
so it waits for `cache.releaseAfter`.
"""

from __future__ import annotations

import asyncio
import logging
from enum import Enum
from pathlib import Path

from fleet_server import memory
from fleet_server.protocols import ReleasesMemory
from fleet_server.state import ServerState

logger = logging.getLogger(__name__)

CHECK_SECONDS = 5.0
GROWN_BYTES = 16 << 20
"""Growth of the resident memory from which on it is worth looking for freed memory."""
BUSY_BYTES = 64 << 20
"""Growth from which on a busy server drops pages of weight files: some are read again at once."""
MOST_DROPS = 3
"""Checks in a row after which what is resident again counts as in use."""


class Action(Enum):
    """What is done at a check."""

    NOTHING = 0
    DROP = 1
    """Pages of weight files."""
    TRIM = 2
    RELEASE = 3


def action(idle: float, grown: float, release_after: float, *, released: bool) -> Action:
    """What to do after `idle` seconds without a request. `grown` bytes are resident in addition to
    those after the last check that gave memory back; `released`: the model gave its memory up since
    the last request."""
    if idle < CHECK_SECONDS:
        return Action.DROP if grown > BUSY_BYTES else Action.NOTHING
    if release_after and idle >= release_after and not released:
        return Action.RELEASE
    return Action.TRIM if grown > GROWN_BYTES else Action.NOTHING


class IdleMemory:
    """Checks a ready server whose weights are below `folder`."""

    def __init__(self, state: ServerState, folder: Path) -> None:
        self._state = state
        self._folder = folder
        self._after = 0.0
        """Resident bytes after the last check that gave memory back."""
        self._drops = 0
        """Checks in a row that dropped pages of a busy server."""
        self._released = True

    async def keep(self) -> None:
        """Return what loading has left, then check for ever."""
        work = self.after_loading
        while True:
            try:
                await work()
            except Exception:
                logger.exception("memory could not be given back")
            work = self.check
            await asyncio.sleep(CHECK_SECONDS)

    async def after_loading(self) -> None:
        """Return what loading has left, also if requests never pause."""
        await asyncio.to_thread(self._trim)

    async def check(self) -> None:
        """Give back what can be given back now."""
        idle = self._state.idle_seconds
        if idle < CHECK_SECONDS:
            self._released = False
        if self._drops == MOST_DROPS and idle < CHECK_SECONDS:
            # An engine that computes with the mapped weights reads all of them again every time.
            self._after = max(self._after, memory.resident_bytes())
            self._drops = 0
        grown = memory.resident_bytes() - self._after
        model = self._state.loaded
        after: float = self._state.spec.cache.release_after
        after = min(after, getattr(model, "release_seconds", after))
        found = action(idle, grown, after, released=self._released)
        if found is Action.RELEASE:
            self._released = True
            if isinstance(model, ReleasesMemory):
                await asyncio.to_thread(model.release)
                self._after = 0.0  # the model may do so in a thread of its own: trim at next check
        elif found is not Action.NOTHING:
            await asyncio.to_thread(self._trim, freed=found is Action.TRIM)
        self._drops = self._drops + 1 if found is Action.DROP else 0

    def _trim(self, *, freed: bool = True) -> None:
        if not getattr(self._state.loaded, "may_unmap", False):
            memory.release_files(self._folder)
        if freed:
            memory.trim()
        self._after = memory.resident_bytes()
