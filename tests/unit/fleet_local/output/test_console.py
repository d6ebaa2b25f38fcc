"""What `up` prints, and that a closed terminal is ignored."""

from __future__ import annotations

import io

import pytest
from rich.console import Console as Rich

from fleet_local.errors import StartError
from fleet_local.output.console import Console, RichConsole


class Gone(io.StringIO):
    def __init__(self, error: type[OSError]) -> None:
        super().__init__()
        self._error = error

    def write(self, text: str) -> int:
        raise self._error


def test_a_failure_shows_output_reason_and_what_to_do() -> None:
    screen = io.StringIO()
    console = Console(Rich(file=screen, force_terminal=False))
    console.print_error(StartError("It is broken [x].", "Mend it.", ("line [one]", "line two")))
    assert screen.getvalue().splitlines() == [
        "  line [one]", "  line two", "modelfleet up: It is broken [x].", "Mend it.",
    ]  # fmt: skip


def test_long_lines_are_never_wrapped() -> None:
    screen = io.StringIO()
    Console(Rich(file=screen, force_terminal=False, width=20)).print("curl " + "x" * 1000)
    assert screen.getvalue() == "curl " + "x" * 1000 + "\n"


@pytest.mark.parametrize("screen", [Gone(BrokenPipeError), Gone(OSError)])
def test_a_closed_terminal_or_pipe_is_ignored(screen: Gone) -> None:
    console = Console(RichConsole(file=screen, force_terminal=True))
    console.print("hello")
    console.log("a process fell")
    console.print_error(StartError("x"))
