"""docs/modules.md lists every module and is fresh."""

from __future__ import annotations

from pathlib import Path

from support.module_map import BASES, FLOORS, ROOT, first_sentence, page, suites_of


def test_the_page_is_fresh() -> None:
    assert (ROOT / "docs" / "modules.md").read_text() == page(), "run `make docs`"


def test_every_package_is_listed() -> None:
    found = {
        path.parent.name for base in BASES for path in (ROOT / base).glob("fleet_*/__init__.py")
    }
    assert found == set(FLOORS)


def test_every_module_has_a_sentence() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for base in BASES
        for path in sorted((ROOT / base).rglob("fleet_*/**/*.py"))
        if not first_sentence(path)
    ]
    assert silent == []


def test_a_folder_names_its_tests_or_its_parents() -> None:
    both = ["tests/unit/fleet_router/proxy", "tests/integration/fleet_router/proxy"]
    assert suites_of(Path("fleet_router/proxy")) == both
    assert "tests/unit/fleet_router" in suites_of(Path("fleet_router/no_such_folder"))


def test_the_first_sentence_ends_at_its_full_stop(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text('"""Reads a file\nin pieces. More of it\n\nAnd more."""\n')
    assert first_sentence(module) == "Reads a file in pieces."
