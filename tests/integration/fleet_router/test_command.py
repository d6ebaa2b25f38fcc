"""Invalid starts of `modelfleet router`: each exits with a reason and no traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def run(tmp_path: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fleet_router", *arguments], env={"HOME": str(tmp_path), **environ},
        capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "environ", "reason"),
    [
        ((), {}, "--routes"),
        (("--kube", "--routes", "x"), {}, "--routes"),
        (("--kube",), {}, "no cluster"),
        (("--routes", "ROUTES"), {"PORT": "x"}, "PORT"),
        (("--routes", "ROUTES"), {"KEYS_FILE": "/none/keys"}, "/none/keys"),
        (("--routes", "ROUTES"), {"WATCH_NAMESPACES": "*,a"}, "WATCH_NAMESPACES"),
        (("--routes", "ROUTES"), {"TLS_CERT": "/none/cert"}, "TLS_KEY"),
        (("--routes", "BROKEN"), {}, "models"),
    ],
)
def test_an_invalid_start_is_an_error_with_its_reason(
    tmp_path: Path, arguments: tuple[str, ...], environ: dict[str, str], reason: str
) -> None:
    (tmp_path / "ROUTES").write_text('{"models": []}')
    (tmp_path / "BROKEN").write_text("{}")
    files = [str(tmp_path / each) if each.isupper() else each for each in arguments]
    done = run(tmp_path, *files, **environ)
    assert done.returncode == 2
    assert reason in done.stderr
    assert "Traceback" not in done.stderr
