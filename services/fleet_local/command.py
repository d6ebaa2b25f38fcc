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
        str | None, typer.Option(help="auto, cpu, mps, cuda or cuda:N (MODEL_DEVICE).")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address the router listens on (HOST).")] = None,
    port: Annotated[int | None, typer.Option(help="Port the router listens on (PORT).")] = None,
) -> None:
    """Fetch models, serve each in a process of its own, and keep them up until Ctrl-C.

    Without --models, -f and MODELS it serves the demo: chat, embeddings and speech. A `.env` file
    in the working directory adds settings; it never changes variables that are set.
    """
    import asyncio

    from fleet_local.errors import StartError
    from fleet_local.output.console import Output
    from fleet_local.run import run
    from fleet_local.settings import UpSettings, with_dotenv

    voice = Output()
    try:
        environ = with_dotenv(os.environ)
        settings = UpSettings.read(
            environ, host=host, port=port, models=models, files=files or (), device=device
        )
    except StartError as error:
        voice.failure(error)
        sys.exit(2)
    status = asyncio.run(run(settings, environ, voice))
    voice.close()
    sys.exit(status)


if __name__ == "__main__":
    app()
