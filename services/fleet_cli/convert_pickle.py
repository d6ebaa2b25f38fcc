"""`modelfleet convert-pickle SOURCE`: pickled PyTorch weights to safetensors, in a sandbox."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from fleet_cli.catalog import CatalogFile
from fleet_cli.selection import chosen, environment, usage_errors

app = typer.Typer(add_completion=False)

FAILED_STATUS = 1
QUESTION = (
    "This installs PyTorch's CPU build (about 1 GB) in a temporary environment and reads the "
    "pickles of {source} there, with PyTorch's restricted unpickler. Continue?"
)


@app.command()
def convert_pickle(
    source: Annotated[
        str, typer.Argument(help="Folder with pytorch_model.bin, or a model of the catalog.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(help="New folder for the result; only where SOURCE is a folder."),
    ] = None,
    models_dir: Annotated[
        Path | None, typer.Option(help="Folder of the weights (MODELS_DIR).")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print progress and the result as JSON lines.")
    ] = False,
    catalog_file: CatalogFile = None,
) -> None:
    """Convert pickled PyTorch weights to safetensors in a sandboxed process.

    The process has no network where the system can take it away, bounded memory and CPU time, and
    on Linux with Landlock no write access outside its output folder. A model of the catalog is
    downloaded and stored in MODELS_DIR, where `modelfleet up` finds it; a folder is converted into
    <folder>-safetensors.
    """
    from fleet_cli.pull_output import JsonOutput, TextOutput, print_json
    from fleet_prepare.pickles.convert import convert_folder, convert_model
    from fleet_weights.errors import WeightsError
    from fleet_weights.store import Store

    environ = environment()
    folder = Path(source)
    with usage_errors("convert-pickle"):
        if folder.is_dir():
            specs = []
        elif output is not None:
            raise ValueError(f"--output requires a folder as SOURCE; {source} is not a folder")
        else:
            specs = chosen([source], environ, catalog_file)
    if not yes:
        typer.confirm(QUESTION.format(source=source), abort=True, err=as_json)
    try:
        if specs:
            store = Store.of(environ | ({"MODELS_DIR": str(models_dir)} if models_dir else {}))
            shown = JsonOutput() if as_json else TextOutput()
            with shown.progress(specs[0].model) as report:
                made = convert_model(specs[0], store, environ, report=report)
            if as_json:
                print_json("converted", model=specs[0].model, folder=str(made.absolute()))
            else:
                print(f"{specs[0].model} is in {made}.")
            return
        named = folder.resolve()
        target = output or named.with_name(f"{named.name}-safetensors")
        made = convert_folder(named, target.resolve(), environ)
        if as_json:
            print_json("converted", folder=str(made.absolute()))
        else:
            print(f"Name it with `source: file://{made}`.")
    except WeightsError as error:
        print(f"modelfleet convert-pickle: {error}", file=sys.stderr)
        sys.exit(FAILED_STATUS)
