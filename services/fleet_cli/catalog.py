"""`modelfleet catalog`: the models of the catalog as a table, JSON or Markdown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fleet_cli.selection import known_models, usage_errors
from fleet_contract.completion import GPU
from fleet_contract.spec import Dtype, Engine, ModelSpec, Task

if TYPE_CHECKING:
    from fleet_prepare.machine import Machine

app = typer.Typer(add_completion=False)

PLAIN_WIDTH = 200
"""Columns of the table in a file or a pipe."""
NONE = "-"

CatalogFile = Annotated[
    Path | None,
    typer.Option("--catalog", help="YAML file of entries to add to the catalog (CATALOG)."),
]


@app.command()
def catalog(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one array.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print docs/models.md.")] = False,
    file: CatalogFile = None,
) -> None:
    """List the models of the catalog."""
    with usage_errors("catalog"):
        specs = list(known_models(file).values())
        if markdown:
            from fleet_cli import models_page

            print(models_page.markdown(specs, models_page.read()), end="")
            return
    if as_json:
        entries = [
            {"task": spec.task.value, "engine": spec.engine.value, **spec.to_wire()}
            for spec in specs
        ]
        print(json.dumps(entries, indent=2))
        return
    _print_table(specs)


def row(spec: ModelSpec, engine: str = NONE) -> tuple[str, ...]:
    """Id, aliases, task, engine, dtype, properties, device, source.

    `engine` is the one that serves the model here, for a spec that does not name one.
    """
    return (
        spec.model,
        ", ".join(spec.aliases) or NONE,
        spec.task.value,
        spec.engine.value if spec.engine is not Engine.AUTO else engine,
        spec.dtype.value if spec.dtype is not Dtype.AUTO else NONE,
        _properties(spec) or NONE,
        "GPU; CPU with torch" if GPU in spec.resources.limits else "CPU, GPU",
        source(spec),
    )


def source(spec: ModelSpec) -> str:
    """The hosts, packages or repositories of the weights, one a line."""
    urls = [spec.source] if spec.source else []
    urls += [part.url for file in spec.weights for part in file.parts]
    places: dict[str, None] = {}
    for url in urls:
        scheme, _, rest = url.partition("://")
        place = rest.removesuffix("@main") if scheme == "hf" else rest.partition("/")[0]
        places[f"{scheme}: {place}"] = None
    return "\n".join(places)


def _properties(spec: ModelSpec) -> str:
    if spec.task is Task.EMBEDDING:
        sizes = [spec.dimensions, *spec.matryoshka_dimensions]
        known = "/".join(str(size) for size in sizes if size)
        return f"{known} dimensions" if known else ""
    if spec.task is Task.SPEECH:
        return "English" if spec.multilingual is False else "multilingual"
    context = _context(spec.context_length)
    return f"{context}, images" if spec.vision else context


def _context(tokens: int | None) -> str:
    if tokens is None:
        return ""
    return f"{tokens // 1024}k context" if tokens >= 1024 else f"{tokens} tokens context"


def _this_machine() -> Machine | None:
    """None in images that have no engines, and so no fleet_prepare."""
    try:
        from fleet_prepare import machine
    except ModuleNotFoundError:
        return None
    return machine.here()


def _print_table(specs: list[ModelSpec]) -> None:
    from rich.console import Console
    from rich.table import Table

    from fleet_cli import models_page

    console = Console()
    if not console.is_terminal:
        console = Console(width=PLAIN_WIDTH)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("model", no_wrap=True)
    for title in ("aliases", "task", "engine here", "dtype", "properties", "runs on"):
        table.add_column(title, overflow="fold")
    table.add_column("weights", overflow="fold", style="dim")
    known, here = models_page.read(), _this_machine()
    for spec in specs:
        engine = models_page.engine_on(spec, known, here) if here is not None else None
        table.add_row(*row(spec, engine or NONE))
    console.print(table)
    console.print(f"\n{len(specs)} models; `modelfleet render MODEL` prints the whole spec of one.")
