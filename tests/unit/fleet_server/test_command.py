"""The command `modelfleet server`: errors before it serves."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest


def run(**environ: str) -> subprocess.CompletedProcess[str]:
    code = "from fleet_server.command import app; app()"
    path = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-c", code, "--port", "0"], env={**path, **environ},
        capture_output=True, text=True,
    )  # fmt: skip


@pytest.mark.parametrize("spec", ["", '{"model": ""}', "text"])
def test_an_invalid_spec_is_an_event(spec: str) -> None:
    """The operator shows the message of this event."""
    done = run(MODELFLEET_SPEC=spec)
    assert done.returncode == 2
    entry = json.loads((done.stdout + done.stderr).splitlines()[-1])
    assert entry["event"] == "start_failed"
    assert "MODELFLEET_SPEC" in entry["message"]


def test_an_invalid_log_format_is_plain_text() -> None:
    done = run(LOG_FORMAT="xml")
    assert done.returncode == 2
    assert done.stderr.startswith("modelfleet server: ")
