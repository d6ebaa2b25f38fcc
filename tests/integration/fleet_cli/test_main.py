"""Subcommands: help, lazy imports and errors."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import pytest

from fleet_cli.main import SUBCOMMANDS


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


@pytest.mark.parametrize("arguments", [["--help"], ["catalog", "--json"], ["render", "minilm"]])
def test_no_unnecessary_imports(arguments: list[str]) -> None:
    """torch, engines and the web framework are not imported."""
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
