"""`modelfleet operator`: run the operator against the configured cluster."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def operator(
    shard: Annotated[
        str, typer.Option(help="Serve a share of the namespaces: INDEX/TOTAL, from 0/2.")
    ] = "",
) -> None:
    """Run the servers of all InferenceModels; settings are environment variables."""
    from fleet_operator.run import start
    from fleet_web import logs

    try:
        logs.configure(
            "operator", os.environ.get("LOG_LEVEL", "info"), os.environ.get("LOG_FORMAT", "json")
        )
        start({**os.environ, **({"SHARD": shard} if shard else {})})
    except (ValueError, OSError) as error:
        print(f"modelfleet operator: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    app()
