"""How many threads each engine of a fleet gets. Pure; called by `fleet`."""

from __future__ import annotations


def share(models: int, cpus: int) -> int:
    """Threads for each of `models` engines on `cpus` CPUs."""
    return max(1, cpus)
