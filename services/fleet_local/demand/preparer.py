"""Fetches and converts the weights of single models while the fleet runs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from functools import partial

from fleet_contract.spec import ModelSpec
from fleet_local.pull import AT_ONCE, in_daemon_thread
from fleet_prepare.machine import Machine
from fleet_prepare.prepare import PreparedModel, find, prepare
from fleet_prepare.stage import Report
from fleet_weights.store import Store


class Preparer:
    """Works in daemon threads, `AT_ONCE` models at a time, until `stop`."""

    def __init__(
        self, store: Store, machine: Machine, environ: Mapping[str, str], *, download: bool
    ) -> None:
        self._store = store
        self._machine = machine
        self._environ = environ
        self.download = download
        self._stop = threading.Event()
        self._places = asyncio.Semaphore(AT_ONCE)

    def find(self, spec: ModelSpec) -> PreparedModel | None:
        """The weights, if they are on disk. Raises CannotServe and WeightsError."""
        return find(spec, self._store, self._machine)

    async def prepare(self, spec: ModelSpec, report: Report) -> PreparedModel:
        """The weights, fetched and converted if necessary. Raises CannotServe and WeightsError."""
        work = partial(
            prepare, spec, self._store, self._machine, report, environ=self._environ,
            stop=self._stop, download=self.download,
        )  # fmt: skip
        async with self._places:
            return await asyncio.shield(in_daemon_thread(work))

    def stop(self) -> None:
        """End running downloads within about a second."""
        self._stop.set()
