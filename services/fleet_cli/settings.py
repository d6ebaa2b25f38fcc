"""`modelfleet settings`: lists the environment variables, also as pages."""

from __future__ import annotations

from typing import Annotated

import typer

from fleet_cli import settings_page
from fleet_cli.catalog import PLAIN_WIDTH

app = typer.Typer(add_completion=False)


@app.command()
def settings(
    markdown: Annotated[bool, typer.Option(help="Print docs/settings.md.")] = False,
    env: Annotated[bool, typer.Option(help="Print .env.example.")] = False,
) -> None:
    """List the environment variables."""
    if markdown:
        print(settings_page.markdown(), end="")
    elif env:
        print(settings_page.env_example(), end="")
    else:
        _print_table()


def _print_table() -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    if not console.is_terminal:
        console = Console(width=PLAIN_WIDTH)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in settings_page.TITLES:
        table.add_column(title, overflow="fold", no_wrap=title == "variable")
    for row in settings_page.rows():
        table.add_row(*(escape(cell) for cell in row))
    console.print(table)
