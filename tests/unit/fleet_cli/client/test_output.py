"""Text that cannot control a terminal, and errors."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from fleet_cli.client.output import errors, safe
from fleet_cli.client.server import RequestFailed


def test_text_cannot_control_the_terminal() -> None:
    assert safe("a\tb\n\x1b[2J\r\x9b ü👩\u200d💻") == "a\tb\n\\x1b[2J\\r\\x9b ü👩\u200d💻"


@pytest.mark.parametrize("error", [RequestFailed("a\x1bb"), ValueError("a\x1bb")])
def test_errors_exit_with_a_message(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended, errors("embed"):
        raise error
    assert (ended.value.exit_code, capsys.readouterr().err) == (1, "modelfleet embed: a\\x1bb\n")


def test_errors_of_files_name_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit), errors("embed"):
        (tmp_path / "none").open()
    expected = f"modelfleet embed: {tmp_path}/none: No such file or directory\n"
    assert capsys.readouterr().err == expected


def test_a_closed_pipe_is_no_error() -> None:
    with pytest.raises(BrokenPipeError), errors("embed"):
        raise BrokenPipeError
