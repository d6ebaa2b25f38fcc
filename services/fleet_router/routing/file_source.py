"""The route table from a JSON file, which local mode rewrites when servers change.

    {"version": 3, "models": [{"spec": <ModelSpec>,
                               "endpoints": [{"name": "m-0", "url": "http://..."}],
                               "phase": "ScaledToZero", "reason": "", "coldSeconds": 2.5,
                               "progress": "fetching weights 42 %, 18 s",
                               "secondsLeft": 18.0}]}

Of a model only the spec is required. Unknown keys are ignored. If the file is broken, the old table
stays.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from fleet_contract.settings import override
from fleet_contract.spec import ModelSpec
from fleet_contract.status import Phase
from fleet_router.routing.remote import with_remote
from fleet_router.routing.table import Endpoint, LiveRoutes, Route, RouteTable
from fleet_web.logs import event

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.2


class _Address(BaseModel):
    model_config = ConfigDict(extra="ignore")
    name: str
    url: str


class _Entry(BaseModel):
    model_config = ConfigDict(extra="ignore", alias_generator=to_camel)
    spec: ModelSpec
    endpoints: list[_Address] = []
    phase: Phase | None = None
    reason: str = ""
    cold_seconds: float | None = None
    progress: str = ""
    seconds_left: float | None = None


class _File(BaseModel):
    model_config = ConfigDict(extra="ignore")
    version: int = 0
    models: list[_Entry]


def parse(text: str | bytes, environ: Mapping[str, str]) -> RouteTable:
    """The table in a routes file. Raises ValueError with the reason.

    Settings in `environ` override fields of specs as they do in servers, so that limits agree.
    """
    return _table(_read(text), environ)


def _read(text: str | bytes) -> _File:
    try:
        return _File.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{where or 'file'}: {first['msg']}") from error


def _table(file: _File, environ: Mapping[str, str]) -> RouteTable:
    return RouteTable.build(
        with_remote(
            Route(
                override(entry.spec, {**environ, **entry.spec.plain_env}),
                tuple(Endpoint.parse(each.name, each.url) for each in entry.endpoints),
                phase=entry.phase,
                reason=entry.reason,
                cold_seconds=entry.cold_seconds,
                progress=entry.progress,
                seconds_left=entry.seconds_left,
            ),
            environ,
        )
        for entry in file.models
    )


class FileSource:
    """Loads the file at the start and whenever it changes."""

    def __init__(self, path: Path, routes: LiveRoutes, environ: Mapping[str, str]) -> None:
        self._path = path
        self._routes = routes
        self._environ = environ
        self._file_version: tuple[int, int, int] | None = None
        self.version = 0
        """The version of the routes in use, as written in the file."""

    def load(self) -> None:
        """Read the file. Raises ValueError or OSError with the reason."""
        # Before the content: a change in between is then noticed at the next poll.
        self._file_version = self._read_version()
        file = _read(self._path.read_bytes())
        self._routes.swap(_table(file, self._environ))
        self.version = file.version

    async def watch(self) -> None:
        """Reload the file whenever it changes."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            self.refresh()

    def refresh(self) -> None:
        """Reload the file if it changed; errors are logged once per change."""
        before = self._servers()
        try:
            if self._read_version() == self._file_version:
                return
            self.load()
        except (OSError, ValueError) as error:
            event(logger, "routes_not_reloaded", level=logging.ERROR, error=str(error))
            return
        # Not each step of the progress of a start.
        if (now := self._servers()) != before:
            event(logger, "routes_loaded", models=list(now))

    def _servers(self) -> dict[str, tuple[Endpoint, ...]]:
        table = self._routes.table
        return {each.model: each.endpoints for each in table.routes} if table is not None else {}

    def _read_version(self) -> tuple[int, int, int] | None:
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            return None
        return stat.st_mtime_ns, stat.st_size, stat.st_ino
