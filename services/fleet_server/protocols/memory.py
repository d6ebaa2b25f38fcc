"""The optional protocol of models that hold memory besides their weights."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class ReleasesMemory(Protocol):
    """A model that holds memory which only running requests need.

    If it costs little to have it again, `release_seconds: float` is how long after the last request
    it is given up, where that is sooner than `cache.releaseAfter`.

    A model that maps and unmaps its weights by itself has `may_unmap: bool`, whether it may do so
    within the next seconds.
    """

    def release(self) -> None:
        """Give it up while no request runs; the next requests may be slower. Requests may arrive
        meanwhile."""
