"""Commands and the packages they need."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path

import pytest
import typer

from fleet_cli import main as command
from fleet_cli.cluster.options import ENV_CLUSTER
from fleet_cli.main import SUBCOMMANDS, Subcommand
from fleet_contract.installation import install_command


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_every_command_exists(name: str) -> None:
    module = SUBCOMMANDS[name].app.partition(":")[0]
    assert importlib.util.find_spec(module) is not None


def test_a_missing_package_is_named_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = Subcommand("fleet_no_such_package.command:app", "", "router")
    monkeypatch.setitem(SUBCOMMANDS, "router", missing)
    assert command.run("router", []) == 2
    output = capsys.readouterr().err
    assert "No module named 'fleet_no_such_package'" in output
    assert f"`{install_command('router')}`" in output


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


def test_speech_is_refused_with_the_reason() -> None:
    assert "no engine generates speech" in command.unknown("speak")


def test_the_kubectl_plugin_uses_the_cluster(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("sys.argv", ["kubectl-modelfleet", "status"])
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.setenv(ENV_CLUSTER, "0")  # registered, so that it is removed afterwards
    monkeypatch.delenv(ENV_CLUSTER)
    with pytest.raises(SystemExit) as ended:
        command.kubectl()
    assert ended.value.code == 1
    assert "not a usable kubeconfig" in capsys.readouterr().err


def test_the_kubectl_plugin_has_no_logs_of_a_local_fleet(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["kubectl-modelfleet", "logs", "chat", "-n", "team"])
    monkeypatch.setenv(ENV_CLUSTER, "1")
    with pytest.raises(SystemExit) as ended:
        command.kubectl()
    assert ended.value.code == 2
    assert "kubectl logs -l modelfleet.dev/inferencemodel=NAME" in capsys.readouterr().err
