"""Completion in a real bash, with the script that the command installs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
source "$HOME/.bashrc"
complete_line() {
    COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
    _modelfleet_completion modelfleet
    echo "${COMPREPLY[*]}"
}
complete_line modelfleet ""
complete_line modelfleet cha
complete_line modelfleet chat --temp
complete_line modelfleet keys re
complete_line modelfleet doctor --output ""
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with `modelfleet` in its folder `bin`."""
    program = tmp_path / "bin" / "modelfleet"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\nfrom fleet_cli.main import main\nmain()\n")
    program.chmod(0o755)
    return tmp_path


def bash(home: Path, script: str) -> list[str]:
    environ = os.environ | {"HOME": str(home), "PATH": f"{home}/bin:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "--norc", "-c", script], env=environ, text=True, timeout=60, check=True,
        capture_output=True,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return done.stdout.splitlines()


def test_an_installed_completion(home: Path) -> None:
    assert "bash completion installed" in bash(home, "modelfleet --install-completion; true")[0]
    every, command, option, nested, value = bash(home, SCRIPT)
    assert {"up", "chat", "doctor", "operator"} <= set(every.split())
    assert (command, option, nested) == ("chat", "--temperature", "revoke")
    assert value.split() == ["text", "json"]


def test_the_script_is_printed_for_the_shell(home: Path) -> None:
    shown = "\n".join(bash(home, "modelfleet --show-completion; true"))
    assert "complete -o default -F _modelfleet_completion modelfleet" in shown
    assert not (home / ".bashrc").exists()


def test_only_the_subcommand_of_the_line_is_imported() -> None:
    code = (
        "import sys, contextlib\nfrom fleet_cli.main import main\n"
        "with contextlib.suppress(SystemExit): main([])\n"
        "print(sorted({m.partition('.')[0] for m in sys.modules if m.startswith('fleet_')}))"
    )
    environ = {
        "_MODELFLEET_COMPLETE": "complete_bash",
        "COMP_WORDS": "modelfleet ",
        "COMP_CWORD": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | environ, text=True, check=True,
        capture_output=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "['fleet_cli', 'fleet_contract']"
    assert "router" in done.stdout.splitlines()
