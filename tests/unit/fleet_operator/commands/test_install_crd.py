"""Applying the definition: when it counts as served, and the error without a cluster.

That it is applied, with its ServiceAccount's rights, is in tests/cluster/chart.
"""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from fleet_operator.commands import install_crd
from fleet_operator.commands.install_crd import established


def conditions(**given: str) -> dict[str, Any]:
    conditions = [
        {"type": kind, "status": status, "message": kind} for kind, status in given.items()
    ]
    return {"status": {"conditions": conditions}}


@pytest.mark.parametrize(
    ("found", "is_served"),
    [
        ({}, False),
        ({"status": {}}, False),
        (conditions(NamesAccepted="True", Established="True"), True),
        (conditions(NamesAccepted="False", Established="False"), False),
        (conditions(Established="True", NonStructuralSchema="True"), False),
    ],
)
def test_established(found: dict[str, Any], is_served: bool) -> None:
    assert established(found) is is_served


def test_an_unresponsive_api_server_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    config = tmp_path / "config"
    server = {"server": f"https://127.0.0.1:{port}"}
    config.write_text(
        json.dumps(
            {
                "clusters": [{"name": "a", "cluster": server}],
                "users": [{"name": "a", "user": {"token": "a-secret"}}],
                "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
                "current-context": "a",
            }
        )
    )
    monkeypatch.setenv("KUBECONFIG", str(config))
    with pytest.raises(SystemExit) as ended:
        install_crd.app(["--patience=0"], prog_name="install-crd")
    assert ended.value.code == 1
    output = capsys.readouterr().err
    assert output.startswith("modelfleet install-crd: PATCH /apis/apiextensions.k8s.io/v1/")
    assert "a-secret" not in output
