"""`modelfleet up`: a fleet of models on this machine, behind one address."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False)


@app.command()
def up(
    models: Annotated[
        str | None,
        typer.Option(help="Ids or aliases of catalog models, comma-separated (MODELS)."),
    ] = None,
    files: Annotated[
        list[Path] | None,
        typer.Option("--file", "-f", help="YAML file of InferenceModel manifests; repeatable."),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="auto, cpu, mps, cuda, gpu (Intel), npu (MODEL_DEVICE).")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address the router listens on (HOST).")] = None,
    port: Annotated[int | None, typer.Option(help="Port the router listens on (PORT).")] = None,
    on_demand: Annotated[
        bool,
        typer.Option("--on-demand", help="Fetch and start models at their first request."),
    ] = False,
) -> None:
    """Fetch models, serve each in its own process, and keep them running until Ctrl-C.

    Models that do not fit into MEMORY_BUDGET together start at their first request, and stop when
    others need their memory.

    Without --models, -f and MODELS it serves the demo: chat, embeddings and speech. Settings are
    also read from a `.env` file in the working directory; variables that are set take precedence.
    """
    import asyncio

    from fleet_local.errors import StartError
    from fleet_local.output.console import Console
    from fleet_local.run import run
    from fleet_local.settings import UpSettings, with_dotenv

    console = Console()
    try:
        environ = with_dotenv(os.environ)
        settings = UpSettings.read(
            environ, host=host, port=port, models=models, files=files or (), device=device,
            on_demand=on_demand,
        )  # fmt: skip
    except StartError as error:
        console.print_error(error)
        sys.exit(2)
    status = asyncio.run(run(settings, environ, console))
    console.close()
    sys.exit(status)


if __name__ == "__main__":
    app()
