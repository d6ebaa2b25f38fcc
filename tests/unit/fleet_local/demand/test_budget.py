"""The budget of memory from the setting and the files of the kernel."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet_local.demand import budget
from fleet_local.errors import StartError

GIB = 1 << 30


@pytest.fixture
def info(tmp_path: Path) -> Path:
    path = tmp_path / "meminfo"
    path.write_text(f"MemTotal: {64 << 20} kB\nMemAvailable: {10 << 20} kB\n")
    return path


@pytest.mark.parametrize(
    ("text", "size"),
    [("", 7 * GIB), ("50%", 5 * GIB), ("8Gi", 8 * GIB), ("512MiB", GIB // 2), ("1000", 1000)],
)
def test_the_setting(tmp_path: Path, info: Path, text: str, size: int) -> None:
    assert budget.of({"MEMORY_BUDGET": text}, info, tmp_path) == size


def test_a_share_is_of_what_the_container_has_left(tmp_path: Path, info: Path) -> None:
    (tmp_path / "memory.max").write_text(f"{3 * GIB}\n")
    (tmp_path / "memory.current").write_text(f"{GIB}\n")
    assert budget.of({"MEMORY_BUDGET": "50%"}, info, tmp_path) == GIB


def test_without_a_report_a_share_is_of_all_memory(tmp_path: Path) -> None:
    assert budget.of({}, tmp_path / "none", tmp_path) > GIB // 2


@pytest.mark.parametrize("text", ["all", "0", "120%", "8Gb", "-1", "8.5Gi"])
def test_other_values_are_refused(tmp_path: Path, info: Path, text: str) -> None:
    with pytest.raises(StartError, match="MEMORY_BUDGET"):
        budget.of({"MEMORY_BUDGET": text}, info, tmp_path)


def test_sizes_as_text() -> None:
    assert (budget.text(1.5 * GIB), budget.text(300 << 20)) == ("1.5 GiB", "300 MiB")
