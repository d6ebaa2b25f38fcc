"""`modelfleet crd`: the definition and the rules of the policy."""

from __future__ import annotations

from pathlib import Path

import yaml
from typer.testing import CliRunner

from fleet_cli.crd import app
from fleet_contract.policy import admission


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, arguments)
    return done.exit_code, done.output


def test_the_policy_is_printed() -> None:
    assert run("--policy") == (0, admission.render())


def test_a_written_definition_is_up_to_date(tmp_path: Path) -> None:
    folder = f"--folder={tmp_path}"
    assert run("--check", folder)[0] == 1
    assert run("--write", folder)[0] == 0
    assert run("--check", folder)[0] == 0
    (written,) = tmp_path.iterdir()
    assert yaml.safe_load(written.read_text()) == yaml.safe_load(run()[1])
