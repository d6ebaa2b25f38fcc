"""`modelfleet embed` with a real server."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from fleet_cli.client.embed import INPUTS, MAX_COMPARED, app


def run(target: Any, *arguments: str, lines: str = "") -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["m", *arguments, "--base-url", target.url], input=lines)
    return done.exit_code, done.stdout, done.stderr


def test_each_text_is_a_line(target: Any) -> None:
    status, output, error = run(target, "a cat", "a\nkitten", "--dimensions", "2")
    assert (status, error) == (0, "")
    assert [json.loads(line) for line in output.splitlines()] == [
        {"text": "a cat", "embedding": [1.0, 2.0]}, {"text": "a\nkitten", "embedding": [1.0, 2.0]}
    ]  # fmt: skip
    assert target.bodies == [
        {"model": "m", "input": ["a cat", "a\nkitten"], "encoding_format": "float", "dimensions": 2}
    ]


def test_lines_of_the_input_are_sent_in_batches(target: Any) -> None:
    status, output, _ = run(target, "-", lines="\n".join(["x", "", *"y" * INPUTS]))
    assert (status, len(output.splitlines())) == (0, INPUTS + 1)
    assert [len(body["input"]) for body in target.bodies] == [INPUTS, 1]


def test_a_matrix_of_similarities(target: Any) -> None:
    assert run(target, "a cat", "a\nkitten", "--compare") == (
        0, "a cat\t1.000\t1.000\na\\nkitten\t1.000\t1.000\n", ""
    )  # fmt: skip


@pytest.mark.parametrize(
    ("mode", "arguments", "message"),
    [
        ("busy", ["a"], "secret (HTTP 429, request id req-7, retry after 3 s)."),
        ("short", ["a", "b"], "the response does not have 2 vectors of one size"),
        ("good", ["a", "--compare"], f"--compare takes 2 to {MAX_COMPARED} texts"),
        ("good", ["--compare", *"a" * (MAX_COMPARED + 1)], "--compare takes 2 to"),
    ],
)
def test_errors(target: Any, mode: str, arguments: list[str], message: str) -> None:
    target.mode = mode
    status, output, error = run(target, *arguments)
    assert (status, output) == (1, "")
    assert error.startswith(f"modelfleet embed: {message}")
