"""Starts the router's process: settings, routes file, sockets. Called by `command`."""

from __future__ import annotations

import gc
import logging
import resource
from collections.abc import Mapping
from pathlib import Path

from fleet_router.app import create_app
from fleet_router.file_source import FileSource
from fleet_router.routes import LiveRoutes
from fleet_router.settings import RouterSettings
from fleet_web import logs, serve
from fleet_web.logs import event

logger = logging.getLogger(__name__)

FILES = 65_536


def run(path: Path, environ: Mapping[str, str]) -> None:
    """Serve until a signal, then drain.

    A routes file that is missing is waited for. Raises ValueError when it or a setting is wrong.
    """
    settings = RouterSettings.read(environ)
    logs.configure("router", settings.log_level, settings.log_format)
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    raise_file_limit()
    routes = LiveRoutes()
    source = FileSource(path, routes, environ)
    router = create_app(routes, watch=source.watch, with_metrics=settings.enable_metrics)
    try:
        source.load()
    except FileNotFoundError:
        event(logger, "routes_missing", level=logging.WARNING, path=str(path))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    # What was built up to here lives for ever: the collector need not look at it again and again.
    gc.freeze()
    serve.build(
        router.web, settings.host, settings.port,
        drain_timeout=settings.drain_timeout, read_timeout=settings.read_timeout,
        on_drain=router.drain,
    ).run()  # fmt: skip


def raise_file_limit() -> None:
    """Allow as many sockets as the system lets us, up to 65,536: every request takes two."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
