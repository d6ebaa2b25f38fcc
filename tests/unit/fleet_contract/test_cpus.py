"""CPUs of a quota, in both generations of cgroups."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fleet_contract.cpus import available_cpus, cgroup_quota


@pytest.mark.parametrize(
    ("text", "quota"), [("max 100000", None), ("150000 100000", 1.5), ("50000 100000", 0.5)]
)
def test_version_two(tmp_path: Path, text: str, quota: float | None) -> None:
    (tmp_path / "cpu.max").write_text(f"{text}\n")
    assert cgroup_quota(tmp_path) == quota


@pytest.mark.parametrize(("text", "quota"), [("-1", None), ("200000", 2.0)])
def test_version_one(tmp_path: Path, text: str, quota: float | None) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text(f"{text}\n")
    (tmp_path / "cpu/cpu.cfs_period_us").write_text("100000\n")
    assert cgroup_quota(tmp_path) == quota


def test_no_cgroup(tmp_path: Path) -> None:
    assert cgroup_quota(tmp_path) is None
    assert available_cpus(tmp_path) >= 1


def test_the_smaller_of_mask_and_quota_counts(tmp_path: Path) -> None:
    cores = available_cpus(tmp_path)
    (tmp_path / "cpu.max").write_text("50000 100000")
    assert available_cpus(tmp_path) == 1
    (tmp_path / "cpu.max").write_text(f"{(cores + 5) * 100000} 100000")
    assert available_cpus(tmp_path) == cores <= (os.cpu_count() or 1)
