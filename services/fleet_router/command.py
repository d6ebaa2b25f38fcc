"""The command `modelfleet router`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False)


@app.command()
def router(
    routes: Annotated[
        Path | None, typer.Option(help="JSON file with models and their servers.")
    ] = None,
    kube: Annotated[
        bool, typer.Option(help="Serve the InferenceModels of a cluster (WATCH_NAMESPACES).")
    ] = False,
    host: Annotated[str | None, typer.Option(help="Address to listen on (HOST).")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on (PORT).")] = None,
) -> None:
    """Serve all models of a routes file or a cluster on one OpenAI-compatible address."""
    from fleet_router.launch import run

    if kube == (routes is not None):
        raise typer.BadParameter("give either --routes FILE or --kube")
    environ = dict(os.environ)
    if host is not None:
        environ["HOST"] = host
    if port is not None:
        environ["PORT"] = str(port)
    try:
        run(routes, environ)
    except (ValueError, OSError) as error:
        print(f"modelfleet router: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    app()
