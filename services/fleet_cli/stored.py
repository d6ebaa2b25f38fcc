"""`modelfleet list` and `modelfleet rm`: the weights in MODELS_DIR."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fleet_cli.client.output import new_table
from fleet_cli.fleet_folder import ROOT, entries_of
from fleet_cli.selection import environment, known_models, usage_errors
from fleet_contract.safe_text import printable

if TYPE_CHECKING:
    from fleet_weights.store import Store
    from fleet_weights.stored import Stored

list_app = typer.Typer(add_completion=False)
rm_app = typer.Typer(add_completion=False)

COLUMNS = ("model", "size", "last used", "converted", "source")
FAILED_STATUS = 1
ModelsDir = Annotated[Path | None, typer.Option(help="Folder of the weights (MODELS_DIR).")]


@list_app.command()
def list_weights(
    models_dir: ModelsDir = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one array.")] = False,
) -> None:
    """List the models whose weights are on disk, with their sizes, the largest first."""
    from fleet_weights.stored import listed

    store = _store("list", models_dir)
    found = listed(store)
    if as_json:
        print(json.dumps([asdict(one) for one in found]))
        return
    rows = [cells(one, time.time()) for one in found]
    if not sys.stdout.isatty():
        for row in rows:
            print("\t".join(row))
        return
    from rich.console import Console
    from rich.text import Text

    table = new_table(COLUMNS, right=("size",))
    for row in rows:
        table.add_row(*map(Text, row))
    console = Console()
    console.print(table)
    console.print(f"{size(sum(one.bytes for one in found))} in {store.root}", highlight=False)


@rm_app.command()
def rm(
    models: Annotated[
        list[str], typer.Argument(help="Ids, aliases, or names as in `modelfleet list --json`.")
    ],
    models_dir: ModelsDir = None,
) -> None:
    """Delete the weights of models, with their conversions.

    Weights that a process uses are kept: those that are being fetched, those of a fleet that was
    started in this folder, and with MODELS_DIR_LIMIT those of every process.
    """
    from fleet_weights.stored import delete, listed

    store = _store("rm", models_dir)
    with usage_errors("rm"):
        chosen = matching(models, listed(store))
        used = in_use(ROOT)
    failed = False
    for one in chosen:
        if one.name in used or not delete(store, one):
            print(f"modelfleet rm: {printable(one.model)} is in use.", file=sys.stderr)
            failed = True
        else:
            print(f"deleted {printable(one.model)} ({size(one.bytes)})")
    sys.exit(FAILED_STATUS if failed else 0)


def matching(names: Sequence[str], found: Sequence[Stored]) -> list[Stored]:
    """The stored weights of ids, aliases or names of folders. Raises ValueError for others."""
    ids = {alias: spec.model for spec in known_models().values() for alias in spec.ids}
    chosen: dict[str, Stored] = {}
    for name in names:
        model = ids.get(name, name)
        ours = [one for one in found if name == one.name or model == one.model]
        if not ours:
            known = ", ".join(sorted({one.model for one in found})) or "nothing"
            raise ValueError(f"there are no weights of {name!r}; on disk: {known}")
        chosen |= {one.name: one for one in ours}
    return list(chosen.values())


def in_use(root: Path) -> set[str]:
    """Names of the weights of fleets that run with their files below `root`, adapters and draft
    models included."""
    from fleet_contract.spec import ModelSpec
    from fleet_local.run_lock import is_locked
    from fleet_weights.adapters import companions
    from fleet_weights.store import folder_name

    names: set[str] = set()
    for path in root.glob("*/routes.json"):
        if not is_locked(path.parent):
            continue
        for entry in entries_of(path.parent):
            spec = ModelSpec.model_validate(entry["spec"])
            names |= {folder_name(each) for each in (spec, *companions(spec))}
    return names


def cells(one: Stored, now: float) -> tuple[str, ...]:
    """The texts of COLUMNS."""
    days = int((now - one.used) // 86400)
    ago = "today" if days < 1 else f"{days} {'day' if days == 1 else 'days'} ago"
    converted = ", ".join(each.lstrip(".-") for each in one.conversions) or "-"
    return (
        printable(one.model) + ("" if one.complete else " (incomplete)"),
        size(one.bytes), ago, printable(converted), printable(one.source or "-"),
    )  # fmt: skip


def size(number: int) -> str:
    """`number` bytes in decimal units, as in docs/models.md."""
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.0f} MB"


def _store(command: str, models_dir: Path | None) -> Store:
    from fleet_weights.store import Store

    with usage_errors(command):
        folder = {"MODELS_DIR": str(models_dir)} if models_dir else {}
        return Store.of({**os.environ, **environment(), **folder})
