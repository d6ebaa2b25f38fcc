"""The reference's environment: a real venv and pip, a local wheel, no network."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

from fleet_bench.compare.errors import CannotCompare
from fleet_bench.compare.sides import environment
from fleet_bench.compare.sides.servers import LAUNCH, ROOT

METADATA = "Metadata-Version: 2.1\nName: only-here\nVersion: 1.0\n"
WHEEL = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    path = tmp_path / "only_here-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("only_here.py", "LIBRARY = 'of the reference'\n")
        packed.writestr("only_here-1.0.dist-info/METADATA", METADATA)
        packed.writestr("only_here-1.0.dist-info/WHEEL", WHEEL)
        packed.writestr("only_here-1.0.dist-info/RECORD", "")
    return path


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {
        "XDG_CACHE_HOME": str(tmp_path / "cache"), "PIP_NO_INDEX": "1", "PATH": "/usr/bin:/bin",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1", "TORCH_INDEX_URL": (tmp_path / "no-index").as_uri(),
    }  # fmt: skip


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch, wheel: Path) -> None:
    """As if transformers was missing and the wheel was the requirement."""
    monkeypatch.setitem(environment.MODULES, "transformers", ("no_such_module_here",))
    monkeypatch.setattr(environment, "REQUIREMENTS", (str(wheel),))


def python(path: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([path, *arguments], capture_output=True, text=True, timeout=180)


@pytest.mark.usefixtures("absent")
def test_the_environment_is_created_once(
    environ: dict[str, str], capfd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CannotCompare, match="--install-reference"):
        environment.interpreter("transformers", environ)
    environment.install(environ)
    assert "cannot be installed from" in capfd.readouterr().err
    path = environment.interpreter("transformers", environ)
    made_at = Path(path).lstat().st_ctime_ns
    environment.install(environ)
    assert Path(path).lstat().st_ctime_ns == made_at
    assert python(path, "-c", "import only_here; print(only_here.LIBRARY)").stdout.strip() == (
        "of the reference"
    )
    # The reference runs there without an installed Modelfleet.
    assert python(path, "-c", "import fleet_bench").returncode == 1
    shown = python(path, "-P", "-c", LAUNCH, str(ROOT), "--help")
    assert "fleet_bench.reference" in shown.stdout, shown.stderr
    monkeypatch.setattr(environment, "REQUIREMENTS", ("something-else",))
    assert not environment.is_complete(environment.folder_of(environ))


@pytest.mark.usefixtures("absent")
def test_a_failed_installation_leaves_nothing(environ: dict[str, str], wheel: Path) -> None:
    wheel.unlink()
    with pytest.raises(CannotCompare, match="exit status"):
        environment.install(environ)
    assert not environment.folder_of(environ).exists()


def test_installed_packages_are_used(environ: dict[str, str]) -> None:
    assert environment.interpreter("faster-whisper", environ) == sys.executable
    environment.install(environ)  # transformers is installed: nothing to do
    assert not environment.folder_of(environ).exists()


def test_the_reference_requires_the_torch_extra() -> None:
    project = tomllib.loads((Path(__file__).parents[5] / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert set(environment.REQUIREMENTS) <= {*extras["torch"], *extras["server"]}
