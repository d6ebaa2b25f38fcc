"""`modelfleet doctor`: checks this machine, the hub and the rights in a cluster."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fleet_cli.doctor.finding import Finding, Level
from fleet_contract.installation import install_command
from fleet_contract.safe_text import printable

if TYPE_CHECKING:
    from fleet_local.settings import UpSettings

app = typer.Typer(add_completion=False)

STYLES = {Level.OK: "green", Level.WARNING: "yellow", Level.ERROR: "bold red"}


class Output(StrEnum):
    """`text` has tabs between level, check, message and remedy where the output is no terminal."""

    TEXT = "text"
    JSON = "json"


@app.command()
def doctor(
    models: Annotated[
        str | None, typer.Option(help="As for `modelfleet up`: ids or aliases (MODELS).")
    ] = None,
    files: Annotated[
        list[Path] | None, typer.Option("--file", "-f", help="As for `modelfleet up`; repeatable.")
    ] = None,
    host: Annotated[str | None, typer.Option(help="As for `modelfleet up` (HOST).")] = None,
    port: Annotated[int | None, typer.Option(help="As for `modelfleet up` (PORT).")] = None,
    output: Annotated[Output, typer.Option("--output", "-o", help="Format.")] = Output.TEXT,
) -> None:
    """Check what `modelfleet up` needs, and print a remedy for each problem.

    The exit status is 1 if something prevents `modelfleet up` with the same options and settings.
    """
    from fleet_cli.doctor.fleet import of_error
    from fleet_cli.selection import environment
    from fleet_local.errors import StartError
    from fleet_local.settings import UpSettings

    environ = environment()
    found: list[Finding] = []
    settings = None
    try:
        settings = UpSettings.read(environ, host=host, port=port, models=models, files=files or ())
        first = Finding("settings", Level.OK, "valid")
    except StartError as error:
        first = of_error("settings", error)
    for finding in chain([first], checks(settings, environ)):
        found.append(finding)
        if output is Output.TEXT:
            show(finding)
    if output is Output.JSON:
        print(json.dumps([finding.to_json() for finding in found]))
    if any(finding.level is Level.ERROR for finding in found):
        raise typer.Exit(1)


def checks(settings: UpSettings | None, environ: Mapping[str, str]) -> Iterator[Finding]:
    """All findings, the quick ones first; those of the fleet need its settings."""
    from fleet_cli.doctor import fleet, hardware
    from fleet_local import selection
    from fleet_local.errors import StartError
    from fleet_prepare import machine
    from fleet_weights.store import Store

    here = machine.here(environ)
    yield hardware.cpu()
    yield hardware.memory()
    yield hardware.gpu(here)
    yield hardware.engines(here)
    if settings is not None:
        yield hardware.disk(
            "logs", settings.run_root, "Run `modelfleet up` in a folder that you can write to."
        )
        yield fleet.address(settings)
    yield fleet.memory_budget(environ)
    hub = fleet.hub(environ)
    yield hub
    try:
        store = Store.of(environ)
    except ValueError as error:
        yield Finding("disk", Level.ERROR, printable(str(error)))
    else:
        yield hardware.disk("disk", store.root, "Make room, or set MODELS_DIR to another folder.")
        if settings is not None:
            try:
                specs = selection.select(settings)
            except StartError as error:
                yield fleet.of_error("models", error)
            else:
                online = hub.level is Level.OK
                yield from fleet.models(specs, settings, store, here, environ, online=online)
    yield from cluster(environ)


def cluster(environ: Mapping[str, str]) -> Sequence[Finding]:
    """The rights in the cluster of the kubeconfig; none without one."""
    kubeconfig = environ.get("KUBECONFIG", "").strip()
    if not kubeconfig and not (Path(environ.get("HOME", "/")) / ".kube" / "config").exists():
        return []
    try:
        from fleet_cli.doctor.cluster import rights
    except ModuleNotFoundError as error:
        message = f"the kubeconfig is not used: {error}"
        remedy = f"Install it with `{install_command('kube')}`."
        return [Finding("cluster", Level.WARNING, message, remedy)]
    return rights(environ)


def show(finding: Finding) -> None:
    """Print a finding, with its remedy on a line of its own in a terminal."""
    if not sys.stdout.isatty():
        print("\t".join([finding.level, finding.check, finding.message, finding.remedy]).rstrip())
        return
    from rich.console import Console
    from rich.text import Text

    console = Console()
    line = Text.assemble(
        (f"{finding.level.value:8}", STYLES[finding.level]), (f"{finding.check}: ", "bold"),
        finding.message,
    )  # fmt: skip
    console.print(line)
    if finding.remedy:
        console.print(Text(f"        {finding.remedy}"))
