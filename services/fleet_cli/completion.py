"""Completion of commands and options in a shell, by typer's scripts.

Tab runs `modelfleet` with a variable; only the subcommand of the line is then imported.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

PROGRAM = "modelfleet"


def run(arguments: list[str], meanings: Mapping[str, str], apps: Mapping[str, str]) -> None:
    """Complete a line, or install or print the script; exits the process.

    `meanings` and `apps` have the help and the `module:attribute` of each subcommand.
    """

    class Commands(TyperGroup):
        """The subcommands, each imported only when the line has its name."""

        def list_commands(self, ctx: Any) -> list[str]:
            return list(apps)

        def get_command(self, ctx: Any, cmd_name: str) -> Any:
            meaning = meanings.get(cmd_name)
            return None if meaning is None else TyperCommand(cmd_name, help=meaning)

        def resolve_command(self, ctx: Any, args: list[str]) -> Any:
            if args and args[0] in apps:
                return args[0], _loaded(args[0], apps[args[0]]), args[1:]
            return super().resolve_command(ctx, args)

    app = typer.Typer(cls=Commands, add_completion=True)
    app.callback()(_nothing)
    app(arguments, prog_name=PROGRAM)


def _loaded(name: str, app: str) -> Any:
    """The command of a typer app; one without options where its packages are not installed."""
    module, _, attribute = app.partition(":")
    try:
        return get_command(getattr(importlib.import_module(module), attribute))
    except ModuleNotFoundError:
        return TyperCommand(name)


def _nothing() -> None:
    """The callback that makes the app a group."""
