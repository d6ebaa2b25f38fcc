"""Starts to load a model whose weights are on disk while the web app is still being imported.

Engines build their models without holding the interpreter lock, so on a second core the half second
that the import of FastAPI takes is not lost.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING

from fleet_weights.secrets import without_secrets

if TYPE_CHECKING:
    from fleet_prepare.prepare import PreparedModel
    from fleet_server.startup.load import LoadedModel


class HeadStart:
    """Finds the weights and loads the model in a thread; `prepared` and `take` wait for it.

    It has no access to the secrets that only the download may use.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._prepared: Future[PreparedModel | None] = Future()
        self._loaded: Future[LoadedModel | Exception | None] = Future()
        self._thread = threading.Thread(
            target=self._run, args=(without_secrets(environ),), name="head-start", daemon=True
        )

    def begin(self) -> None:
        """Start loading."""
        self._thread.start()

    def prepared(self) -> PreparedModel | None:
        """The weights on disk and their engine; None if incomplete or not searched for."""
        return self._prepared.result()

    def take(self, folder: Path) -> LoadedModel | None:
        """The model loaded from `folder`, or None if it is another folder or none was loaded.

        Raises the exception that loading it raised.
        """
        prepared, loaded = self._prepared.result(), self._loaded.result()
        if prepared is None or prepared.folder != folder:
            return None
        if isinstance(loaded, Exception):
            raise loaded
        return loaded

    def _run(self, environ: dict[str, str]) -> None:
        from fleet_contract import launch
        from fleet_prepare import machine
        from fleet_prepare.prepare import find
        from fleet_server.settings import ServerSettings
        from fleet_server.startup.load import load
        from fleet_weights.store import Store

        prepared = None
        try:
            spec, settings = launch.decode(environ), ServerSettings.read(environ)
            if spec.handler is None:
                prepared = find(spec, Store.of(environ), machine.here(environ))
        except Exception:
            # A bad setting or incomplete weights: the launcher gets the same error and reports it.
            prepared = None
        self._prepared.set_result(prepared)
        if prepared is None:
            self._loaded.set_result(None)
            return
        try:
            model = load(
                spec, prepared.folder, settings.threads, prepared.choice, prepared.adapters,
                prepared.draft,
            )  # fmt: skip
        except Exception as error:
            self._loaded.set_result(error)
        else:
            self._loaded.set_result(model)
