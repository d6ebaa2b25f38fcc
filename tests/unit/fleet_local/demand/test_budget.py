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
    [
        ("", 7 * GIB),
        ("50%", 5 * GIB),
        ("8Gi", 8 * GIB),
        ("512MiB", GIB // 2),
        ("1000", 1000),
        ("8.5Gi", GIB * 17 // 2),
        ("12.5%", 10 * GIB // 8),
        ("0.5G", 500_000_000),
        ("7kB", 7000),
    ],
)
def test_the_setting(tmp_path: Path, info: Path, text: str, size: int) -> None:
    assert budget.of({"MEMORY_BUDGET": text}, info, tmp_path) == size


def test_a_share_is_of_what_the_container_has_left(tmp_path: Path, info: Path) -> None:
    (tmp_path / "memory.max").write_text(f"{3 * GIB}\n")
    (tmp_path / "memory.current").write_text(f"{GIB}\n")
    assert budget.of({"MEMORY_BUDGET": "50%"}, info, tmp_path) == GIB


@pytest.mark.parametrize(
    ("names", "prefix"),
    [
        (("memory.max", "memory.current", "memory.stat"), ""),
        (("memory.limit_in_bytes", "memory.usage_in_bytes", "memory.stat"), "total_"),
    ],
)
def test_copies_of_files_take_no_memory(
    tmp_path: Path, info: Path, names: tuple[str, ...], prefix: str
) -> None:
    folder = tmp_path / "memory" if prefix else tmp_path
    folder.mkdir(exist_ok=True)
    statistics = f"anon 5\n{prefix}inactive_file {2 * GIB}\n{prefix}active_file {GIB}\n"
    for name, text in zip(names, (f"{4 * GIB}\n", f"{4 * GIB}\n", statistics), strict=True):
        (folder / name).write_text(text)
    assert budget.available(info, tmp_path) == 3 * GIB
    for text in ("", "inactive_file\n", "inactive_file x\nactive_file 1\n"):
        (folder / names[2]).write_text(text)
        assert budget.available(info, tmp_path) == 0


def test_without_a_report_a_share_is_of_all_memory(tmp_path: Path) -> None:
    assert budget.of({}, tmp_path / "none", tmp_path) > GIB // 2


@pytest.mark.parametrize("text", ["all", "0", "120%", "8Gb", "-1", "5.6", "8,5Gi", "1e3"])
def test_other_values_are_refused(tmp_path: Path, info: Path, text: str) -> None:
    with pytest.raises(StartError, match="MEMORY_BUDGET"):
        budget.of({"MEMORY_BUDGET": text}, info, tmp_path)


def test_sizes_as_text() -> None:
    assert (budget.text(1.5 * GIB), budget.text(300 << 20)) == ("1.5 GiB", "300 MiB")
