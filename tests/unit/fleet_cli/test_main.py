"""The table of subcommands: quick, lazy, clear about what is missing."""

from __future__ import annotations

import importlib
import importlib.util
import re
import subprocess
import sys
from typing import Any

import pytest
import typer

from fleet_cli import main as command
from fleet_cli.main import SUBCOMMANDS, Subcommand
from fleet_contract.installation import install_command


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_help_lists_every_command(modelfleet: Any, arguments: tuple[str, ...]) -> None:
    ended = modelfleet(*arguments)
    assert ended.returncode == 0
    for name, known in SUBCOMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(known.meaning)}$", ended.stdout, re.MULTILINE)


def test_version(modelfleet: Any) -> None:
    ended = modelfleet("--version")
    assert ended.returncode == 0
    assert re.fullmatch(r"modelfleet \d+\.\d+\.\d+\n", ended.stdout)


def test_an_unknown_command(modelfleet: Any) -> None:
    ended = modelfleet("catalogue")
    assert ended.returncode == 2
    assert "did you mean `catalog`" in ended.stderr
    assert "modelfleet --help" in modelfleet("xyz").stderr


@pytest.mark.parametrize("name", ["pull", "catalog", "render", "settings", "crd"])
def test_own_commands_have_help(modelfleet: Any, name: str) -> None:
    ended = modelfleet(name, "--help")
    assert ended.returncode == 0
    assert f"modelfleet {name}" in ended.stdout


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_every_command_exists(name: str) -> None:
    module = SUBCOMMANDS[name].app.partition(":")[0]
    assert importlib.util.find_spec(module) is not None


@pytest.mark.parametrize("arguments", [["--help"], ["catalog", "--json"], ["render", "minilm"]])
def test_imports_nothing_it_does_not_need(arguments: list[str]) -> None:
    """Neither torch nor an engine, nor the web framework."""
    heavy = "{'torch', 'openvino', 'fastapi', 'numpy', 'transformers', 'httpx'}"
    program = (
        "import sys, contextlib\nfrom fleet_cli.main import main\n"
        f"with contextlib.suppress(SystemExit): main({arguments})\n"
        f"print(sorted({heavy} & set(sys.modules)), file=sys.stderr)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ended.stderr.strip() == "[]"


def test_a_missing_package_is_named_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = Subcommand("fleet_no_such_package.command:app", "", "router")
    monkeypatch.setitem(SUBCOMMANDS, "router", missing)
    assert command.run("router", []) == 2
    said = capsys.readouterr().err
    assert "No module named 'fleet_no_such_package'" in said
    assert f"`{install_command('router')}`" in said


def test_a_package_missing_only_when_it_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    app = typer.Typer()

    @app.command()
    def router() -> None:
        importlib.import_module("no_such_web_framework")

    monkeypatch.setattr(command, "own_version", app, raising=True)
    monkeypatch.setitem(
        SUBCOMMANDS, "router", Subcommand("fleet_cli.main:own_version", "", "router")
    )
    assert command.run("router", []) == 2
    assert f"`{install_command('router')}`" in capsys.readouterr().err
