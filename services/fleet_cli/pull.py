"""`modelfleet pull MODEL...`: downloads and converts weights."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from fleet_cli.catalog import CatalogFile
from fleet_cli.selection import chosen, environment, from_file, usage_errors
from fleet_contract.settings import override

app = typer.Typer(add_completion=False)

SPEC_SETTINGS = ("MODEL_DEVICE", "QUANTIZATION")
"""Settings that affect which files a server needs."""
FAILED_STATUS = 1
INTERRUPTED_STATUS = 130


@app.command()
def pull(
    models: Annotated[
        list[str] | None,
        typer.Argument(help="Ids or aliases of catalog models; by default MODELS, else the demo."),
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="Pull the models of these manifests.")
    ] = None,
    models_dir: Annotated[
        Path | None, typer.Option(help="Folder of the weights (MODELS_DIR).")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also download models that this machine cannot serve.")
    ] = False,
    convert: Annotated[
        bool,
        typer.Option(help="Convert weights that no engine of this machine can load directly."),
    ] = True,
    evict: Annotated[
        bool,
        typer.Option(
            help="Delete the least recently used other models where MODELS_DIR_LIMIT would be "
            "exceeded; with --no-evict, skip what does not fit.",
        ),
    ] = True,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print progress and results as JSON lines.")
    ] = False,
    catalog_file: CatalogFile = None,
) -> None:
    """Download the weights of models and convert them for the engines of this machine.

    Interrupted downloads are resumed. A model that this machine cannot serve is refused before
    anything is downloaded; to download it for another machine, use --force or --no-convert.
    """
    from fleet_weights.store import Store

    environ = environment()
    with usage_errors("pull"):
        if file is not None and models:
            raise ValueError("name models or a file with -f, not both")
        if file is not None:
            specs = [spec for _, spec in from_file(file, catalog_file)]
        else:
            specs = chosen(models or [], environ, catalog_file)
        given = {name: environ[name] for name in SPEC_SETTINGS if name in environ}
        specs = [override(spec, given) for spec in specs]
        folder = {"MODELS_DIR": str(models_dir)} if models_dir else {}
        store = Store.of(environ | folder, evicts=evict)
    from fleet_cli.pull_output import JsonOutput, TextOutput
    from fleet_cli.pull_report import pull_all

    output = JsonOutput() if as_json else TextOutput()
    try:
        failed = pull_all(specs, store, environ, output, force=force, convert=convert)
    except KeyboardInterrupt:
        print("modelfleet pull: interrupted; run it again to resume.", file=sys.stderr)
        sys.exit(INTERRUPTED_STATUS)
    sys.exit(FAILED_STATUS if failed else 0)
