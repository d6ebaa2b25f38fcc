"""The changes of a module: one place at a time, and none without an effect."""

from __future__ import annotations

from pathlib import Path

import pytest

from mutants.changes import changes, without_effect

SOURCE = '''"""A module."""
from __future__ import annotations

def least(a: int | None, b: int = 1) -> int | None:
    log(logger, "called", count=2)
    if a is None or a < b:
        return a
    return b
'''


def found(tmp_path: Path, source: str) -> dict[str, str]:
    """Operator and changed lines of each change."""
    (tmp_path / "module.py").write_text(source)
    path = Path("module.py")
    return {f"{one.operator} {one.line} {n}": one.diff(source)
            for n, one in enumerate(changes(tmp_path, path))}  # fmt: skip


def test_each_place_is_changed_alone(tmp_path: Path) -> None:
    made = found(tmp_path, SOURCE)
    diffs = "\n".join(made.values())
    for line in ("if a is not None or a < b:", "if a is None and a < b:", "if a is None or a <= b:",
                 "b: int = 2", "b: int = 0"):  # fmt: skip
        assert line in diffs.replace("  ", " "), line
    for diff in made.values():
        added = [line for line in diff.splitlines()[2:] if line.startswith("+")]
        assert len(added) == 1


def test_annotations_and_logs_are_left_alone(tmp_path: Path) -> None:
    diffs = found(tmp_path, SOURCE).values()
    assert not [diff for diff in diffs if "int &" in diff or "count=" in diff]
    assert len(without_effect(SOURCE)) == 4


@pytest.mark.parametrize(
    "arguments", ["*, a=1", "b, *, a=1", "b: int = 2, /, *, a: int = 1", "b=(2),\n  *,\n  a=1"]
)
def test_the_star_before_named_arguments_is_left_alone(tmp_path: Path, arguments: str) -> None:
    (tmp_path / "module.py").write_text(f"def f({arguments}):\n    return 2 * 3\n")
    texts = [one.text for one in changes(tmp_path, Path("module.py"))]
    assert any("2 / 3" in text for text in texts)
    assert any("2 * 3" in text for text in texts)  # the default is changed
    assert all("*," in text for text in texts)


def test_code_that_has_no_operator_has_no_changes(tmp_path: Path) -> None:
    assert found(tmp_path, "from a import b\n") == {}


def test_exceptions_with_a_dotted_name_are_left_alone(tmp_path: Path) -> None:
    source = "try:\n    f()\nexcept (a.Error, OSError):\n    g(1)\n"
    diffs = found(tmp_path, source).values()
    assert diffs
    assert [diff for diff in diffs if "g(2)" in diff or "g( 2)" in diff]
