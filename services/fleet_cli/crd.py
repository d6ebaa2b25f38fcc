"""`modelfleet crd`: prints, writes or checks the custom resource definition."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False)


@app.command()
def crd(
    check: Annotated[
        bool, typer.Option("--check", help="Check the file; exit status 1 if it is out of date.")
    ] = False,
    write: Annotated[bool, typer.Option("--write", help="Write the file.")] = False,
    folder: Annotated[Path, typer.Option(help="Folder of the file.")] = Path("crds"),
    policy: Annotated[
        bool, typer.Option("--policy", help="Print the rules of the chart's admission policy.")
    ] = False,
) -> None:
    """Print the definition of InferenceModel; `modelfleet crd | kubectl apply -f -` installs it."""
    from fleet_contract.crd.definition import FILE, render
    from fleet_contract.policy import admission

    if policy:
        print(admission.render(), end="")
        return

    text, path = render(), folder / FILE
    if check:
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            print(f"{path} is out of date: run `modelfleet crd --write`", file=sys.stderr)
            raise typer.Exit(1)
    elif write:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    else:
        print(text, end="")


if __name__ == "__main__":
    app()
