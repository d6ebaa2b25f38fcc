"""Commands that install extras, in a clone and elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fleet_contract.installation import MAKE_TARGETS, ROOT, install_command


@pytest.mark.parametrize(
    ("extra", "command"),
    [
        ("server", "make env-run"),
        ("llamacpp", "make env-run"),
        ("torch", "make env-torch"),
        ("plots", ".venv/bin/pip install -c requirements.lock -e '.[plots]'"),
    ],
)
def test_a_clone_is_installed_by_make_or_its_own_pip(
    tmp_path: Path, extra: str, command: str
) -> None:
    assert install_command(extra, tmp_path) == f"pip install 'modelfleet[{extra}]'"
    for name in ("Makefile", "pyproject.toml"):
        (tmp_path / name).touch()
    assert install_command(extra, tmp_path) == command


def test_the_targets_are_in_the_makefile() -> None:
    text = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", text, re.MULTILINE))
    assert set(MAKE_TARGETS.values()) <= targets
    assert install_command("router") == "make env-run"
