"""`modelfleet status` of a real router with stub servers."""

from __future__ import annotations

import json
from typing import Any

from typer.testing import CliRunner

from fleet_cli import top
from fleet_cli.status import app


def run(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, list(arguments))
    return done.exit_code, done.stdout, done.stderr


def test_models_of_a_fleet(fleet: Any) -> None:
    status, output, _ = run("--base-url", f"{fleet.url}/v1", "-o", "json")
    assert status == 0
    found = {row["model"]: row for row in json.loads(output)}
    assert (found["acme/chat"]["task"], found["acme/chat"]["state"]) == ("chat", "ready")
    assert found["acme/chat"]["in_flight"] == found["acme/chat"]["held"] == 0
    assert found["acme/dead"]["state"] != "ready"

    lines = run("--base-url", fleet.url)[1].splitlines()
    assert len(lines) == len(found)
    assert next(line for line in lines if "acme/chat" in line).split("\t")[:3] == [
        "acme/chat", "chat", "ready"
    ]  # fmt: skip


def test_top_prints_updates_where_the_output_is_no_terminal(fleet: Any) -> None:
    arguments = ["--base-url", fleet.url, "--seconds", "0.5", "-n", "2"]
    done = CliRunner().invoke(top.app, arguments)
    assert done.exit_code == 0
    first, second, rest = done.stdout.split("\n\n")
    assert rest == ""
    for update in (first, second):
        models = [line.split("\t")[0] for line in update.splitlines()]
        assert {"acme/chat", "acme/dead"} <= set(models)
    assert "-" in first.splitlines()[0].split("\t")
    chat = next(line for line in second.splitlines() if line.startswith("acme/chat\t"))
    assert chat.split("\t")[7] == "0.0"  # tokens per second, from the second update on


def test_an_address_of_another_kind_names_the_path_and_its_status(stub: Any) -> None:
    status, output, error = run("--base-url", f"http://127.0.0.1:{stub.port}/elsewhere")
    assert (status, output) == (1, "")
    assert error.rstrip().endswith("/elsewhere/v1/models responded with 405")


def test_nothing_listens() -> None:
    status, output, error = run("--base-url", "http://127.0.0.1:9")
    assert (status, output) == (1, "")
    assert error.startswith("modelfleet status: http://127.0.0.1:9: ")
