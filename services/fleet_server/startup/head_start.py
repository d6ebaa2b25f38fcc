"""Begins to load a model, whose weights are on disk, while the web app is still being imported.

Begun by `command`, taken over by `launch`. Engines build their models outside the interpreter's
lock, so on a second core the half second that FastAPI takes to import is not lost.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fleet_server.startup.load import Loaded


class HeadStart:
    """`take` waits for what was begun. The hub's token is none of its business."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._begun: Future[tuple[Path, Loaded | Exception] | None] = Future()
        known = {name: value for name, value in environ.items() if name != "HF_TOKEN"}
        self._thread = threading.Thread(
            target=self._run, args=(known,), name="head-start", daemon=True
        )

    def begin(self) -> None:
        """Start loading."""
        self._thread.start()

    def take(self, folder: Path) -> Loaded | None:
        """The model from the weights in `folder`; None where it was not begun.

        Raises what loading it raised.
        """
        begun = self._begun.result()
        if begun is None or begun[0] != folder:
            return None
        if isinstance(begun[1], Exception):
            raise begun[1]
        return begun[1]

    def _run(self, environ: dict[str, str]) -> None:
        try:
            self._begun.set_result(_load(environ))
        except Exception:  # a bad setting, weights that are not there: told where they belong
            self._begun.set_result(None)


def _load(environ: Mapping[str, str]) -> tuple[Path, Loaded | Exception] | None:
    from fleet_contract import launch
    from fleet_prepare import machine
    from fleet_prepare.prepare import find
    from fleet_server.settings import ServerSettings
    from fleet_server.startup.load import load
    from fleet_weights.store import Store

    spec, settings = launch.decode(environ), ServerSettings.read(environ)
    if spec.handler is not None:
        return None
    found = find(spec, Store.of(environ), machine.here(environ))
    if found is None:
        return None
    try:
        return found.folder, load(spec, found.folder, settings.threads, found.choice)
    except Exception as error:
        return found.folder, error
