"""Tests share code in tests/support: no module imports a conftest."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parents[2]
IMPORT = re.compile(r"^\s*(from|import) [\w.]*\bconftest\b", re.MULTILINE)


def test_no_conftest_is_imported() -> None:
    found = [path for path in TESTS.rglob("*.py") if IMPORT.search(path.read_text())]
    assert found == []


def test_the_check_sees_an_import() -> None:
    assert IMPORT.search("import x\nfrom tests.unit.conftest import y\n")
    assert IMPORT.search("import unit.conftest as y\n")
