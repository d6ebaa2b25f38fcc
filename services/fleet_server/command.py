"""`modelfleet server`: serve one model, described by the environment."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

logger = logging.getLogger(__name__)

app = typer.Typer(add_completion=False)


@app.command()
def server(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8000,
    spec: Annotated[
        Path | None, typer.Option(help="JSON file with the ModelSpec, instead of MODELFLEET_SPEC.")
    ] = None,
    once: Annotated[
        bool,
        typer.Option(
            "--prepare",
            help="Fetch, load and test the model, write caches for faster starts next to the "
            "weights, and exit.",
        ),
    ] = False,
) -> None:
    """Serve one model over HTTP; MODELFLEET_SPEC holds its ModelSpec as JSON."""
    from fleet_server import memory

    memory.limit_arenas()
    from fleet_contract.names import ENV_SPEC
    from fleet_contract.server_protocol import START_FAILED_EVENT
    from fleet_web import logs

    environ = dict(os.environ)
    try:
        logs.configure(
            "server", environ.get("LOG_LEVEL", "info"), environ.get("LOG_FORMAT", "json")
        )
    except ValueError as error:
        print(f"modelfleet server: {error}", file=sys.stderr)
        sys.exit(2)
    try:
        if spec is not None:
            environ[ENV_SPEC] = spec.read_text()
        if once:
            from fleet_server.startup.launch import prepare

            sys.exit(prepare(environ))
        from fleet_server.startup.head_start import HeadStart

        head_start = HeadStart(environ)
        head_start.begin()
        from fleet_server.startup.launch import run

        sys.exit(run(host, port, environ, head_start))
    except (ValueError, OSError) as error:
        # An event, since the operator copies nothing else from a log into the status of a model.
        logs.event(logger, START_FAILED_EVENT, level=logging.ERROR, message=str(error))
        sys.exit(2)


if __name__ == "__main__":
    app()
