"""A variable that is erased can be read nowhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fleet_server.startup.erase_variable import erase

PROGRAM = """
import os
from pathlib import Path
from fleet_server.startup.erase_variable import erase

def shown(text):
    return text in Path("/proc/self/environ").read_text()

before = shown("hidden")
erase("TOKEN")
print(before, shown("hidden"), shown("OTHER=kept"), "TOKEN" in os.environ, os.environ["OTHER"])
"""


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
def test_the_environment_at_the_start_no_longer_shows_the_value() -> None:
    environ = {**os.environ, "TOKEN": "hidden", "OTHER": "kept"}
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environ, capture_output=True, text=True, check=True
    )
    assert ended.stdout.split() == ["True", "False", "True", "False", "kept"]


def test_a_variable_that_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOKEN", raising=False)
    erase("TOKEN")
    assert "TOKEN" not in os.environ
