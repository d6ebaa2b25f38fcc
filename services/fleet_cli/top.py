"""`modelfleet top`: a live view of the models of a fleet, the busiest first."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from fleet_cli.client.options import KEY_ENV, LOCAL, BaseUrl, KeyEnv
from fleet_cli.client.output import new_table
from fleet_cli.status import Read, connected, updates, warn
from fleet_cli.status_rows import COLUMNS, UNKNOWN, Row
from fleet_contract.safe_text import printable

if TYPE_CHECKING:
    from rich.console import RenderableType

app = typer.Typer(add_completion=False)

NUMBERS = ("in_flight", "held", "tokens_per_second", "memory_bytes", "cost")
STYLES = {"ready": "green", "failed": "red", "unavailable": "red", "conflict": "red",
          "scaled_to_zero": "dim", "stopped": "dim"}  # fmt: skip


@app.command()
def top(
    base_url: BaseUrl = LOCAL,
    api_key_env: KeyEnv = KEY_ENV,
    seconds: Annotated[float, typer.Option(min=0.5, help="Seconds between updates.")] = 2.0,
    times: Annotated[
        int | None, typer.Option("-n", min=1, help="Updates to print; without end by default.")
    ] = None,
) -> None:
    """Show state, load, tokens per second and memory of each model until Ctrl-C.

    Where the output is no terminal, each update is printed as lines of cells separated by tabs, and
    a blank line.
    """
    with connected("top", base_url, api_key_env) as read:
        if sys.stdout.isatty():
            live(read, seconds, times)
        else:
            lines(read, seconds, times)


def busiest_first(rows: Sequence[Row]) -> list[Row]:
    """By tokens per second and requests in flight, then by memory."""
    return sorted(
        rows,
        key=lambda row: (
            -(row.tokens_per_second or 0.0), -(row.in_flight or 0), -(row.memory_bytes or 0),
            row.model,
        ),
    )  # fmt: skip


def totals(rows: Sequence[Row]) -> str:
    """A line of sums over all models; `-` for what the key may not read."""
    ready = sum(row.state == "ready" for row in rows)
    flights = [row.in_flight for row in rows if row.in_flight is not None]
    held = [row.held for row in rows if row.held is not None]
    rates = [row.tokens_per_second for row in rows if row.tokens_per_second is not None]
    memory = sum(row.memory_bytes or 0 for row in rows) / 2**20
    costs: dict[str, float] = {}
    for row in rows:
        if row.currency is not None:
            amount = (row.usage_per_hour or 0.0) + (row.servers_per_hour or 0.0)
            costs[row.currency] = costs.get(row.currency, 0.0) + amount
    money = "".join(f", {costs[name]:.2f} {printable(name)}/h" for name in sorted(costs))
    return (
        f"{ready} of {len(rows)} models ready, {sum(flights) if flights else UNKNOWN} in flight, "
        f"{sum(held) if held else UNKNOWN} held, "
        f"{f'{sum(rates):.1f}' if rates else UNKNOWN} tokens/s, {memory:.0f} MiB{money}"
    )


def lines(read: Read, seconds: float, times: int | None) -> None:
    """Print updates as text."""
    for rows in updates(read, seconds, times, warn("top")):
        for row in busiest_first(rows):
            print("\t".join(row.cells()))
        print(flush=True)


def live(read: Read, seconds: float, times: int | None) -> None:
    """Show updates in place of each other."""
    from rich.live import Live

    with Live(auto_refresh=False, screen=True) as screen:
        shown: list[Row] = []

        def failed(reason: str) -> None:
            screen.update(view(shown, reason), refresh=True)

        for rows in updates(read, seconds, times, failed):
            shown = rows
            screen.update(view(rows), refresh=True)


def view(rows: Sequence[Row], problem: str = "") -> RenderableType:
    """A table, with the totals above it, and why the rows are not the present ones."""
    from rich.console import Group
    from rich.text import Text

    table = new_table(COLUMNS, right=NUMBERS)
    for row in busiest_first(rows):
        table.add_row(*map(Text, row.cells()), style=STYLES.get(row.state, "yellow"))
    return Group(Text(totals(rows)), Text(printable(problem), style="red"), table)
