"""`modelfleet render MODEL...`: prints complete InferenceModel manifests as YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fleet_cli.catalog import CatalogFile
from fleet_cli.selection import chosen, from_file, usage_errors
from fleet_contract.manifests import manifest
from fleet_contract.yaml_text import dump_all

app = typer.Typer(add_completion=False)


@app.command()
def render(
    models: Annotated[
        list[str] | None, typer.Argument(help="Ids or aliases of catalog models.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="Complete the manifests of this file.")
    ] = None,
    defaults: Annotated[
        bool, typer.Option("--defaults", help="Include fields that have their default.")
    ] = False,
    catalog_file: CatalogFile = None,
) -> None:
    """Print complete InferenceModel manifests, for `kubectl apply -f -`."""
    with usage_errors("render"):
        if bool(models) == bool(file):
            raise ValueError("name models, or a file with -f")
        found = (
            from_file(file, catalog_file)
            if file
            else [(None, spec) for spec in chosen(models or [], {}, catalog_file)]
        )
    print(dump_all([manifest(spec, name, with_defaults=defaults) for name, spec in found]), end="")
